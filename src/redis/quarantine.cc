#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"
#include "redis/operations.h"
#include "redis/pace.h"

namespace claw::redis {
namespace {

constexpr std::size_t kPage = 1'000;
constexpr std::size_t kOurFields = 4;  // exec, n, id, groups; then the message's own pairs
constexpr std::size_t kSliceBytes = 4u << 20;

// Writes entries as the removal writes them. KEYS: quarantine. ARGV: execution, then per entry: number, id, standing,
// pairs, then name and value of each.
constexpr std::string_view kAgain = R"lua(
local a = 2
while a <= #ARGV do
  local values = tonumber(ARGV[a + 3]) * 2
  redis.call('XADD', KEYS[1], '*', 'exec', ARGV[1], 'n', ARGV[a], 'id', ARGV[a + 1], 'groups', ARGV[a + 2], unpack(ARGV, a + 4, a + 3 + values))
  a = a + 4 + values
end
return 1
)lua";

// An entry that names our execution and is not of our making has no number.
Held entry_of(Reply::View entry) {
  Held out;
  out.quarantine_id = entry.first().text();
  out.number = kNoNumber;
  const Reply::View fields = entry.first().next();
  if (fields.size() < 2 * kOurFields || fields.size() % 2 != 0) return out;
  Reply::View name = fields.first();
  for (std::size_t f = 0; f + 1 < fields.size(); f += 2) {
    const Reply::View value = name.next();
    const std::string_view text = value.text();
    if (f == 2) {
      std::size_t number = 0;
      const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (problem == std::errc() && end == text.data() + text.size()) out.number = number;
    } else if (f == 4) out.message.id = text;
    else if (f == 6) out.standing = text;
    else if (f >= 2 * kOurFields) out.message.fields.push_back({std::string(name.text()), std::string(text)});
    name = value.next();
  }
  return out;
}

std::string_view execution_of(Reply::View entry) {
  const Reply::View fields = entry.first().next();
  return fields.size() >= 2 && fields.first().text() == "exec" ? fields.first().next().text() : std::string_view();
}

std::string standing_of(const Message& message) {
  std::string letters;
  for (const GroupState& g : message.groups)
    letters += g.standing == GroupState::Standing::pending ? 'p' : g.standing == GroupState::Standing::waiting ? 'w' : 'a';
  return letters;
}

}  // namespace

namespace {

// f(entry) for each of the execution's entries, a page at a time: the server is at the next one meanwhile.
template <class F>
Status each_entry(Connection& connection, const std::string& quarantine, const std::string& execution_id, Deadline deadline, F&& f) {
  const auto ask = [&](const std::string& from) {
    connection.send({"XRANGE", quarantine, from, "+", "COUNT", std::to_string(kPage)});
    return connection.flush(deadline);
  };
  CLAW_TRY(ask("-"));
  for (Reply reply;;) {
    CLAW_TRY(connection.receive_into(reply, deadline));
    if (reply.root().is_error()) return to_error(reply.root().text(), "XRANGE " + quarantine);
    const std::size_t count = reply.root().size();
    Reply::View last = reply.root().first();
    for (std::size_t i = 1; i < count; ++i) last = last.next();
    if (count == kPage) CLAW_TRY(ask("(" + std::string(last.first().text())));
    Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < count; ++i, entry = entry.next())
      if (execution_of(entry) == execution_id) f(entry);
    if (count < kPage) return {};
  }
}

}  // namespace

Result<std::vector<Held>> read_held(Connection& connection, const std::string& quarantine, const std::string& execution_id, Deadline deadline) {
  std::vector<Held> out;
  CLAW_TRY(each_entry(connection, quarantine, execution_id, deadline, [&](Reply::View entry) { out.push_back(entry_of(entry)); }));
  std::stable_sort(out.begin(), out.end(), [](const Held& a, const Held& b) { return a.number < b.number; });
  return out;
}

Result<std::vector<Quarantined>> read_quarantine(Connection& connection, const QueueId&, const std::string& quarantine, const std::string& execution_id,
                                                 Deadline deadline) {
  CLAW_TRY_ASSIGN(std::vector<Held> held, read_held(connection, quarantine, execution_id, deadline));
  return std::vector<Quarantined>(std::make_move_iterator(held.begin()), std::make_move_iterator(held.end()));
}

