// One SQS message as our fields, and back.
//
// Fields, in this order: {"", body}; {"attr:NAME:TYPE", value} by name (a Binary value as its bytes);
// {"sys:NAME", value} of the system attributes that do not change from one receive to the next.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/message.h"

namespace claw::sqs {

inline constexpr std::size_t kMostAttributes = 10;
inline constexpr std::size_t kBatchEntries = 10;
inline constexpr std::size_t kBatchBytes = 1u << 20;
// The one attribute that we add to a message in quarantine.
inline constexpr std::string_view kMark = "deployclaw";

struct Received {
  std::string id;       // a UUID
  MessageKey key;       // the same, packed
  std::string receipt;  // good until the visibility timeout ends or it is received again
  std::uint32_t receives = 1;  // ApproximateReceiveCount, ours included
  WallTime sent{};
  std::vector<OwnedField> fields;
};

// The messages of a ReceiveMessage answer. Code::corrupt when an MD5 does not fit the bytes, or when an id is not a UUID.
Result<std::vector<Received>> parse_received(std::string_view answer);
std::uint64_t digest_of(const std::vector<OwnedField>& fields);

// Body and attributes as SendMessageBatch wants them, without Id; and the MD5s that the answer must carry.
struct Outgoing {
  std::string entry;          // JSON object
  std::size_t bytes = 0;      // as SQS counts: body, and names, types and values of attributes
  std::string body_md5;
  std::string attributes_md5; // empty without attributes
};

// Where a message in quarantine came from.
struct Origin {
  std::string execution_id;
  std::size_t number = 0;
  Received message;  // as it was; receipt and receives are the quarantine copy's
};

// The copy for a quarantine queue: body and attributes as they were, with the mark beside them. Of ten attributes the first
// travels within the mark. `fifo`: each copy is a group of its own, so that one never hides another.
Outgoing to_quarantine(const Message& message, const std::string& execution_id, std::size_t number, bool fifo);
// The origin that the mark of a quarantined message tells; nullopt when it has no mark of ours.
Result<std::optional<Origin>> from_quarantine(Received copy);
// The message as it was sent at first. `fifo`: to its group, with a deduplication id of `token`.
Outgoing to_source(std::span<const OwnedField> fields, bool fifo, const std::string& token);

// The MD5s that SQS computes.
std::string md5(std::string_view bytes);
std::string md5_of_attributes(std::span<const OwnedField> fields);

// Pages for detection. `attempts_of`: deliveries to others so far.
void fill(Batch& page, std::span<const Received> messages, std::uint32_t (*attempts_of)(const Received&, const void*), const void* context);

}  // namespace claw::sqs
