#include "redis/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "redis/pace.h"

namespace claw::redis {
namespace {

constexpr std::size_t kSliceBytes = 4u << 20;
constexpr std::size_t kMostInSlice = 20'000;
constexpr std::size_t kLeastInSlice = 100;  // fewer, and the copy never catches up
constexpr std::size_t kAlmostThere = 200;  // entries of a slice: fewer, and the copy has caught up
constexpr std::uint64_t kMostPending = 2'500;  // the swap claims each pending entry: 4 us
constexpr std::size_t kMostDelta = 500;         // entries that the swap adds, and compares at the front and behind a head
constexpr int kSwaps = 40;
constexpr Millis kCopyTime{20'000};  // the copy and all that follows may take this long, and a part of it for every entry
constexpr std::chrono::microseconds kCopyEach{50};

// Copies a slice. KEYS: stream, side. ARGV: after, before, count, then per message, ascending: ms, seq, pairs, then name and
// value of each. `before` is below the first message that is not passed on. Answers {last id, messages used, entries,
// microseconds (0: the server's clock stands still in scripts)}.
constexpr std::string_view kCopy = R"lua(
local call, match = redis.call, string.match
local start = call('TIME')
local entries = call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local full = #entries == tonumber(ARGV[3])
local a, used, last = 4, 0, ''
local function older(x, y) return #x < #y or (#x == #y and x < y) end
local function put_until(ms, seq)
  while a <= #ARGV and (not ms or older(ARGV[a], ms) or (ARGV[a] == ms and older(ARGV[a + 1], seq))) do
    local values = tonumber(ARGV[a + 2]) * 2
    last = ARGV[a] .. '-' .. ARGV[a + 1]
    call('XADD', KEYS[2], last, unpack(ARGV, a + 3, a + 2 + values))
    a, used = a + 3 + values, used + 1
  end
end
for i = 1, #entries do
  put_until(match(entries[i][1], '^(%d+)-(%d+)$'))
  last = entries[i][1]
  call('XADD', KEYS[2], last, unpack(entries[i][2]))
end
if not full then put_until() end
local stop = call('TIME')
return {last, used, #entries, (stop[1] - start[1]) * 1000000 + stop[2] - start[2]}
)lua";

// Deletes from the side key what the old stream no longer has between two ids, but for the messages. At most `most` entries.
constexpr std::string_view kStrike = R"lua(
local function strike(stream, side, ids, from, to, most)
  local copied, there, dead = redis.call('XRANGE', side, from, to, 'COUNT', most), {}, {}
  if #copied == 0 then return 0 end
  local last = copied[#copied][1]
  for _, entry in ipairs(redis.call('XRANGE', stream, from, last)) do there[entry[1]] = true end
  for i = 1, #copied do
    local id = copied[i][1]
    if not there[id] and redis.call('SISMEMBER', ids, id) == 0 then dead[#dead + 1] = id end
  end
  for i = 1, #dead, 1000 do redis.call('XDEL', side, unpack(dead, i, math.min(i + 999, #dead))) end
  return #dead, last
end
)lua";

// KEYS: stream, side, ids. ARGV: from, to, count. Answers {last id, deleted}, or nil at the end.
constexpr std::string_view kTidy = R"lua(
local dead, last = strike(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3])
if not last then return nil end
return {last, dead}
)lua";

// KEYS: side. ARGV: group, then per entry: consumer, id, idle ms, attempts.
constexpr std::string_view kClaim = R"lua(
for a = 2, #ARGV, 4 do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[a], 0, ARGV[a + 1], 'IDLE', ARGV[a + 2], 'RETRYCOUNT', ARGV[a + 3], 'FORCE', 'JUSTID')
end
return 1
)lua";

// The swap. KEYS: stream, side, quarantine, kept quarantine, trash, ids of the messages. ARGV: last copied id, number of
// messages in the side key, the quarantine's length, entries-added and last id, most pending, most delta, number of groups
// that await messages, then of each: name, oldest message that it has not been given (ms, seq; '' when none), number of
// messages pending. Everything is checked before the stream or the quarantine is touched.
// Answers "ok", or why not.
constexpr std::string_view kSwap = R"lua(
local call, match = redis.call, string.match
local function facts(key)
  local out, info = {}, call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do out[info[i]] = info[i + 1] end
  return out
end
local function groups_of(key)
  local all = {}
  for _, g in ipairs(call('XINFO', 'GROUPS', key)) do
    local one = {}
    for f = 1, #g, 2 do one[g[f]] = g[f + 1] end
    all[#all + 1] = one
    all[one.name] = one
  end
  return all
end
local function older(xm, xs, ym, ys)
  if xm ~= ym then return #xm < #ym or (#xm == #ym and xm < ym) end
  return #xs < #ys or (#xs == #ys and xs < ys)
end
local function id_older(x, y)
  local xm, xs = match(x, '^(%d+)-(%d+)$')
  return older(xm, xs, match(y, '^(%d+)-(%d+)$'))
end
if call('EXISTS', KEYS[1]) == 0 then return 'the stream is gone' end
local old, side, held = facts(KEYS[1]), facts(KEYS[2]), facts(KEYS[3])
if held['length'] ~= tonumber(ARGV[3]) or held['entries-added'] ~= tonumber(ARGV[4]) or held['last-generated-id'] ~= ARGV[5] then return 'the quarantine changed meanwhile' end
local messages, most_pending, most = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])
if id_older(old['last-generated-id'], ARGV[1]) then return 'the stream was made anew meanwhile' end