Result<std::vector<QuarantinedDigest>> read_quarantine_digests(Connection& connection, const std::string& quarantine, const std::string& execution_id, Deadline deadline) {
  std::vector<QuarantinedDigest> out;
  CLAW_TRY(each_entry(connection, quarantine, execution_id, deadline, [&](Reply::View entry) {
    Held held = entry_of(entry);
    out.push_back({.number = held.number, .quarantine_id = std::move(held.quarantine_id), .digest = held.message.digest()});
  }));
  std::stable_sort(out.begin(), out.end(), [](const QuarantinedDigest& a, const QuarantinedDigest& b) { return a.number < b.number; });
  return out;
}

std::vector<GroupState> groups_at_removal(const Message& snapshot, std::string_view standing) {
  std::vector<GroupState> groups = snapshot.groups;
  if (groups.size() != standing.size()) return groups;  // groups came or went in that moment: the snapshot knows best
  for (std::size_t i = 0; i < groups.size(); ++i) {
    using enum GroupState::Standing;
    groups[i].standing = standing[i] == 'p' ? pending : standing[i] == 'w' ? waiting : acknowledged;
  }
  return groups;
}

Status quarantine_again(Connection& connection, const RestoreRequest& request, std::span<const std::size_t> wanted, bool repeated, Deadline deadline) {
  const std::vector<std::string> keys = {request.quarantine};
  std::vector<std::size_t> numbers(wanted.begin(), wanted.end());
  if (repeated) {  // an answer was lost: what it tells of may have been written, and must not be there twice
    CLAW_TRY_ASSIGN(const auto held, read_quarantine(connection, request.queue, request.quarantine, request.execution_id, deadline));
    std::set<std::size_t> there;
    for (const Quarantined* one : genuine(held, request.messages)) there.insert(one->number);
    std::erase_if(numbers, [&](std::size_t number) { return there.contains(number); });
  }
  for (std::size_t next = 0; next < numbers.size();) {
    std::vector<std::string> arguments = {request.execution_id};
    const std::size_t first = next;
    for (std::size_t bytes = 0; next < numbers.size() && next - first < Pace::kFirst && bytes < kSliceBytes; ++next) {
      const Message& message = request.messages[numbers[next]];
      arguments.insert(arguments.end(), {std::to_string(numbers[next]), message.id, standing_of(message), std::to_string(message.fields.size())});
      for (const OwnedField& field : message.fields) {
        bytes += field.name.size() + field.value.size();
        arguments.insert(arguments.end(), {field.name, field.value});
      }
    }
    if (request.before) CLAW_TRY(request.before("quarantine-again"));
    CLAW_TRY(run_script(connection, kAgain, keys, arguments, deadline));
  }
  return {};
}

Result<RestoreOutcome> restore_messages(Connection& connection, const RestoreRequest& request, Deadline deadline) {
  CLAW_TRY_ASSIGN(const std::vector<Held> held, read_held(connection, request.quarantine, request.execution_id, deadline));
  // Same order as `held`, so that what is genuine can be told by its place in it.
  const std::vector<Quarantined> plain(held.begin(), held.end());
  std::vector<Token> tokens;
  for (const Quarantined* one : genuine(plain, request.messages)) {
    const Held& entry = held[static_cast<std::size_t>(one - plain.data())];
    tokens.push_back({.quarantine_id = entry.quarantine_id, .message = &request.messages[entry.number], .standing = entry.standing});
  }
  CLAW_TRY_ASSIGN(RestoreOutcome out, request.type == QueueType::stream ? restore_stream(connection, request, tokens, deadline)
                                                                        : restore_list(connection, request, tokens, deadline));
  out.foreign = held.size() - tokens.size();
  std::uint64_t removable = 0;
  for (const Message& m : request.messages) removable += m.fields.empty() ? 0 : 1;
  out.already_present = removable - std::min(removable, out.restored);
  out.achieved = tokens.empty() || out.in_place < out.restored ? RestoreOrder::tail : RestoreOrder::exact;
  if (tokens.empty()) out.why_not_exact = "nothing of it was in quarantine any more";
  return out;
}

}  // namespace claw::redis
