#include "rabbitmq/gather.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {

Result<std::vector<Message>> read_messages(Session& session, const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) {
  std::vector<Message> out;
  bool all_known = true;
  for (const PlannedMessage& planned : messages) {
    const auto seen = known.find(planned.key);
    all_known &= seen != known.end();
    out.push_back({.id = planned.id, .key = planned.key, .fields = seen == known.end() ? std::vector<OwnedField>() : seen->second.fields, .groups = {}});
  }
  // Content never changes under its digest, so what the look kept needs no second delivery.
  if (all_known) return out;
  let_go(session, queue.queue.name);
  CLAW_TRY_ASSIGN(Kept kept, gather(session, queue, true, deadline));
  // Equal bytes are handed out as often as they were met, in the plan's order.
  std::map<std::uint64_t, std::deque<const std::vector<OwnedField>*>> found;
  for (const auto& [digest, tags] : kept.by_digest)
    for (std::size_t i = 0; i < tags.size(); ++i) found[short_digest(digest)].push_back(&kept.content.at(digest));
  for (Message& message : out) {
    auto& same = found[message.key.low];
    if (same.empty()) {
      message.fields.clear();
      continue;
    }
    message.fields = *same.front();
    same.pop_front();
  }
  kept.content.clear();
  session.kept.insert_or_assign(queue.queue.name, std::move(kept));
  return out;
}

}  // namespace claw::rabbitmq