-- Groups: nobody may have been led past a message it never got, and what is pending must fit the budget.
local groups, awaiting, pending = groups_of(KEYS[1]), {}, 0
local a = 9
for _ = 1, tonumber(ARGV[8]) do
  local name, ms, seq = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  awaiting[name] = tonumber(ARGV[a + 3])
  if ms ~= '' and groups[name] then
    local head_ms, head_seq = match(groups[name]['last-delivered-id'], '^(%d+)-(%d+)$')
    if not older(head_ms, head_seq, ms, seq) then return 'passed' end
  end
  a = a + 4
end
for i = 1, #groups do pending = pending + groups[i]['pending'] end
if pending > most_pending then return 'too many pending entries' end

-- What was added since.
local fresh = call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', most + 1)
if #fresh > most then return 'behind' end

-- What was deleted or trimmed since: at the front, where trimming deletes, and behind the groups' heads, where consumers do.
if side['length'] - messages + #fresh ~= old['length'] then
  local dead, seen = 0, {}
  local front = call('XRANGE', KEYS[1], '-', '+', 'COUNT', most)
  dead = dead + strike(KEYS[1], KEYS[2], KEYS[6], '-', #front < most and ARGV[1] or front[#front][1], 3 * most)
  for i = 1, math.min(#groups, 6) do
    local head = groups[i]['last-delivered-id']
    local back = call('XREVRANGE', KEYS[1], head, '-', 'COUNT', most)
    if #back > 0 and not seen[head] then dead = dead + strike(KEYS[1], KEYS[2], KEYS[6], back[#back][1], head, 3 * most) end
    seen[head] = true
  end
  if side['length'] - dead - messages + #fresh ~= old['length'] then return 'deleted' end
end
call('UNLINK', KEYS[5])
for i = 1, #fresh do call('XADD', KEYS[2], fresh[i][1], unpack(fresh[i][2])) end

-- The groups as they stand now.
local made = groups_of(KEYS[2])
for i = 1, #groups do
  local g = groups[i]
  local words = {made[g.name] and 'SETID' or 'CREATE', KEYS[2], g.name, g['last-delivered-id']}
  if g['entries-read'] then words[5], words[6] = 'ENTRIESREAD', g['entries-read'] end
  call('XGROUP', unpack(words))
  for _, c in ipairs(call('XINFO', 'CONSUMERS', KEYS[1], g.name)) do
    for f = 1, #c, 2 do if c[f] == 'name' then call('XGROUP', 'CREATECONSUMER', KEYS[2], g.name, c[f + 1]) end end
  end
  local claimed = 0
  if g['pending'] > 0 then
    for _, p in ipairs(call('XPENDING', KEYS[1], g.name, '-', '+', most_pending)) do
      claimed = claimed + #call('XCLAIM', KEYS[2], g.name, p[2], 0, p[1], 'IDLE', p[3], 'RETRYCOUNT', p[4], 'FORCE', 'JUSTID')
    end
  end
  g.claimed = claimed
end
for i = 1, #made do if not groups[made[i].name] then call('XGROUP', 'DESTROY', KEYS[2], made[i].name) end end
call('XSETID', KEYS[2], old['last-generated-id'], 'ENTRIESADDED', old['entries-added'], 'MAXDELETEDID', old['max-deleted-entry-id'])

-- Equal to the old stream with the messages?
side, made = facts(KEYS[2]), groups_of(KEYS[2])
local equal = side['length'] == old['length'] + messages and side['last-generated-id'] == old['last-generated-id'] and
  side['entries-added'] == old['entries-added'] and side['max-deleted-entry-id'] == old['max-deleted-entry-id'] and #made == #groups
for i = 1, #groups do
  local g, m = groups[i], made[groups[i].name]
  equal = equal and m and m['last-delivered-id'] == g['last-delivered-id'] and m['entries-read'] == g['entries-read'] and m['pending'] == g.claimed + (awaiting[g.name] or 0)
end
if not equal then return 'the rebuilt stream did not equal the old one' end

local expires = call('PEXPIRETIME', KEYS[1])
call('RENAME', KEYS[1], KEYS[5])
call('RENAME', KEYS[2], KEYS[1])
if expires > 0 then call('PEXPIREAT', KEYS[1], expires) end
call('UNLINK', KEYS[5], KEYS[6])
if call('EXISTS', KEYS[4]) == 1 then call('RENAME', KEYS[4], KEYS[3]) else call('UNLINK', KEYS[3]) end
return 'ok'
)lua";

// "{orders}:deployclaw-rebuild-<execution>:quarantine": in the queue's slot, and no tenant's queue.
std::string side_key(const RestoreRequest& request, std::string_view what) {
  const std::string_view suffix = ":quarantine";
  std::string stem = quarantine_key(request.queue.name);
  stem.resize(stem.size() - suffix.size());
  return fmt::format("{}:deployclaw-{}-{}{}", stem, what, request.execution_id, suffix);
}

struct Facts {
  bool there = false;
  std::uint64_t length = 0;
  std::optional<std::uint64_t> added;  // Redis 7 and newer
  std::string last;
  std::uint64_t pending = 0;
  std::map<std::string, MessageKey> heads;
};

Result<Facts> facts_of(Connection& connection, const std::string& key, Deadline deadline) {
  Facts facts;
  const auto each_pair = [](Reply::View pairs, auto&& use) {
    Reply::View name = pairs.first();
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
      const Reply::View value = name.next();
      use(name.text(), value);
      name = value.next();
    }
  };
  CLAW_TRY_ASSIGN(const Reply exists, connection.call({"EXISTS", key}, deadline));
  if (exists.root().integer() == 0) return facts;
  CLAW_TRY_ASSIGN(const Reply info, connection.call({"XINFO", "STREAM", key}, deadline));
  facts.there = true;
  each_pair(info.root(), [&](std::string_view name, Reply::View value) {
    if (name == "length") facts.length = static_cast<std::uint64_t>(value.integer());
    else if (name == "entries-added") facts.added = static_cast<std::uint64_t>(value.integer());
    else if (name == "last-generated-id") facts.last = value.text();
  });
  CLAW_TRY_ASSIGN(const Reply groups, connection.call({"XINFO", "GROUPS", key}, deadline));
  Reply::View group = groups.root().first();
  for (std::size_t i = 0; i < groups.root().size(); ++i, group = group.next()) {
    std::string group_name;
    Result<MessageKey> head = MessageKey{};
    each_pair(group, [&](std::string_view name, Reply::View value) {
      if (name == "name") group_name = value.text();
      else if (name == "pending") facts.pending += static_cast<std::uint64_t>(value.integer());
      else if (name == "last-delivered-id") head = parse_stream_id(value.text());
    });
    if (!head) return head.error();
    facts.heads[group_name] = *head;
  }
  return facts;
}

