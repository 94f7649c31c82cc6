// A stream's entry goes back under its old id by rebuild_stream, where that is safe; what is left goes to the tail.
#include <fmt/format.h>

#include <algorithm>

#include "redis/operations.h"
#include "redis/pace.h"
#include "redis/rebuild.h"

namespace claw::redis {
namespace {

constexpr std::size_t kSliceBytes = 4u << 20;

// Puts messages of a quarantine back into their stream, each with a new id. KEYS: stream, quarantine. ARGV: per entry:
// quarantine id, number of groups, then per group: name, standing, consumer, attempts, idle ms. The quarantine entry is the
// token: who deletes it puts the message back, so twice is a no-op. A group that had acknowledged it and waits for nothing
// moves past it; one that waits for other entries gets it again. The first command deletes nothing: it proves the right to.
// Answers {restored, deliveries that will be repeated}.
constexpr std::string_view kTail = R"lua(
local call = redis.call
call('XDEL', KEYS[2], '0-1')
local last, heads, done, again = nil, {}, 0, 0
if call('EXISTS', KEYS[1]) == 1 then
  local info = call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
  for _, g in ipairs(call('XINFO', 'GROUPS', KEYS[1])) do
    local name, head
    for f = 1, #g, 2 do
      if g[f] == 'name' then name = g[f + 1] end
      if g[f] == 'last-delivered-id' then head = g[f + 1] end
    end
    heads[name] = head
  end
end
local a = 1
while a <= #ARGV do
  local qid, count = ARGV[a], tonumber(ARGV[a + 1])
  local found = call('XRANGE', KEYS[2], qid, qid)
  if #found == 1 then
    local id = call('XADD', KEYS[1], '*', unpack(found[1][2], 9))
    for k = 0, count - 1 do
      local b = a + 2 + k * 5
      local group, standing = ARGV[b], ARGV[b + 1]
      local nothing_waits = heads[group] == last
      if heads[group] and standing ~= 'w' then
        if nothing_waits then
          call('XGROUP', 'SETID', KEYS[1], group, id)
          heads[group] = id
        elseif standing == 'a' then
          again = again + 1
        end
        if standing == 'p' then call('XCLAIM', KEYS[1], group, ARGV[b + 2], 0, id, 'IDLE', ARGV[b + 4], 'RETRYCOUNT', ARGV[b + 3], 'FORCE', 'JUSTID') end
      end
    end
    last = id
    call('XDEL', KEYS[2], qid)
    done = done + 1
  end
  a = a + 2 + count * 5
end
return {done, again}
)lua";

std::size_t add_token(std::vector<std::string>& arguments, const Token& token) {
  const std::vector<GroupState> groups = groups_at_removal(*token.message, token.standing);
  arguments.insert(arguments.end(), {token.quarantine_id, std::to_string(groups.size())});
  for (const GroupState& g : groups) {
    const char* standing = g.standing == GroupState::Standing::pending ? "p" : g.standing == GroupState::Standing::waiting ? "w" : "a";
    arguments.insert(arguments.end(), {g.group, standing, consumer_of(g), std::to_string(std::max(1u, g.attempts)), std::to_string(g.idle_ms)});
  }
  std::size_t bytes = 0;
  for (const OwnedField& field : token.message->fields) bytes += field.name.size() + field.value.size();
  return bytes;
}

Status put_at_tail(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, RestoreOutcome& out, Deadline deadline) {
  const std::vector<std::string> keys = {request.queue.name, request.quarantine};
  Pace pace(request.block_budget);
  for (std::size_t next = 0; next < tokens.size();) {
    if (request.before) CLAW_TRY(request.before("tail"));
    std::vector<std::string> arguments;
    const std::size_t first = next, most = pace.slice({});
    for (std::size_t bytes = 0; next < tokens.size() && next - first < most && bytes < kSliceBytes; ++next) bytes += add_token(arguments, tokens[next]);
    const MonoTime start = connection.clock().mono();
    CLAW_TRY_ASSIGN(const Reply reply, run_script(connection, kTail, keys, arguments, call_deadline(connection, deadline)));
    pace.took(connection.clock().mono() - start, {}, next - first);
    if (reply.root().size() != 2) return make_error(Code::corrupt, "restore", "the script's answer is not {restored, repeated}");
    out.restored += static_cast<std::uint64_t>(reply.root().first().integer());
    out.repeats += static_cast<std::uint64_t>(reply.root().first().next().integer());
  }
  return {};
}

}  // namespace

std::string consumer_of(const GroupState& group) { return group.consumer.empty() ? "deployclaw" : group.consumer; }

Result<RestoreOutcome> restore_stream(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline) {
  RestoreOutcome out;
  std::vector<Token> order(tokens.begin(), tokens.end());
  std::stable_sort(order.begin(), order.end(), [](const Token& a, const Token& b) { return a.message->key < b.message->key; });
  CLAW_TRY(clear_rebuild(connection, request, deadline));
  if (request.wanted == RestoreOrder::exact && !order.empty()) {
    CLAW_TRY_ASSIGN(Rebuilt rebuilt, rebuild_stream(connection, request, order, deadline));
    out.restored = out.in_place = rebuilt.restored;
    out.why_not_exact = std::move(rebuilt.why_not);
    order = std::move(rebuilt.rest);
  } else if (!order.empty()) {
    out.why_not_exact = "order tail was asked for";
  }
  CLAW_TRY(put_at_tail(connection, request, order, out, deadline));
  if (out.repeats > 0) out.why_not_exact += fmt::format("; {} deliveries to groups that had acknowledged a message will be repeated", out.repeats);
  return out;
}

}  // namespace claw::redis
