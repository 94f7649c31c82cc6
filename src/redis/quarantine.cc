#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr const char* kPage = "1000";
constexpr std::size_t kOurFields = 4;  // exec, n, id, groups; then the message's own pairs
constexpr std::size_t kRestoreSlice = 100;

// Puts messages of a quarantine back into their stream, each with a new id. KEYS: stream, quarantine. ARGV: then per
// entry: quarantine id, and the consumer and attempts a pending group had, as a count followed by triples. The
// quarantine entry is the token: who deletes it puts the message back, so twice is a no-op.
// A group that had acknowledged it and waits for nothing moves past it; one that waits for other entries gets it again.
// Answers per entry: new id, or '' when it was restored before; then a count of deliveries that will be repeated.
constexpr std::string_view kStreamTail = R"lua(
local out, again = {}, 0
local a = 1
while a <= #ARGV do
  local qid, count = ARGV[a], tonumber(ARGV[a + 1])
  local found = redis.call('XRANGE', KEYS[2], qid, qid)
  if #found == 0 then
    out[#out + 1] = ''
  else
    local fields, pairs_ = found[1][2], {}
    for i = 9, #fields do pairs_[#pairs_ + 1] = fields[i] end
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    local last
    for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
    local heads = {}
    for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
      local name, head
      for f = 1, #g, 2 do
        if g[f] == 'name' then name = g[f + 1] end
        if g[f] == 'last-delivered-id' then head = g[f + 1] end
      end
      heads[name] = head
    end
    local id = redis.call('XADD', KEYS[1], '*', unpack(pairs_))
    for k = 0, count - 1 do
      local b = a + 2 + k * 4
      local group, standing, consumer, attempts = ARGV[b], ARGV[b + 1], ARGV[b + 2], ARGV[b + 3]
      if heads[group] and standing == 'p' then
        if heads[group] == last then redis.call('XGROUP', 'SETID', KEYS[1], group, id) end
        redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'FORCE', 'JUSTID', 'RETRYCOUNT', attempts)
      elseif heads[group] and standing == 'a' then
        if heads[group] == last then redis.call('XGROUP', 'SETID', KEYS[1], group, id) else again = again + 1 end
      end
    end
    redis.call('XDEL', KEYS[2], qid)
    out[#out + 1] = id
  end
  a = a + 2 + count * 4
end
out[#out + 1] = again
return out
)lua";

// KEYS: list, quarantine. ARGV: quarantine ids. Puts each back at the tail, where RPOP takes next.
constexpr std::string_view kListTail = R"lua(
local out = {}
for a = 1, #ARGV do
  local found = redis.call('XRANGE', KEYS[2], ARGV[a], ARGV[a])
  if #found == 0 then
    out[#out + 1] = ''
  else
    redis.call('RPUSH', KEYS[1], found[1][2][10])
    redis.call('XDEL', KEYS[2], ARGV[a])
    out[#out + 1] = ARGV[a]
  end
end
out[#out + 1] = 0
return out
)lua";

Result<Quarantined> entry_of(Reply::View entry, const std::string& where) {
  Quarantined out;
  out.quarantine_id = entry.first().text();
  const Reply::View fields = entry.first().next();
  if (fields.size() < 2 * kOurFields || fields.size() % 2 != 0 || fields.first().text() != "exec")
    return make_error(Code::corrupt, where, "entry " + escape(out.quarantine_id) + " is not ours");
  Reply::View name = fields.first();
  for (std::size_t f = 0; f + 1 < fields.size(); f += 2) {
    const Reply::View value = name.next();
    if (f == 2) std::from_chars(value.text().data(), value.text().data() + value.text().size(), out.number);
    else if (f == 4) out.message.id = value.text();
    else if (f >= 2 * kOurFields) out.message.fields.push_back({std::string(name.text()), std::string(value.text())});
    name = value.next();
  }
  return out;
}

std::string_view execution_of(Reply::View entry) {
  const Reply::View fields = entry.first().next();
  return fields.size() >= 2 && fields.first().text() == "exec" ? fields.first().next().text() : std::string_view();
}

void add_groups(std::vector<std::string>& arguments, const Message* snapshot, std::string_view standing) {
  std::vector<const GroupState*> groups;
  if (snapshot != nullptr)
    for (const GroupState& g : snapshot->groups) groups.push_back(&g);
  arguments.push_back(std::to_string(groups.size()));
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const GroupState& g = *groups[i];
    // The quarantine entry tells how it stood in the instant of removal, in the order of the stream's groups then.
    const char now = groups.size() == standing.size() ? standing[i] : g.standing == GroupState::Standing::pending ? 'p' : g.standing == GroupState::Standing::waiting ? 'w' : 'a';
    arguments.insert(arguments.end(), {g.group, std::string(1, now), g.consumer.empty() ? "deployclaw" : g.consumer, std::to_string(std::max(1u, g.attempts))});
  }
}

}  // namespace

Result<std::vector<Quarantined>> read_quarantine(Connection& connection, const QueueId&, const std::string& quarantine, const std::string& execution_id,
                                                 Deadline deadline) {
  std::vector<Quarantined> out;
  std::string from = "-";
  for (;;) {
    CLAW_TRY_ASSIGN(const Reply reply, connection.call({"XRANGE", quarantine, from, "+", "COUNT", kPage}, deadline));
    Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next()) {
      from = "(" + std::string(entry.first().text());
      if (execution_of(entry) != execution_id) continue;
      CLAW_TRY_ASSIGN(Quarantined one, entry_of(entry, quarantine));
      out.push_back(std::move(one));
    }
    if (reply.root().size() < 1'000) break;
  }
  std::sort(out.begin(), out.end(), [](const Quarantined& a, const Quarantined& b) { return a.number < b.number; });
  return out;
}

Result<RestoreOutcome> restore_messages(Connection& connection, const RestoreRequest& request, Deadline deadline) {
  CLAW_TRY_ASSIGN(const auto held, read_quarantine(connection, request.queue, request.quarantine, request.execution_id, deadline));
  const std::vector<std::string> keys = {request.queue.name, request.quarantine};
  RestoreOutcome out;
  std::int64_t again = 0;
  for (std::size_t first = 0; first < held.size(); first += kRestoreSlice) {
    const auto slice = std::span(held).subspan(first, std::min(kRestoreSlice, held.size() - first));
    std::vector<std::string> arguments;
    for (const Quarantined& one : slice) {
      arguments.push_back(one.quarantine_id);
      if (request.type == QueueType::stream) add_groups(arguments, one.number < request.messages.size() ? &request.messages[one.number] : nullptr, "");
    }
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, request.type == QueueType::stream ? kStreamTail : kListTail, keys, arguments, deadline));
    if (reply.root().size() != slice.size() + 1) return make_error(Code::corrupt, "restore", "the script answered for another number of messages");
    Reply::View answer = reply.root().first();
    for (std::size_t i = 0; i < slice.size(); ++i, answer = answer.next()) out.restored += answer.text().empty() ? 0 : 1;
    again += answer.integer();
  }
  std::uint64_t removable = 0;
  for (const Message& m : request.messages) removable += m.fields.empty() ? 0 : 1;
  out.already_present = removable - std::min(removable, out.restored);
  out.achieved = RestoreOrder::tail;
  out.why_not_exact = request.type == QueueType::stream ? "an entry cannot come back under its old id while later ones exist" : "put back where RPOP takes next";
  if (again > 0) out.why_not_exact += fmt::format("; {} deliveries to groups that had acknowledged a message will be repeated", again);
  return out;
}

}  // namespace claw::redis
