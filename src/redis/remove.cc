#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/digest.h"
#include "base/random.h"
#include "base/text.h"
#include "redis/list_walk.h"
#include "redis/operations.h"
#include "redis/pace.h"

namespace claw::redis {
namespace {

constexpr std::chrono::nanoseconds kSweepCost{120};  // LREM walks this long an entry at first guess: measured 0.03 to 0.2 us
constexpr std::int64_t kTelling = 5'000;             // a sweep this deep tells what an entry costs
constexpr std::size_t kSliceBytes = 4u << 20;
constexpr std::size_t kMostStandings = 20'000;  // messages times groups that one script asks about
constexpr std::int64_t kSearch = 1'000;  // entries of a list that one script call searches on each side

// Moves stream entries to quarantine. KEYS: stream, quarantine. ARGV: execution, then per entry: number, id, "1" when it
// was seen pending, count of names and values, then these. The first write is XADD, so that a server without memory refuses
// before anything is changed. A stream that was made anew may have other content under the old ids.
// Answers per entry "x" (not there), "g" (acknowledged by all: left alone), "u" (other content, or more fields than a script
// can pass on: left alone) or a letter a group: p, w, a.
constexpr std::string_view kStreamScript = R"lua(
local match, concat = string.match, table.concat
local call = redis.call
local names, head_ms, head_seq, holds = {}, {}, {}, {}
for i, g in ipairs(call('XINFO', 'GROUPS', KEYS[1])) do
  for f = 1, #g, 2 do
    if g[f] == 'name' then names[i] = g[f + 1] end
    if g[f] == 'pending' then holds[i] = g[f + 1] > 0 end
    if g[f] == 'last-delivered-id' then head_ms[i], head_seq[i] = match(g[f + 1], '^(%d+)-(%d+)$') end
  end
end
-- Decimal numbers of up to 64 bits as text: the longer is the larger.
local function larger(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
local function planned(values, from, count)
  if #values ~= count or count > 7000 then return false end
  for i = 1, count do
    if values[i] ~= ARGV[from + i - 1] then return false end
  end
  return true
end
local out = {}
local a = 2
while a <= #ARGV do
  local number, id, was_pending, count = ARGV[a], ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
  local found = call('XRANGE', KEYS[1], id, id)
  if #found == 0 then
    out[#out + 1] = 'x'
  elseif not planned(found[1][2], a + 4, count) then
    out[#out + 1] = 'u'
  else
    local standing, held, pending = {}, false, false
    local ms, seq = match(id, '^(%d+)-(%d+)$')
    for i = 1, #names do
      local waiting
      if ms == head_ms[i] then waiting = larger(seq, head_seq[i]) else waiting = larger(ms, head_ms[i]) end
      if waiting then
        standing[i] = 'w'
        held = true
      elseif holds[i] and #call('XPENDING', KEYS[1], names[i], id, id, 1) > 0 then
        standing[i] = 'p'
        held, pending = true, true
      else
        standing[i] = 'a'
      end
    end
    if #names > 0 and (not held or (was_pending == '1' and not pending)) then
      out[#out + 1] = 'g'
    else
      local s = concat(standing)
      call('XADD', KEYS[2], '*', 'exec', ARGV[1], 'n', number, 'id', id, 'groups', s, unpack(found[1][2]))
      if pending then
        for i = 1, #names do
          if standing[i] == 'p' then call('XACK', KEYS[1], names[i], id) end
        end
      end
      call('XDEL', KEYS[1], id)
      out[#out + 1] = s
    end
  end
  a = a + 4 + count
end
return {names, out}
)lua";

// Moves list entries to quarantine. KEYS: list, quarantine. ARGV: execution, tombstone, shift, search, then per entry:
// number, index, id, bytes, in ascending index order. Marks every entry whose bytes are at their place (or nearby), then
// sweeps the marks from the nearer end: a consumer never sees a mark, because one script is one instant. A quarantine that
// takes no more ends the marking, not the sweep.
// Answers {shift, microseconds that the sweep took (0: the server's clock stands still in scripts), then per entry 1 (moved)
// or 0 (not found)}.
constexpr std::string_view kListScript = R"lua(
local shift, search = tonumber(ARGV[3]), tonumber(ARGV[4])
local failed
local length = redis.call('LLEN', KEYS[1])
local out, marked, first, last = {0, 0}, 0, -1, -1
for a = 5, #ARGV, 4 do
  local number, index, id, bytes = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2], ARGV[a + 3]
  local at = index + shift
  local there = at >= 0 and redis.call('LINDEX', KEYS[1], at) == bytes
  for _, reach in ipairs({32, search}) do
    if not there and search > 0 then
      local from = math.max(0, at - reach)
      local near = redis.call('LRANGE', KEYS[1], from, at + reach)
      for i, value in ipairs(near) do
        if value == bytes then
          at = from + i - 1
          shift = at - index
          there = true
          break
        end
      end
    end
  end
  if not there then search = 0 end
  if there then
    local kept = redis.pcall('XADD', KEYS[2], '*', 'exec', ARGV[1], 'n', number, 'id', id, 'groups', '', '', bytes)
    if type(kept) == 'table' then
      failed = kept
      break
    end
    redis.call('LSET', KEYS[1], at, ARGV[2])
    marked = marked + 1
    if first < 0 then first = at end
    last = at
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
if marked > 0 then
  local start = redis.call('TIME')
  redis.call('LREM', KEYS[1], last < length - first and marked or -marked, ARGV[2])
  local stop = redis.call('TIME')
  out[2] = (stop[1] - start[1]) * 1000000 + stop[2] - start[2]
end
if failed then return failed end
out[1] = shift
return out
)lua";

std::size_t size_of(const Message& message) {
  std::size_t size = 0;
  for (const OwnedField& field : message.fields) size += field.name.size() + field.value.size();
  return size;
}

bool planned_pending(const Message& message) {
  return std::any_of(message.groups.begin(), message.groups.end(), [](const GroupState& g) { return g.standing == GroupState::Standing::pending; });
}

std::vector<GroupState> combined(const Message& message, std::span<const std::string> names, std::string_view standing) {
  std::vector<GroupState> groups;
  for (std::size_t i = 0; i < names.size() && i < standing.size(); ++i) {
    GroupState state{.group = names[i]};
    const auto seen = std::find_if(message.groups.begin(), message.groups.end(), [&](const GroupState& g) { return g.group == names[i]; });
    if (standing[i] == 'p') {
      if (seen != message.groups.end()) state = *seen;
      state.standing = GroupState::Standing::pending;
      state.attempts = std::max(1u, state.attempts);
    } else {
      state.standing = standing[i] == 'w' ? GroupState::Standing::waiting : GroupState::Standing::acknowledged;
    }
    groups.push_back(std::move(state));
  }
  return groups;
}

// What an earlier try of this execution moved already. Asked once, and only when something is not at its place.
class Earlier {
 public:
  Earlier(Connection& connection, const RemoveRequest& request) : connection_(connection), request_(request) {}
  Result<bool> has(std::size_t number, Deadline deadline) {
    if (!loaded_) {
      CLAW_TRY_ASSIGN(const auto held, read_quarantine(connection_, request_.queue.queue, request_.queue.quarantine, request_.execution_id, deadline));
      for (const Quarantined& q : held) numbers_.insert(q.number);
      loaded_ = true;
    }
    return numbers_.contains(number);
  }

 private:
  Connection& connection_;
  const RemoveRequest& request_;
  std::set<std::size_t> numbers_;
  bool loaded_ = false;
};

// Where there are replicas, one of them gets a second to have it too: a master that dies takes the rest with it. Nobody waits
// longer for a replica that is behind; the check after the wave sees what a failover took back.
Status await_replica(Connection& connection, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Reply role, connection.call({"ROLE"}, deadline));
  const bool replicated = role.root().size() == 3 && role.root()[2].size() > 0;
  if (!replicated) return {};
  CLAW_TRY(connection.call({"WAIT", "1", "1000"}, deadline));
  return {};
}

// A script's writes before one that is refused stay: a user who may not do the later ones must not begin. Asked with calls
// that change nothing: they name no entry, or a place that is no number.
Status may_finish(Connection& connection, const PlannedQueue& queue, Deadline deadline) {
  const std::string& key = queue.queue.name;
  const bool stream = queue.type == QueueType::stream;
  connection.send({"XADD", queue.quarantine, "0-0", "", ""});
  if (stream) {
    connection.send({"XACK", key, "", "0-0"});
    connection.send({"XDEL", key, "0-0"});
  } else {
    connection.send({"LSET", key, "x", ""});
    connection.send({"LREM", key, "x", ""});
  }
  Status denied;
  for (const char* command : stream ? std::array{"XADD", "XACK", "XDEL"} : std::array{"XADD", "LSET", "LREM"}) {
    CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
    if (!reply.root().is_error()) continue;
    Error error = to_error(reply.root().text(), fmt::format("{} {}", command, escape(key, 120)));
    if (denied.ok() && error.code == Code::denied) denied = std::move(error);
  }
  return denied;
}

Result<std::vector<Removal>> remove_from_stream(Connection& connection, const RemoveRequest& request, Deadline deadline) {
  const std::vector<std::string> keys = {request.queue.queue.name, request.queue.quarantine};
  std::vector<Removal> removals(request.messages.size());
  for (std::size_t i = 0; i < removals.size(); ++i) removals[i].index = i;
  Earlier earlier(connection, request);
  Pace pace(request.block_budget);
  for (std::size_t next = 0; next < request.messages.size();) {
    std::vector<std::string> arguments = {request.execution_id};
    std::vector<std::size_t> slice;
    const std::size_t groups = std::max<std::size_t>(1, request.messages[next].groups.size());
    const std::size_t most = std::min(pace.slice({}), std::max<std::size_t>(1, kMostStandings / groups));
    for (std::size_t bytes = 0; next < request.messages.size() && slice.size() < most && bytes < kSliceBytes; ++next) {
      const Message& message = request.messages[next];
      if (message.fields.empty()) continue;  // gone when the snapshot was made
      bytes += size_of(message);
      slice.push_back(next);
      arguments.insert(arguments.end(), {std::to_string(request.first_number + next), message.id, planned_pending(message) ? "1" : "0", std::to_string(message.fields.size() * 2)});
      for (const OwnedField& field : message.fields) arguments.insert(arguments.end(), {field.name, field.value});
    }
    if (slice.empty()) continue;
    const MonoTime start = connection.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, kStreamScript, keys, arguments, deadline));
    pace.took(connection.clock().mono() - start, {}, slice.size());
    const Reply::View names_view = reply.root().first(), fates = names_view.next();
    if (fates.size() != slice.size()) return make_error(Code::corrupt, "remove", "the script answered for another number of messages");
    std::vector<std::string> names;
    Reply::View name = names_view.first();
    for (std::size_t i = 0; i < names_view.size(); ++i, name = name.next()) names.emplace_back(name.text());
    Reply::View fate = fates.first();
    for (const std::size_t index : slice) {
      Removal& removal = removals[index];
      if (fate.text() == "x") {
        CLAW_TRY_ASSIGN(const bool before, earlier.has(request.first_number + index, deadline));
        removal.fate = before ? Fate::removed : Fate::gone;
      } else if (fate.text() == "u") {
        removal.fate = Fate::not_found;
      } else if (fate.text() != "g") {
        removal.fate = Fate::removed;
        removal.groups = combined(request.messages[index], names, fate.text());
      }
      fate = fate.next();
    }
  }
  return removals;
}

// How far an index is from the nearer end.
class Depth {
 public:
  explicit Depth(std::uint64_t length) : length_(length) {}
  bool upper(std::uint64_t index) const { return index >= length_ / 2; }
  std::int64_t of(std::uint64_t index) const { return static_cast<std::int64_t>(upper(index) ? length_ - std::min(length_, index) : index); }