// A group was led past this message while it was away: under its old id that group would never get it.
bool passed(const Token& token, const std::map<std::string, MessageKey>& heads) {
  for (const GroupState& g : groups_at_removal(*token.message, token.standing)) {
    const auto head = heads.find(g.group);
    if (g.standing == GroupState::Standing::waiting && head != heads.end() && !(head->second < token.message->key)) return true;
  }
  return false;
}

class Rebuild {
 public:
  Rebuild(Connection& connection, const RestoreRequest& request, Deadline deadline)
      : connection_(connection), request_(request), deadline_(deadline), side_(side_key(request, "rebuild")), kept_(side_key(request, "kept")), trash_(side_key(request, "replaced")), ids_(side_key(request, "ids")) {}

  Status clear() {
    CLAW_TRY(connection_.call({"UNLINK", side_, kept_, trash_, ids_}, deadline()));
    return {};
  }

  // Empty: done. Else why not; then nothing but side keys was written.
  Result<std::string> run(std::vector<Token>& tokens, std::vector<Token>& rest) {
    CLAW_TRY_ASSIGN(const Facts old, facts_of(connection_, request_.queue.name, deadline()));
    if (!old.there) return std::string("the stream is gone");
    if (!old.added) return std::string("the server is older than Redis 7");
    if (old.pending > kMostPending) return fmt::format("{} entries are pending, more than {} cannot be taken over within the block budget", old.pending, kMostPending);
    CLAW_TRY_ASSIGN(const MessageKey last, parse_stream_id(old.last));
    if (!tokens.empty() && last < tokens.back().message->key) return std::string("the stream was made anew since");
    set_aside(tokens, rest, old.heads);
    if (tokens.empty()) return std::string();
    give_up_ = Deadline::in(connection_.clock(), kCopyTime + std::chrono::duration_cast<Millis>(kCopyEach * static_cast<std::int64_t>(old.length)));
    CLAW_TRY(clear());
    CLAW_TRY(name_messages(tokens));
    CLAW_TRY(copy(tokens));
    CLAW_TRY(make_groups(tokens, old.heads));
    CLAW_TRY_ASSIGN(const Facts held, keep_others(tokens));
    return swap(tokens, rest, held);
  }

