// A RabbitMQ message as the agent sees it: what of a delivery is the message, what tells of its deliveries, and how it is
// written to quarantine and back.
//
// Its fields are {"", body} and {"amqp", envelope}: exchange, routing key and properties, so that a snapshot holds all that a
// publish needs. What the broker adds on delivery (x-delivery-count and the like) is not content: it differs at each look. A table
// without headers counts as no table, because a quorum queue makes the one out of the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/message.h"
#include "rabbitmq/connection.h"

namespace claw::rabbitmq {

struct Envelope {
  std::string_view exchange, routing_key;
  std::string_view properties;
};

// What one delivery is and tells. Owns its envelope; the body stays the delivery's.
struct Seen {
  std::string envelope;                     // packed
  std::uint32_t delivery_count = 0;         // of a quorum queue: how often it came back
  std::uint32_t dead_lettered = 0;          // times that consumers of `queue` rejected it or its delivery limit was reached
  std::optional<std::int64_t> expires_ms;   // its own expiration
  std::optional<std::uint64_t> offset;      // of a stream
};

// Code::corrupt when the properties are malformed. `queue`: whose x-death entries count.
Result<Seen> see(const Delivery& delivery, std::string_view queue);

std::string pack(const Envelope& envelope);
Result<Envelope> unpack(std::string_view packed);  // views into `packed`

// Digest of the fields {"", body}, {"amqp", envelope}: 32 bytes.
std::string digest_of(std::string_view body, std::string_view envelope);
// Its first 8 bytes, big-endian: the low word of a key.
std::uint64_t short_digest(std::string_view digest);

std::vector<OwnedField> fields_of(std::string_view body, std::string_view envelope);

// What a publish of a message needs. `properties` are wire bytes; the body stays the fields'.
struct Publishing {
  std::string properties;
  std::string_view body;
};

// For the quarantine: persistent, without expiration, priority, CC and user id; the original envelope, execution and number are
// headers, so that the message can be read there and put back whole.
Result<Publishing> for_quarantine(const std::vector<OwnedField>& fields, std::string_view execution_id, std::size_t number);
// Back to its queue: all properties as they were, but x-death (a dead-letter cycle would drop the message), CC and BCC (they would
// deliver copies again) and a user id that is not ours (the broker would refuse it).
Result<Publishing> for_queue(const std::vector<OwnedField>& fields, std::string_view user);
Result<Publishing> for_quarantine(std::vector<OwnedField>&&, std::string_view, std::size_t) = delete;
Result<Publishing> for_queue(std::vector<OwnedField>&&, std::string_view) = delete;

struct InQuarantine {
  std::string execution_id;
  std::size_t number = 0;
  std::vector<OwnedField> fields;
};
// nullopt: not one of ours.
Result<std::optional<InQuarantine>> from_quarantine(const Delivery& delivery);

}  // namespace claw::rabbitmq