 private:
  std::uint64_t length_;
};

// What LREM's walk costs on this server, learned from shallow slices, so that the whole budget is used for deep ones.
class Sweep {
 public:
  explicit Sweep(Millis budget) : most_(std::chrono::nanoseconds(budget) * 4 / 5) {}
  std::chrono::nanoseconds time(std::int64_t depth) const { return cost_ * depth; }
  // With a quarter to spare, for a server that is slower the next time.
  bool reaches(std::int64_t depth) const { return time(depth) * 5 / 4 <= most_; }
  // Without that, after a walk that was much slower than those before: good for one message, which tells whether the server is slow
  // or was only held up.
  bool may_try(std::int64_t depth) const { return in_doubt_ && time(depth) <= most_; }
  void took(std::chrono::nanoseconds time, std::int64_t depth) {
    if (depth < kTelling || time == time.zero()) return;
    const auto each = std::max(std::chrono::nanoseconds(20), time / depth);
    in_doubt_ = each > cost_ * 3 / 2;
    // At most double at once: a server that was held up once is not a slow server.
    cost_ = each > cost_ ? std::min(each, cost_ * 2) : (cost_ + each) / 2;
  }

 private:
  std::chrono::nanoseconds most_;
  std::chrono::nanoseconds cost_ = kSweepCost;
  bool in_doubt_ = false;
};

// One try at the messages `order` names, at the places it gives by index.
Status sweep_list(Connection& connection, const RemoveRequest& request, std::vector<std::size_t> order, std::span<const std::uint64_t> places, Earlier& earlier,
                  std::vector<Removal>& removals, Deadline deadline) {
  const std::vector<std::string> keys = {request.queue.queue.name, request.queue.quarantine};
  CLAW_TRY_ASSIGN(const Reply length_reply, connection.call({"LLEN", keys[0]}, deadline));
  const auto length = static_cast<std::uint64_t>(std::max<std::int64_t>(0, length_reply.root().integer()));
  const Depth depth(length);
  // Each half from its end inwards: what is shallow is sure to be reached, and tells what the deep ones will cost.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::uint64_t x = places[a], y = places[b];
    if (depth.upper(x) != depth.upper(y)) return depth.upper(x);
    return depth.upper(x) ? x > y : x < y;
  });
  Pace pace(request.block_budget);
  Sweep sweep(request.block_budget);
  std::int64_t shift = 0, head_shift = 0;  // head_shift: what was removed nearer to the head than what follows
  for (std::size_t next = 0; next < order.size();) {
    const auto at = [&](std::size_t i) { return places[order[i]]; };
    const bool sure = sweep.reaches(depth.of(at(next)));
    if (!sure && !sweep.may_try(depth.of(at(next)))) {
      removals[order[next++]].fate = Fate::too_deep;
      continue;
    }
    std::vector<std::size_t> slice;
    const bool upper = depth.upper(at(next));
    std::int64_t deepest = 0;
    // A slice keeps to one half, so that its sweep never walks the whole list.
    for (std::size_t bytes = 0; next < order.size() && slice.size() < (sure ? pace.slice(sweep.time(depth.of(at(next)))) : 1) && bytes < kSliceBytes &&
                                depth.upper(at(next)) == upper && (sure == sweep.reaches(depth.of(at(next)))); ++next) {
      bytes += size_of(request.messages[order[next]]);
      deepest = depth.of(at(next));
      slice.push_back(order[next]);
    }
    if (upper) std::reverse(slice.begin(), slice.end());
    std::vector<std::string> arguments = {request.execution_id, "deployclaw-removed-" + system_random().hex(24), std::to_string(shift - head_shift), std::to_string(kSearch)};
    for (const std::size_t index : slice) {
      const Message& message = request.messages[index];
      arguments.insert(arguments.end(), {std::to_string(request.first_number + index), std::to_string(places[index]), message.id, message.fields[0].value});
    }
    const MonoTime start = connection.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, kListScript, keys, arguments, deadline));
    const auto took = connection.clock().mono() - start;
    pace.took(took, sweep.time(deepest), slice.size());
    if (reply.root().size() != slice.size() + 2) return make_error(Code::corrupt, "remove", "the script answered for another number of messages");
    Reply::View answer = reply.root().first();
    shift = answer.integer() + head_shift;
    answer = answer.next();
    sweep.took(Micros(answer.integer()), deepest);
    for (const std::size_t index : slice) {
      answer = answer.next();
      removals[index].fate = Fate::removed;
      if (answer.integer() == 1) {
        if (!upper) ++head_shift;
        continue;
      }
      CLAW_TRY_ASSIGN(const bool before, earlier.has(request.first_number + index, deadline));
      if (!before) removals[index].fate = Fate::gone;
    }
  }
  return {};
}

