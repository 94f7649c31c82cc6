// Queues whose messages are wrapped: compressed, in base64, in a framework's envelope, in a binary format. What is inside is
// what tells poison from others, so it is laid open first, as JSON.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "content/decode.h"
#include "content/features.h"
#include "model/message.h"

namespace claw::detect {

// What of a message is to be looked at.
struct Opened {
  std::vector<Field> fields;                      // the message's, with what is inside in place of its body
  std::optional<content::Defect> defect = {};     // it could not be opened to the end; `fields` then say nothing
  content::DeliveryFacts facts = {};              // what the wrapping says about earlier deliveries
};

// One thread; copies go on alone. Opening is slower than reading: only queues that need it pay.
class Opener {
 public:
  Opener() = default;
  explicit Opener(std::shared_ptr<const content::AvroSchema> avro) : avro_(std::move(avro)) {}

  // One of the first messages of a queue. Any number of calls, before the first open().
  void learn(std::span<const Field> fields);
  // At least one in twenty of these was wrapped, or says that it failed before.
  bool needed() const { return wrapped_ > 0 && wrapped_ * 20 >= seen_; }

  // Good until the next call and as long as `fields` are. Behind every value are Batch::kPadding readable bytes.
  const Opened& open(std::span<const Field> fields);

 private:
  // What cannot be read is taken for a broken one of the binary format that most are in: nothing else would tell it from any bytes.
  void find_broken(content::Decoded& decoded) const;

  std::shared_ptr<const content::AvroSchema> avro_;  // the tenant's; null: there is none
  std::uint64_t seen_ = 0, wrapped_ = 0, messagepack_ = 0, avro_seen_ = 0;

  std::string json_;  // of a body in a binary format
  std::string body_;  // what is inside
  std::string type_;
  Opened opened_;
};

}  // namespace claw::detect
