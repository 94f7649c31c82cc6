// What the adapter does with one queue, over the connection of the queue's server.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "redis/connection.h"
#include "redis/servers.h"

namespace claw::redis {

// Entries of the stream up to the one that is last now, with what every group's deliveries tell about each.
Result<std::unique_ptr<Window>> look_stream(Servers& servers, Connection& connection, const QueueView& queue, Deadline deadline);

// First the processing and the dead list, as evidence only (kProcessingBit, kDeadBit in the key's high word), then the list
// from its head. key = {index from the head, index from the tail} at the time of the look.
std::unique_ptr<Window> look_list(Servers& servers, const QueueView& queue);
inline constexpr std::uint64_t kProcessingBit = 1ull << 63;
inline constexpr std::uint64_t kDeadBit = 1ull << 62;

Result<std::vector<Message>> read_messages(Connection& connection, const PlannedQueue& queue, std::span<const PlannedMessage> messages,
                                           const ContentByKey& known, Deadline deadline);
Result<std::vector<Removal>> remove_messages(Connection& connection, const RemoveRequest& request, Deadline deadline);
Result<std::vector<QuarantinedDigest>> read_quarantine_digests(Connection& connection, const std::string& quarantine, const std::string& execution_id, Deadline deadline);
Result<std::vector<Quarantined>> read_quarantine(Connection& connection, const QueueId& queue, const std::string& quarantine,
                                                 const std::string& execution_id, Deadline deadline);
Status quarantine_again(Connection& connection, const RestoreRequest& request, std::span<const std::size_t> wanted, bool repeated, Deadline deadline);
std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget);

// An entry of the quarantine with its "groups" field: a letter a group of the stream, p, w or a, in the instant of removal.
struct Held : Quarantined {
  std::string standing;
};
Result<std::vector<Held>> read_held(Connection& connection, const std::string& quarantine, const std::string& execution_id, Deadline deadline);
// How each group stood in that instant; consumers, attempts and idle times are the snapshot's.
std::vector<GroupState> groups_at_removal(const Message& snapshot, std::string_view standing);

Result<RestoreOutcome> restore_messages(Connection& connection, const RestoreRequest& request, Deadline deadline);
// One genuine quarantine entry that is to go back: who deletes it puts the message into the queue, in one script.
struct Token {
  std::string quarantine_id;
  const Message* message;  // the vault's
  std::string standing;
};
// Between its recorded neighbours where they are still there, else at the end that consumers take from.
Result<RestoreOutcome> restore_list(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline);
// Wanted and safe: under the old ids, by rebuild_stream; what that leaves over goes to the tail under new ids.
Result<RestoreOutcome> restore_stream(Connection& connection, const RestoreRequest& request, std::span<const Token> tokens, Deadline deadline);

// In the same cluster slot as the queue: "{name}:quarantine", or name + ":quarantine" when the name has a hash tag; of no two
// queues the same.
std::string quarantine_key(std::string_view queue_key);
bool is_quarantine_key(std::string_view key);

// "1700000000000-0"
std::string stream_id(MessageKey key);
Result<MessageKey> parse_stream_id(std::string_view text);

// For one call of a long operation: a server that hangs is noticed long before the whole operation's time is up.
Deadline call_deadline(Connection& connection, Deadline whole);

// Runs a script by its digest; sends its text when the server does not know it yet.
Result<Reply> run_script(Connection& connection, std::string_view script, std::span<const std::string> keys, std::span<const std::string> arguments, Deadline deadline);

}  // namespace claw::redis