// Where messages stand now that were not near where they had been: others pushed or popped more than a script searches.
Result<std::vector<std::size_t>> find_again(Connection& connection, const RemoveRequest& request, std::span<const Removal> removals, std::vector<std::uint64_t>& places, Deadline deadline) {
  std::unordered_multimap<std::uint64_t, std::size_t> missing;
  for (const Removal& removal : removals) {
    const Message& message = request.messages[removal.index];
    if (removal.fate != Fate::gone || message.fields.empty()) continue;
    const Field field{"", message.fields[0].value};
    missing.emplace(short_digest(std::span(&field, 1)), removal.index);
  }
  std::vector<std::size_t> found;
  if (missing.empty()) return found;
  std::map<std::size_t, std::int64_t> drifts;
  const auto see = [&](const WalkedEntry& entry) {
    const auto hit = missing.find(entry.digest);
    if (hit == missing.end() || request.messages[hit->second].fields[0].value != entry.body) return;
    places[hit->second] = static_cast<std::uint64_t>(entry.place);
    drifts[hit->second] = entry.drift;
    found.push_back(hit->second);
    missing.erase(hit);
  };
  CLAW_TRY_ASSIGN(const Extent extent, walk_list(connection, request.queue.queue.name, see, deadline));
  for (const auto& [index, drift] : drifts)
    places[index] = static_cast<std::uint64_t>(std::max<std::int64_t>(0, static_cast<std::int64_t>(places[index]) + extent.drift - drift));
  return found;
}

