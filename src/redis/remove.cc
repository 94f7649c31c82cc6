#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "base/digest.h"
#include "base/random.h"
#include "base/text.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr std::size_t kFirstSlice = 100;
constexpr std::size_t kLargestSlice = 1'000;
constexpr std::size_t kLeastSlice = 10;
constexpr std::chrono::nanoseconds kSweepCost{120};      // LREM walks this long an entry: measured 0.11 to 0.17 us
constexpr std::chrono::nanoseconds kSweepCostMost{200};  // the same with room, for what is too deep to be tried
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
// Answers {shift, then per entry 1 (moved) or 0 (not found)}.
constexpr std::string_view kListScript = R"lua(
local shift, search = tonumber(ARGV[3]), tonumber(ARGV[4])
local failed
local length = redis.call('LLEN', KEYS[1])
local out, marked, first, last = {0}, 0, -1, -1
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
  redis.call('LREM', KEYS[1], last < length - first and marked or -marked, ARGV[2])
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

// How many messages the next call takes, so that none holds the server longer than the budget: from what a message cost so
// far, with room for a server that is slower the next time.
class Pace {
 public:
  explicit Pace(Millis budget) : aim_(std::chrono::nanoseconds(budget) * 3 / 5) {}
  // `fixed`: what the call costs however few messages it takes.
  std::size_t slice(std::chrono::nanoseconds fixed) const {
    if (!cost_) return kFirstSlice;
    const auto fitting = std::max<std::int64_t>(0, (aim_ - fixed) / std::max(*cost_, std::chrono::nanoseconds(1)));
    return std::clamp(static_cast<std::size_t>(fitting), kLeastSlice, std::min(kLargestSlice, last_ * 2));
  }
  void took(std::chrono::nanoseconds time, std::chrono::nanoseconds fixed, std::size_t messages) {
    const auto cost = std::max(time - fixed, time / 4) / static_cast<std::int64_t>(std::max<std::size_t>(1, messages));
    // Rises at once, falls slowly: one call that was quick by chance proves little.
    cost_ = !cost_ || cost > *cost_ ? cost : (*cost_ * 3 + cost) / 4;
    last_ = std::max(messages, kLeastSlice);
  }

 private:
  std::chrono::nanoseconds aim_;
  std::optional<std::chrono::nanoseconds> cost_;  // of one message
  std::size_t last_ = kFirstSlice;
};

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

Result<std::vector<Removal>> remove_from_list(Connection& connection, const RemoveRequest& request, Deadline deadline) {
  const std::vector<std::string> keys = {request.queue.queue.name, request.queue.quarantine};
  std::vector<Removal> removals(request.messages.size());
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < removals.size(); ++i) {
    removals[i].index = i;
    if (!request.messages[i].fields.empty()) order.push_back(i);
  }
  // From the tail towards the head, so that what was removed does not move what is still to be removed.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return request.messages[a].key.high > request.messages[b].key.high; });
  CLAW_TRY_ASSIGN(const Reply length_reply, connection.call({"LLEN", keys[0]}, deadline));
  const auto length = static_cast<std::uint64_t>(std::max<std::int64_t>(0, length_reply.root().integer()));
  const std::uint64_t middle = length / 2;
  const auto depth = [&](std::uint64_t index) { return index < middle ? index : length - std::min(length, index); };
  // Too deep for one script within the budget: left alone, and said so by the caller as not found at its place.
  std::erase_if(order, [&](std::size_t i) {
    const bool deep = kSweepCostMost * static_cast<std::int64_t>(depth(request.messages[i].key.high)) > request.block_budget * 4 / 5;
    if (deep) removals[i].fate = Fate::not_found;
    return deep;
  });
  Earlier earlier(connection, request);
  // What an earlier try moved is not looked for again: its twin may stand in its place.
  std::vector<std::size_t> left;
  for (const std::size_t i : order) {
    CLAW_TRY_ASSIGN(const bool moved, request.again ? earlier.has(request.first_number + i, deadline) : Result<bool>(false));
    if (moved) removals[i].fate = Fate::removed;
    else left.push_back(i);
  }
  order = std::move(left);
  Pace pace(request.block_budget);
  std::int64_t shift = 0;
  for (std::size_t next = 0; next < order.size();) {
    std::vector<std::size_t> slice;
    std::chrono::nanoseconds sweep{0};  // to the deepest of the slice
    for (std::size_t bytes = 0; next < order.size() && slice.size() < pace.slice(sweep) && bytes < kSliceBytes; ++next) {
      const bool upper = request.messages[order[next]].key.high >= middle;
      // A slice keeps to one half, so that its sweep never walks the whole list.
      if (!slice.empty() && upper != (request.messages[slice.front()].key.high >= middle)) break;
      bytes += size_of(request.messages[order[next]]);
      sweep = std::max(sweep, kSweepCost * static_cast<std::int64_t>(depth(request.messages[order[next]].key.high)));
      slice.push_back(order[next]);
    }
    std::reverse(slice.begin(), slice.end());
    std::vector<std::string> arguments = {request.execution_id, "deployclaw-removed-" + system_random().hex(24), std::to_string(shift), std::to_string(kSearch)};
    for (const std::size_t index : slice) {
      const Message& message = request.messages[index];
      arguments.insert(arguments.end(), {std::to_string(request.first_number + index), std::to_string(message.key.high), message.id, message.fields[0].value});
    }
    const MonoTime start = connection.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, kListScript, keys, arguments, deadline));
    pace.took(connection.clock().mono() - start, sweep, slice.size());
    if (reply.root().size() != slice.size() + 1) return make_error(Code::corrupt, "remove", "the script answered for another number of messages");
    Reply::View answer = reply.root().first();
    shift = answer.integer();
    for (const std::size_t index : slice) {
      answer = answer.next();
      removals[index].fate = Fate::removed;
      if (answer.integer() == 1) continue;
      CLAW_TRY_ASSIGN(const bool before, earlier.has(request.first_number + index, deadline));
      if (!before) removals[index].fate = Fate::gone;
    }
  }
  return removals;
}

}  // namespace

Result<std::vector<Removal>> remove_messages(Connection& connection, const RemoveRequest& request, Deadline deadline) {
  CLAW_TRY(may_finish(connection, request.queue, deadline));
  return request.queue.type == QueueType::stream ? remove_from_stream(connection, request, deadline) : remove_from_list(connection, request, deadline);
}

}  // namespace claw::redis
