#include "rabbitmq/message.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "rabbitmq/properties.h"

namespace claw::rabbitmq {
namespace {

constexpr std::string_view kEnvelope = "amqp";
constexpr char kEnvelopeVersion = 1;  // also keeps an envelope from looking like JSON
constexpr std::string_view kExecution = "x-deployclaw-execution";
constexpr std::string_view kNumber = "x-deployclaw-number";
constexpr std::string_view kOriginal = "x-deployclaw-envelope";

// x-acquired-count and x-opt-… are 4.x's, known from its documentation only.
bool added_on_delivery(std::string_view name) {
  return name == "x-delivery-count" || name == "x-acquired-count" || name == "x-stream-offset" || name == "x-stream-filter-value";
}

bool not_for_replay(std::string_view name) {
  return name.starts_with("x-death") || name.starts_with("x-first-death") || name.starts_with("x-last-death") || name == "CC" || name == "BCC" || added_on_delivery(name);
}

// Drops headers by name, and the table with the last of them. `kept` holds the bytes and must outlive `properties`.
void drop_headers(Properties& properties, std::string& kept, bool (*drop)(std::string_view)) {
  if (!properties.has(Property::headers)) return;
  kept = wire_table(table_without(properties.headers(), drop));
  if (kept.size() == 4) properties.drop(Property::headers);
  else properties.set(Property::headers, kept);
}

// Times that x-death says a consumer of `queue` had it and did not want it. An expiry or a length limit is no failure.
std::uint32_t failures_at(std::string_view headers, std::string_view queue) {
  std::int64_t count = 0;
  for (TableCursor header(headers); header.next();) {
    if (header.name() != "x-death" || header.type() != 'A') continue;
    for (TableCursor death(header.content(), TableCursor::Kind::array); death.next();) {
      if (death.type() != 'F') continue;
      const std::string_view entry = death.content();
      const auto reason = header_text(entry, "reason");
      if (header_text(entry, "queue") != queue || (reason != "rejected" && reason != "delivery_limit")) continue;
      count += std::clamp<std::int64_t>(header_integer(entry, "count").value_or(1), 1, 1'000'000);
    }
  }
  return static_cast<std::uint32_t>(std::min<std::int64_t>(count, 1'000'000));
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Result<std::pair<std::string_view, Envelope>> parts_of(const std::vector<OwnedField>& fields) {
  if (fields.size() != 2 || !fields[0].name.empty() || fields[1].name != kEnvelope)
    return make_error(Code::corrupt, "message", "expected a body and an AMQP envelope");
  CLAW_TRY_ASSIGN(const Envelope envelope, unpack(fields[1].value));
  return std::pair(std::string_view(fields[0].value), envelope);
}

}  // namespace

std::string pack(const Envelope& envelope) {
  std::string out(1, kEnvelopeVersion);
  out += wire_short(envelope.exchange);
  out += wire_short(envelope.routing_key);
  return out.append(envelope.properties);
}

Result<Envelope> unpack(std::string_view packed) {
  const auto wrong = [] { return make_error(Code::corrupt, "message", "expected an AMQP envelope: version, exchange, routing key, properties"); };
  if (packed.empty() || packed[0] != kEnvelopeVersion) return wrong();
  packed.remove_prefix(1);
  Envelope out;
  for (std::string_view* text : {&out.exchange, &out.routing_key}) {
    if (packed.empty()) return wrong();
    const std::size_t size = static_cast<std::uint8_t>(packed[0]);
    if (size + 1 > packed.size()) return wrong();
    *text = packed.substr(1, size);
    packed.remove_prefix(size + 1);
  }
  out.properties = packed;
  return out;
}

Result<Seen> see(const Delivery& delivery, std::string_view queue) {
  CLAW_TRY_ASSIGN(Properties properties, Properties::parse(delivery.properties));
  Seen out;
  const std::string_view headers = properties.headers();
  if (!headers.empty()) {
    out.delivery_count = static_cast<std::uint32_t>(std::clamp<std::int64_t>(header_integer(headers, "x-delivery-count").value_or(0), 0, 1'000'000));
    out.dead_lettered = failures_at(headers, queue);
    if (const auto offset = header_integer(headers, "x-stream-offset"); offset && *offset >= 0) out.offset = static_cast<std::uint64_t>(*offset);
  }
  out.expires_ms = number(properties.text(Property::expiration));
  std::string kept;
  drop_headers(properties, kept, added_on_delivery);
  out.envelope = pack({delivery.exchange, delivery.routing_key, properties.encode()});
  return out;
}

std::string digest_of(std::string_view body, std::string_view envelope) {
  const Field fields[] = {{"", body}, {kEnvelope, envelope}};
  return content_digest(fields);
}

std::uint64_t short_digest(std::string_view digest) {
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < 8; ++i) first = first << 8 | static_cast<std::uint8_t>(digest[i]);
  return first;
}

std::vector<OwnedField> fields_of(std::string_view body, std::string_view envelope) {
  return {{"", std::string(body)}, {std::string(kEnvelope), std::string(envelope)}};
}

Result<Publishing> for_quarantine(const std::vector<OwnedField>& fields, std::string_view execution_id, std::size_t number) {
  CLAW_TRY_ASSIGN(const auto parts, parts_of(fields));
  CLAW_TRY_ASSIGN(Properties properties, Properties::parse(parts.second.properties));
  std::string headers;
  put_string(headers, kExecution, execution_id);
  put_string(headers, kNumber, std::to_string(number));
  put_string(headers, kOriginal, fields[1].value);
  const std::string table = wire_table(headers);
  properties.set(Property::headers, table);
  properties.set(Property::delivery_mode, "\x02");
  for (const Property p : {Property::expiration, Property::priority, Property::user_id, Property::reply_to}) properties.drop(p);
  return Publishing{properties.encode(), parts.first};
}

Result<Publishing> for_queue(const std::vector<OwnedField>& fields, std::string_view user) {
  CLAW_TRY_ASSIGN(const auto parts, parts_of(fields));
  CLAW_TRY_ASSIGN(Properties properties, Properties::parse(parts.second.properties));
  std::string kept;
  drop_headers(properties, kept, not_for_replay);
  if (properties.text(Property::user_id) != user) properties.drop(Property::user_id);
  return Publishing{properties.encode(), parts.first};
}

Result<std::optional<InQuarantine>> from_quarantine(const Delivery& delivery) {
  CLAW_TRY_ASSIGN(const Properties properties, Properties::parse(delivery.properties));
  const auto execution = header_text(properties.headers(), kExecution);
  const auto original = header_text(properties.headers(), kOriginal);
  const auto n = number(header_text(properties.headers(), kNumber).value_or(""));
  if (!execution || !original || !n || *n < 0) return std::optional<InQuarantine>();
  return std::optional(InQuarantine{std::string(*execution), static_cast<std::size_t>(*n), fields_of(delivery.body, *original)});
}

}  // namespace claw::rabbitmq
