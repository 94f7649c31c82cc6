#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "redis/operations.h"

namespace claw::redis {
namespace {

constexpr std::size_t kBatch = 512;     // commands in flight
constexpr std::int64_t kNear = 2'000;   // entries of a list that are searched on each side

// `digest`: 16 hex digits, what a plan tells of a message's content.
bool is_it(const Message& candidate, const std::string& digest) { return hex(candidate.content_digest()).substr(0, 16) == digest; }

Message blank(const PlannedMessage& planned) { return {.id = planned.id, .key = planned.key, .fields = {}, .groups = {}}; }

std::vector<OwnedField> fields_of(Reply::View pairs) {
  std::vector<OwnedField> fields;
  Reply::View name = pairs.first();
  for (std::size_t f = 0; f + 1 < pairs.size(); f += 2) {
    const Reply::View value = name.next();
    fields.push_back({std::string(name.text()), std::string(value.text())});
    name = value.next();
  }
  return fields;
}

struct GroupHead {
  std::string name;
  MessageKey last_delivered;
};

Result<std::vector<GroupHead>> groups_of(Connection& connection, const std::string& key, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Reply reply, connection.call({"XINFO", "GROUPS", key}, deadline));
  std::vector<GroupHead> groups;
  Reply::View group = reply.root().first();
  for (std::size_t i = 0; i < reply.root().size(); ++i, group = group.next()) {
    GroupHead head;
    Reply::View field = group.first();
    for (std::size_t f = 0; f + 1 < group.size(); f += 2) {
      const Reply::View value = field.next();
      if (field.text() == "name") head.name = value.text();
      if (field.text() == "last-delivered-id") {
        CLAW_TRY_ASSIGN(head.last_delivered, parse_stream_id(value.text()));
      }
      field = value.next();
    }
    groups.push_back(std::move(head));
  }
  return groups;
}

// Where one group stands with each message: pages of its pending list over the span of the messages.
Status add_standing(Connection& connection, const std::string& key, const GroupHead& group, std::vector<Message>& messages, Deadline deadline) {
  std::map<MessageKey, std::size_t> by_key;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].fields.empty()) continue;
    const bool waiting = group.last_delivered < messages[i].key;
    messages[i].groups.push_back({.group = group.name, .standing = waiting ? GroupState::Standing::waiting : GroupState::Standing::acknowledged});
    if (!waiting) by_key.emplace(messages[i].key, i);
  }
  if (by_key.empty()) return {};
  std::string from = stream_id(by_key.begin()->first);
  const std::string to = stream_id(by_key.rbegin()->first);
  for (;;) {
    CLAW_TRY_ASSIGN(const Reply reply, connection.call({"XPENDING", key, group.name, from, to, "10000"}, deadline));
    Reply::View entry = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, entry = entry.next()) {
      const Reply::View id = entry.first(), consumer = id.next(), idle = consumer.next(), attempts = idle.next();
      CLAW_TRY_ASSIGN(const MessageKey at, parse_stream_id(id.text()));
      from = "(" + std::string(id.text());
      const auto found = by_key.find(at);
      if (found == by_key.end()) continue;
      GroupState& state = messages[found->second].groups.back();
      state.standing = GroupState::Standing::pending;
      state.consumer = consumer.text();
      state.attempts = static_cast<std::uint32_t>(std::min<std::int64_t>(attempts.integer(), UINT32_MAX));
      state.idle_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, idle.integer()));
    }
    if (reply.root().size() < 10'000) return {};
  }
}

Result<std::vector<Message>> read_stream(Connection& connection, const PlannedQueue& queue, std::span<const PlannedMessage> planned, const ContentByKey& known, Deadline deadline) {
  std::vector<Message> messages;
  std::vector<std::size_t> unknown;
  messages.reserve(planned.size());
  for (const PlannedMessage& m : planned) {
    messages.push_back(blank(m));
    if (const auto content = known.find(m.key); content != known.end()) messages.back().fields = content->second.fields;
    else unknown.push_back(messages.size() - 1);
  }
  for (std::size_t first = 0; first < unknown.size(); first += kBatch) {
    const auto batch = std::span(unknown).subspan(first, std::min(kBatch, unknown.size() - first));
    for (const std::size_t i : batch) connection.send({"XRANGE", queue.queue.name, messages[i].id, messages[i].id});
    Status failed;
    for (const std::size_t i : batch) {
      CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
      if (reply.root().is_error()) failed = to_error(reply.root().text(), "XRANGE " + queue.queue.name);
      else if (reply.root().size() == 1) messages[i].fields = fields_of(reply.root().first().first().next());
      // A stream that was made anew may have another message under the id.
      if (planned[i].digest != 0 && !is_it(messages[i], fmt::format("{:016x}", planned[i].digest))) messages[i].fields.clear();
    }
    CLAW_TRY(std::move(failed));
  }
  CLAW_TRY_ASSIGN(const auto groups, groups_of(connection, queue.queue.name, deadline));
  for (const GroupHead& group : groups) CLAW_TRY(add_standing(connection, queue.queue.name, group, messages, deadline));
  return messages;
}