 private:
  Deadline deadline() const { return call_deadline(connection_, deadline_); }
  Status before(std::string_view step) { return request_.before ? request_.before(step) : Status{}; }

  void set_aside(std::vector<Token>& tokens, std::vector<Token>& rest, const std::map<std::string, MessageKey>& heads) {
    const auto gone = std::stable_partition(tokens.begin(), tokens.end(), [&](const Token& t) { return !passed(t, heads); });
    rest.insert(rest.end(), gone, tokens.end());
    tokens.erase(gone, tokens.end());
  }

  // One slice; true when it was (nearly) the last.
  Result<bool> copy_slice(std::span<const Token> tokens, Pace& pace) {
    CLAW_TRY(before("copy"));
    const std::size_t most = pace.slice({});
    std::vector<std::string> arguments = {copied_.empty() ? "-" : "(" + copied_, "+", std::to_string(most)};
    std::size_t next = used_;
    for (std::size_t bytes = 0; next < tokens.size() && next - used_ < most && bytes < kSliceBytes; ++next) {
      const Message& message = *tokens[next].message;
      arguments.insert(arguments.end(), {std::to_string(message.key.high), std::to_string(message.key.low), std::to_string(message.fields.size())});
      for (const OwnedField& field : message.fields) {
        bytes += field.name.size() + field.value.size();
        arguments.insert(arguments.end(), {field.name, field.value});
      }
    }
    if (next < tokens.size()) arguments[1] = "(" + stream_id(tokens[next].message->key);
    const std::vector<std::string> keys = {request_.queue.name, side_};
    const MonoTime start = connection_.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection_, kCopy, keys, arguments, deadline()));
    if (reply.root().size() != 4) return make_error(Code::corrupt, "rebuild", "the script's answer is not {last, used, entries, microseconds}");
    const Reply::View last = reply.root().first(), used = last.next(), entries = used.next(), micros = entries.next();
    // The server's own time: on a busy machine a round trip is mostly waiting, and tells nothing about blocking.
    const std::chrono::nanoseconds took = micros.integer() > 0 ? std::chrono::nanoseconds(Micros(micros.integer())) : connection_.clock().mono() - start;
    if (!last.text().empty()) copied_ = last.text();
    used_ += static_cast<std::size_t>(used.integer());
    const auto moved = static_cast<std::size_t>(used.integer() + entries.integer());
    pace.took(took, {}, moved);
    // Others get as much of the server as the copy does.
    connection_.clock().sleep(std::chrono::ceil<Millis>(took));
    return used_ == tokens.size() && next == tokens.size() && static_cast<std::size_t>(entries.integer()) < std::min(most, kAlmostThere);
  }

  Status name_messages(std::span<const Token> tokens) {
    for (std::size_t first = 0; first < tokens.size(); first += 1'000) {
      std::vector<std::string_view> words = {"SADD", ids_};
      for (const Token& token : tokens.subspan(first, std::min<std::size_t>(1'000, tokens.size() - first))) words.push_back(token.message->id);
      CLAW_TRY(connection_.call(words, deadline()));
    }
    return {};
  }

  // Deletes from the side key what was deleted from the stream since it was copied, from an id on. What is deleted while
  // this goes on stands close behind the heads of the groups: answers from where the next one has to look.
  Result<std::string> tidy(const std::string& from) {
    CLAW_TRY(before("tidy"));
    static const std::string script = std::string(kStrike) + std::string(kTidy);
    CLAW_TRY_ASSIGN(const Facts now, facts_of(connection_, request_.queue.name, deadline()));
    std::optional<MessageKey> lowest;
    for (const auto& [name, head] : now.heads) lowest = lowest ? std::min(*lowest, head) : head;
    std::string next = "-";
    if (lowest) {
      CLAW_TRY_ASSIGN(const Reply back, connection_.call({"XREVRANGE", request_.queue.name, stream_id(*lowest), "-", "COUNT", std::to_string(2 * kMostDelta)}, deadline()));
      if (back.root().size() > 0) next = back.root()[back.root().size() - 1].first().text();
    }
    const std::vector<std::string> keys = {request_.queue.name, side_, ids_};
    Pace pace(request_.block_budget, kMostInSlice, kLeastInSlice);
    for (std::string at = from.empty() ? "-" : from;;) {
      const std::size_t most = pace.slice({});
      const std::vector<std::string> arguments = {at, copied_, std::to_string(most)};
      const MonoTime start = connection_.clock().mono();
      CLAW_TRY_ASSIGN(const Reply reply, run_script(connection_, script, keys, arguments, deadline()));
      if (!reply.root().is_array()) return next;
      pace.took(connection_.clock().mono() - start, {}, most);
      at = "(" + std::string(reply.root().first().text());
    }
  }

  Status copy(std::span<const Token> tokens) {
    Pace pace(request_.block_budget, kMostInSlice, kLeastInSlice);
    for (bool done = false; !done;) {
      CLAW_TRY_ASSIGN(done, copy_slice(tokens, pace));
      if (!done && give_up_->expired(connection_.clock())) return make_error(Code::timed_out, "rebuild", "the stream grows faster than it can be copied");
    }
    return {};
  }

  // What is pending in a group, and the oldest message that it never got.
  struct Awaiting {
    std::vector<std::string> claims;
    std::uint64_t pending = 0;
    std::optional<MessageKey> waits;
  };
  static std::map<std::string, Awaiting> awaiting(std::span<const Token> tokens, const std::map<std::string, MessageKey>& heads) {
    std::map<std::string, Awaiting> out;
    for (const Token& token : tokens) {
      for (const GroupState& g : groups_at_removal(*token.message, token.standing)) {
        if (!heads.contains(g.group)) continue;
        Awaiting& one = out[g.group];
        if (g.standing == GroupState::Standing::waiting && !one.waits) one.waits = token.message->key;
        if (g.standing != GroupState::Standing::pending) continue;
        ++one.pending;
        one.claims.insert(one.claims.end(), {consumer_of(g), token.message->id, std::to_string(g.idle_ms), std::to_string(std::max(1u, g.attempts))});
      }
    }
    return out;
  }

  Status make_groups(std::span<const Token> tokens, const std::map<std::string, MessageKey>& heads) {
    CLAW_TRY(before("groups"));
    groups_ = awaiting(tokens, heads);
    const std::vector<std::string> keys = {side_};
    for (const auto& [name, one] : groups_) {
      CLAW_TRY(connection_.call({"XGROUP", "CREATE", side_, name, "0"}, deadline()));
      for (std::size_t first = 0; first < one.claims.size(); first += 4 * 1'000) {
        const auto slice = std::span(one.claims).subspan(first, std::min<std::size_t>(4 * 1'000, one.claims.size() - first));
        std::vector<std::string> arguments = {name};
        arguments.insert(arguments.end(), slice.begin(), slice.end());
        CLAW_TRY(run_script(connection_, kClaim, keys, arguments, deadline()));
      }
    }
    return {};
  }

  // The quarantine without these messages. Its facts before and at the swap tell whether somebody wrote to it meanwhile.
  Result<Facts> keep_others(std::span<const Token> tokens) {
    CLAW_TRY(before("keep"));
    CLAW_TRY(connection_.call({"UNLINK", kept_}, deadline()));
    CLAW_TRY_ASSIGN(const Facts held, facts_of(connection_, request_.quarantine, deadline()));
    std::set<std::string_view> ours;
    for (const Token& token : tokens) ours.insert(token.quarantine_id);
    if (held.length == ours.size()) return held;
    std::string from = "-";
    for (bool more = true; more;) {
      CLAW_TRY_ASSIGN(const Reply reply, connection_.call({"XRANGE", request_.quarantine, from, "+", "COUNT", "1000"}, deadline()));
      Reply::View entry = reply.root().first();
      for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next()) {
        from = "(" + std::string(entry.first().text());
        if (ours.contains(entry.first().text())) continue;
        std::vector<std::string_view> words = {"XADD", kept_, entry.first().text()};
        const Reply::View fields = entry.first().next();
        Reply::View field = fields.first();
        for (std::size_t f = 0; f < fields.size(); ++f, field = field.next()) words.push_back(field.text());
        CLAW_TRY(connection_.call(words, deadline()));
      }
      more = reply.root().size() == 1'000;
    }
    return held;
  }

  // What groups were led past meanwhile leaves the side key again.
  Status drop_passed(std::vector<Token>& tokens, std::vector<Token>& rest) {
    CLAW_TRY_ASSIGN(const Facts now, facts_of(connection_, request_.queue.name, deadline()));
    const std::size_t kept = rest.size();
    set_aside(tokens, rest, now.heads);
    for (std::size_t i = kept; i < rest.size(); ++i) {
      for (const GroupState& g : groups_at_removal(*rest[i].message, rest[i].standing))
        if (g.standing == GroupState::Standing::pending && groups_.contains(g.group)) CLAW_TRY(connection_.call({"XACK", side_, g.group, rest[i].message->id}, deadline()));
      CLAW_TRY(connection_.call({"XDEL", side_, rest[i].message->id}, deadline()));
      CLAW_TRY(connection_.call({"SREM", ids_, rest[i].message->id}, deadline()));
    }
    used_ = tokens.size();
    for (auto& [name, one] : groups_) one = {};
    for (auto& [name, one] : awaiting(tokens, now.heads))
      if (groups_.contains(name)) groups_[name] = std::move(one);
    return {};
  }

  std::vector<std::string> swap_arguments(std::span<const Token> tokens, const Facts& held) const {
    std::vector<std::string> out = {copied_, std::to_string(tokens.size()), std::to_string(held.length), std::to_string(held.added.value_or(0)), held.last,
                                    std::to_string(kMostPending), std::to_string(kMostDelta), std::to_string(groups_.size())};
    for (const auto& [name, one] : groups_)
      out.insert(out.end(), {name, one.waits ? std::to_string(one.waits->high) : "", one.waits ? std::to_string(one.waits->low) : "", std::to_string(one.pending)});
    return out;
  }

  Result<std::string> swap(std::vector<Token>& tokens, std::vector<Token>& rest, Facts held) {
    const std::vector<std::string> keys = {request_.queue.name, side_, request_.quarantine, kept_, trash_, ids_};
    static const std::string script = std::string(kStrike) + std::string(kSwap);
    std::string answer = "behind", tidied;
    for (int attempt = 0; attempt < kSwaps && !give_up_->expired(connection_.clock()); ++attempt) {
      CLAW_TRY(before("swap"));
      CLAW_TRY_ASSIGN(const Reply reply, run_script(connection_, script, keys, swap_arguments(tokens, held), deadline()));
      answer = reply.root().text();
      if (answer == "ok") return std::string();
      if (answer == "passed") {
        CLAW_TRY(drop_passed(tokens, rest));
        if (tokens.empty()) return std::string();
        CLAW_TRY_ASSIGN(held, keep_others(tokens));
      } else if (answer == "behind") {
        CLAW_TRY(copy(tokens));
      } else if (answer == "deleted") {
        CLAW_TRY_ASSIGN(tidied, tidy(tidied));
        CLAW_TRY(copy(tokens));
      } else {
        return answer;
      }
    }
    return answer != "passed" ? "the stream changes faster than the rebuild can follow" : "consumers pass the messages' places faster than the rebuild can follow";
  }

  Connection& connection_;
  const RestoreRequest& request_;
  Deadline deadline_;
  std::string side_, kept_, trash_, ids_;
  std::optional<Deadline> give_up_;
  std::string copied_;     // last id in the side key
  std::size_t used_ = 0;   // messages in the side key
  std::map<std::string, Awaiting> groups_;
};

}  // namespace

Status clear_rebuild(Connection& connection, const RestoreRequest& request, Deadline deadline) { return Rebuild(connection, request, deadline).clear(); }

Result<Rebuilt> rebuild_stream(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline) {
  Rebuilt out;
  Rebuild rebuild(connection, request, deadline);
  std::vector<Token> placed(tokens.begin(), tokens.end());
  Result<std::string> why = rebuild.run(placed, out.rest);
  // A step that was not let happen, or a connection that answers no more, ends the call; a refusal of the server does not.
  if (!why && (connection.broken() || why.error().code == Code::refused)) return why.error();
  const bool done = why && why->empty();
  if (!done) {
    CLAW_TRY(rebuild.clear());
    out.rest.assign(tokens.begin(), tokens.end());
    out.why_not = "not rebuilt: " + (why ? *why : escape(why.error().detail));
    return out;
  }
  out.restored = placed.size();
  if (placed.empty()) CLAW_TRY(rebuild.clear());
  std::stable_sort(out.rest.begin(), out.rest.end(), [](const Token& a, const Token& b) { return a.message->key < b.message->key; });
  if (!out.rest.empty()) out.why_not = fmt::format("{} put at the tail, because a group went past their places while they were away and would never get them there", out.rest.size());
  return out;
}

}  // namespace claw::redis
