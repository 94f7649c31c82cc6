// What the adapter does with one queue.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "rabbitmq/session.h"

namespace claw::rabbitmq {

// First the queue's dead-letter queue, as evidence only (kDeadBit in the key's high word), then the queue from its head.
// key = {place in the look, short digest of all bytes}; of a stream {offset, 0}.
Result<std::unique_ptr<Window>> look_at(Session& session, const QueueView& queue, Deadline deadline);
inline constexpr std::uint64_t kDeadBit = 1ull << 62;

Result<std::vector<QueueView>> discover_queues(Session& session, std::span<const Claim> claims, Deadline deadline);
Status measure_queues(Session& session, std::span<QueueView> views, Deadline deadline);

Result<std::vector<Message>> read_messages(Session& session, const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline);
Result<std::vector<Removal>> remove_messages(Session& session, const RemoveRequest& request, Deadline deadline);
Result<std::vector<Quarantined>> read_quarantine(Session& session, const std::string& quarantine, const std::string& execution_id, Deadline deadline);
Result<RestoreOutcome> restore_messages(Session& session, const RestoreRequest& request, Deadline deadline);

// "orders" → "orders.quarantine"
std::string quarantine_of(std::string_view queue);
bool is_quarantine(std::string_view queue);

}  // namespace claw::rabbitmq