Result<std::vector<Removal>> remove_from_list(Connection& connection, const RemoveRequest& request, Deadline deadline) {
  std::vector<Removal> removals(request.messages.size());
  std::vector<std::size_t> order;
  std::vector<std::uint64_t> places;
  for (std::size_t i = 0; i < removals.size(); ++i) {
    removals[i].index = i;
    places.push_back(request.messages[i].key.high);
    if (!request.messages[i].fields.empty()) order.push_back(i);
  }
  Earlier earlier(connection, request);
  if (request.again) {
    // Its place may hold another message of the same bytes by now: what was moved before is not looked for.
    std::vector<std::size_t> left;
    for (const std::size_t i : order) {
      CLAW_TRY_ASSIGN(const bool before, earlier.has(request.first_number + i, deadline));
      if (before) removals[i].fate = Fate::removed;
      else left.push_back(i);
    }
    order = std::move(left);
  }
  CLAW_TRY(sweep_list(connection, request, order, places, earlier, removals, deadline));
  CLAW_TRY_ASSIGN(order, find_again(connection, request, removals, places, deadline));
  if (!order.empty()) CLAW_TRY(sweep_list(connection, request, order, places, earlier, removals, deadline));
  return removals;
}

}  // namespace

std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget) {
  if (queue.type != QueueType::list) return 0;
  const Sweep sweep(block_budget);
  return static_cast<std::uint64_t>(std::count_if(queue.messages.begin(), queue.messages.end(), [&](const PlannedMessage& m) {
    return !sweep.reaches(static_cast<std::int64_t>(std::min(m.key.high, m.key.low)));
  }));
}

Result<std::vector<Removal>> remove_messages(Connection& connection, const RemoveRequest& request, Deadline deadline) {
  CLAW_TRY(may_finish(connection, request.queue, deadline));
  CLAW_TRY_ASSIGN(auto removals, request.queue.type == QueueType::stream ? remove_from_stream(connection, request, deadline) : remove_from_list(connection, request, deadline));
  CLAW_TRY(await_replica(connection, deadline));
  return removals;
}

}  // namespace claw::redis
