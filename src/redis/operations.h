// What the adapter does with one queue, over the connection of the queue's server.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "redis/connection.h"

namespace claw::redis {

// Entries of the stream up to the one that is last now, with what every group's deliveries tell about each.
Result<std::unique_ptr<Window>> look_stream(Connection& connection, const QueueView& queue, Deadline deadline);

// First the processing and the dead list, as evidence only (kProcessingBit, kDeadBit in the key's high word), then the list
// from its head. key = {index from the head, index from the tail} at the time of the look.
Result<std::unique_ptr<Window>> look_list(Connection& connection, const QueueView& queue, Deadline deadline);
inline constexpr std::uint64_t kProcessingBit = 1ull << 63;
inline constexpr std::uint64_t kDeadBit = 1ull << 62;

Result<std::vector<Message>> read_messages(Connection& connection, const PlannedQueue& queue, std::span<const PlannedMessage> messages,
                                           const ContentByKey& known, Deadline deadline);
Result<std::vector<Removal>> remove_messages(Connection& connection, const RemoveRequest& request, Deadline deadline);
Result<std::vector<Quarantined>> read_quarantine(Connection& connection, const QueueId& queue, const std::string& quarantine,
                                                 const std::string& execution_id, Deadline deadline);
Result<RestoreOutcome> restore_messages(Connection& connection, const RestoreRequest& request, Deadline deadline);

// In the same cluster slot as the queue: "{name}:quarantine", or name + ":quarantine" when the name has a hash tag; of no two
// queues the same.
std::string quarantine_key(std::string_view queue_key);
bool is_quarantine_key(std::string_view key);

// "1700000000000-0"
std::string stream_id(MessageKey key);
Result<MessageKey> parse_stream_id(std::string_view text);

// Runs a script by its digest; sends its text when the server does not know it yet.
Result<Reply> run_script(Connection& connection, std::string_view script, std::span<const std::string> keys, std::span<const std::string> arguments, Deadline deadline);

}  // namespace claw::redis
