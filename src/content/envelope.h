// Frameworks wrap what their users sent: the wrapping is taken off, and what it says about the message is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "content/visitor.h"
#include "model/message.h"

namespace claw::content {

enum class Framework : std::uint8_t {
  none, celery, sidekiq, bullmq, laravel, masstransit, cloudevents, nservicebus, sns, schema_registry,
};
std::string_view name(Framework framework);

enum class Format : std::uint8_t { unknown, json, msgpack, protobuf, avro, text, bytes };
std::string_view name(Format format);

// What the framework itself says about earlier deliveries. Evidence, and the sender's word: never content.
struct DeliveryFacts {
  std::optional<std::uint32_t> retries;  // failed attempts before this one
  std::string error_class;               // "NoMethodError", "System.FormatException"
  std::string reason;                    // x-death's last: "rejected", "delivery_limit", "expired", "maxlen"
  bool operator==(const DeliveryFacts&) const = default;

  // A consumer refused this message or broke on it. Expiry and overflow are no such thing.
  bool failed() const { return !error_class.empty() || reason == "rejected" || reason == "delivery_limit" || retries.value_or(0) > 0; }
};

struct Envelope {
  Framework framework = Framework::none;
  std::string discriminator;      // type and version of what is inside: "shop.tasks.charge", "OrderPlaced"; bounded
  std::string encoding;           // declared for the inner body: "gzip", "utf-8"
  Format format = Format::unknown;  // as declared by a content type or by the framework; unknown: look at the bytes
  std::optional<std::uint32_t> schema_id = {};  // of a schema registry
  DeliveryFacts facts = {};
  std::string_view body;          // into the message, or into `owned`
  std::string owned;              // after base64, or cut out of an outer document and unescaped
  std::optional<Flaw> flaw = {};  // the framework is certain, and what it promises is not there: bad base64, no body

  Envelope() = default;
  Envelope(Envelope&& other) noexcept { *this = std::move(other); }
  Envelope& operator=(Envelope&& other) noexcept;  // keeps `body` good
};

// The field without a name, or the one called body, data, payload, value or message, or the largest.
std::string_view body_of(std::span<const Field> fields);

// Recognises by headers first, then by the shape of `body`; one layer, and base64 inside it. Without a known wrapping the
// result is the body as it is, with what plain broker headers say: content type and encoding, type, x-death.
Envelope open_envelope(std::span<const Field> fields, std::string_view body);

}  // namespace claw::content