// "list:<index>@<16 hex digits of the content's digest>": the index is a hint, the digest is the identity.
std::string digest_of(std::string_view id) {
  const std::size_t at = id.rfind('@');
  return at == std::string_view::npos ? std::string() : std::string(id.substr(at + 1));
}

// Looks for a digest in [place - kNear, place + kNear].
Result<bool> search_near(Connection& connection, const std::string& key, std::int64_t place, const std::string& digest, Message& found, Deadline deadline) {
  const std::int64_t first = std::max<std::int64_t>(0, place - kNear);
  CLAW_TRY_ASSIGN(const Reply reply, connection.call({"LRANGE", key, std::to_string(first), std::to_string(place + kNear)}, deadline));
  Reply::View value = reply.root().first();
  for (std::size_t i = 0; i < reply.root().size(); ++i, value = value.next()) {
    found.fields = {{"", std::string(value.text())}};
    if (!is_it(found, digest)) continue;
    found.key.high = static_cast<std::uint64_t>(first) + i;
    return true;
  }
  found.fields.clear();
  return false;
}

// The entries around one place, taken as its content and its neighbours.
void take_place(Message& message, Reply::View entries, bool at_head) {
  const auto digest = [](Reply::View value) {
    const Field field{"", value.text()};
    return short_digest(std::span(&field, 1));
  };
  Reply::View value = entries.first();
  std::size_t left = entries.size();
  if (!at_head && left > 0) {
    message.neighbours.before = digest(value);
    value = value.next();
    --left;
  }
  if (left == 0) return;
  message.fields.push_back({"", std::string(value.text())});
  if (left > 1) message.neighbours.after = digest(value.next());
}

// What the scan kept is taken as it is when it has the planned digest: the removal compares the bytes in their place. A list
// that moved since the scan has other bytes at the index: what does not have the planned digest is searched for nearby,
// counted from both ends, and is gone when it is not there. Never is a message taken for another.
Result<std::vector<Message>> read_list(Connection& connection, const PlannedQueue& queue, std::span<const PlannedMessage> planned, const ContentByKey& known, Deadline deadline) {
  const std::string& key = queue.queue.name;
  CLAW_TRY_ASSIGN(const Reply length, connection.call({"LLEN", key}, deadline));
  std::vector<Message> messages;
  std::vector<std::size_t> unknown;
  messages.reserve(planned.size());
  for (const PlannedMessage& m : planned) {
    messages.push_back(blank(m));
    Message& message = messages.back();
    if (const auto content = known.find(m.key); content != known.end()) {
      message.fields = content->second.fields;
      message.neighbours = content->second.neighbours;
    }
    if (message.fields.size() != 1 || !is_it(message, digest_of(m.id))) {
      message.fields.clear();
      unknown.push_back(messages.size() - 1);
    }
  }
  for (std::size_t first = 0; first < unknown.size(); first += kBatch) {
    const auto batch = std::span(unknown).subspan(first, std::min(kBatch, unknown.size() - first));
    for (const std::size_t i : batch) {
      const std::uint64_t index = planned[i].key.high;
      connection.send({"LRANGE", key, std::to_string(index == 0 ? 0 : index - 1), std::to_string(index + 1)});
    }
    Status failed;
    for (const std::size_t i : batch) {
      CLAW_TRY_ASSIGN(const Reply reply, connection.receive(deadline));
      if (reply.root().is_error()) failed = to_error(reply.root().text(), "LRANGE " + key);
      else take_place(messages[i], reply.root(), planned[i].key.high == 0);
    }
    CLAW_TRY(std::move(failed));
  }
  for (const std::size_t i : unknown) {
    Message& message = messages[i];
    const std::string digest = digest_of(planned[i].id);
    if (!message.fields.empty() && is_it(message, digest)) continue;
    message.fields.clear();
    message.neighbours = {};
    CLAW_TRY_ASSIGN(const bool near_head, search_near(connection, key, static_cast<std::int64_t>(planned[i].key.high), digest, message, deadline));
    if (near_head) continue;
    const std::int64_t from_tail = length.root().integer() - 1 - static_cast<std::int64_t>(planned[i].key.low);
    CLAW_TRY(search_near(connection, key, std::max<std::int64_t>(0, from_tail), digest, message, deadline));
  }
  return messages;
}

}  // namespace

Result<std::vector<Message>> read_messages(Connection& connection, const PlannedQueue& queue, std::span<const PlannedMessage> messages,
                                           const ContentByKey& known, Deadline deadline) {
  // An entry of a stream never changes under its id; a list's place may hold other bytes by now.
  return queue.type == QueueType::stream ? read_stream(connection, queue, messages, known, deadline) : read_list(connection, queue, messages, known, deadline);
}

}  // namespace claw::redis
