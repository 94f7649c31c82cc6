#include "content/envelope.h"

#include <algorithm>
#include <array>

#include "base/digest.h"
#include "content/byte_reader.h"
#include "content/document.h"

namespace claw::content {
namespace {

constexpr std::size_t kMaxHeaders = 256;
constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxShape = 16u << 20;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string bounded(std::string_view text) { return std::string(text.substr(0, kMaxName)); }
std::string_view until(std::string_view text, std::string_view marks) { return text.substr(0, text.find_first_of(marks)); }
std::string_view after_last(std::string_view text, char mark) { return text.substr(text.rfind(mark) + 1); }

// Names are compared without case, as AMQP clients and HTTP bridges disagree about it.
class Headers {
 public:
  explicit Headers(std::span<const Field> fields) : fields_(fields.first(std::min(fields.size(), kMaxHeaders))) {}

  std::optional<std::string_view> find(std::string_view name) const {
    for (const Field& field : fields_)
      if (same_name(field.name, name)) return field.value;
    return std::nullopt;
  }
  std::string_view text(std::string_view name) const { return find(name).value_or(std::string_view()); }
  std::optional<std::string_view> first_of(std::initializer_list<std::string_view> names) const {
    for (const std::string_view name : names)
      if (const auto value = find(name)) return value;
    return std::nullopt;
  }

  std::string_view body() const {
    if (const auto value = first_of({"", "body", "data", "payload", "value", "message"})) return *value;
    const auto largest = std::max_element(fields_.begin(), fields_.end(), [](const Field& a, const Field& b) { return a.value.size() < b.value.size(); });
    return largest == fields_.end() ? std::string_view() : largest->value;
  }

 private:
  std::span<const Field> fields_;
};

std::optional<std::uint32_t> small_count(std::string_view digits) {
  if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : digits) value = value * 10 + static_cast<std::uint32_t>(c - '0');
  return value;
}

std::string_view text(Value object, std::string_view key) {
  const auto member = object.find(key);
  return member && member->kind() == Kind::string ? member->text() : std::string_view();
}
std::optional<std::uint32_t> count(Value object, std::string_view key) {
  const auto member = object.find(key);
  return member && member->kind() == Kind::number ? small_count(member->text()) : std::nullopt;
}
bool has(Value object, std::string_view key, Kind kind) {
  const auto member = object.find(key);
  return member && member->kind() == kind;
}

Format format_of(std::string_view content_type) {
  const std::string_view type = until(content_type, "; ");
  const auto is = [&](std::initializer_list<std::string_view> known) {
    return std::any_of(known.begin(), known.end(), [&](std::string_view name) { return same_name(type, name); });
  };
  if (is({"application/json", "text/json", "json"}) || type.ends_with("+json")) return Format::json;
  if (is({"application/x-msgpack", "application/msgpack", "application/vnd.msgpack", "msgpack"})) return Format::msgpack;
  if (is({"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf", "protobuf"})) return Format::protobuf;
  if (is({"application/avro", "avro/binary", "application/vnd.apache.avro", "application/vnd.apache.avro+avro"})) return Format::avro;
  if (type.starts_with("text/")) return Format::text;
  if (is({"application/x-python-serialize", "application/octet-stream", "application/x-java-serialized-object"})) return Format::bytes;
  return Format::unknown;
}

void set_owned(Envelope& out, std::string owned) {
  out.owned = std::move(owned);
  out.body = out.owned;
}

void set_base64(Envelope& out, std::string_view text) {
  auto plain = unbase64(text);
  if (plain.ok()) return set_owned(out, std::move(*plain));
  out.flaw = Flaw{"not base64", 0};
  out.body = text;
}

// A member of the outer document becomes the body: as its bytes when it is a container or bare, unescaped when a string.
void set_member(Envelope& out, std::string_view outer, std::optional<Value> member) {
  if (!member) {
    out.flaw = Flaw{"the envelope holds no body", 0};
    out.body = {};
    return;
  }
  switch (member->kind()) {
    case Kind::object: case Kind::array: out.body = outer.substr(member->at(), member->behind() - member->at()); return;
    case Kind::number: out.body = outer.substr(member->at(), member->text().size()); return;
    case Kind::boolean: out.body = outer.substr(member->at(), member->truth() ? 4 : 5); return;
    case Kind::null: out.body = outer.substr(member->at(), 4); return;
    case Kind::string: case Kind::bytes: return set_owned(out, std::string(member->text()));
  }
}

// Shapes -----------------------------------------------------------------------------------------------------------------

// Kombu's Redis and SQS transports: {"body": base64, "content-type", "headers": {task, id, retries, …}, "properties"}.
bool celery_shape(Envelope& out, Value root, std::string_view) {
  const auto headers = root.find("headers"), properties = root.find("properties");
  if (!has(root, "body", Kind::string) || !headers || !properties || text(*headers, "task").empty()) return false;
  out.framework = Framework::celery;
  out.discriminator = bounded(text(*headers, "task"));
  out.format = format_of(text(root, "content-type"));
  out.encoding = bounded(text(*headers, "compression"));
  out.facts.retries = count(*headers, "retries");
  if (text(*properties, "body_encoding") == "base64") set_base64(out, text(root, "body"));
  else set_owned(out, std::string(text(root, "body")));
  return true;
}

bool sidekiq_shape(Envelope& out, Value root, std::string_view outer) {
  if (!has(root, "class", Kind::string) || !has(root, "args", Kind::array) || !has(root, "jid", Kind::string)) return false;
  out.framework = Framework::sidekiq;
  const std::string_view wrapped = text(root, "wrapped");  // ActiveJob
  out.discriminator = bounded(wrapped.empty() ? text(root, "class") : wrapped);
  out.format = Format::json;
  // retry_count is absent until the first failure and 0 after it.
  if (const auto retried = count(root, "retry_count")) out.facts.retries = *retried + 1;
  out.facts.error_class = bounded(text(root, "error_class"));
  set_member(out, outer, root.find("args"));
  return true;
}

bool laravel_shape(Envelope& out, Value root, std::string_view outer) {
  if (!has(root, "displayName", Kind::string) || !has(root, "job", Kind::string) || !has(root, "data", Kind::object)) return false;
  out.framework = Framework::laravel;
  out.discriminator = bounded(text(root, "displayName"));
  out.format = Format::json;
  out.facts.retries = count(root, "attempts");
  set_member(out, outer, root.find("data"));
  return true;
}

bool masstransit_shape(Envelope& out, Value root, std::string_view outer) {
  const auto types = root.find("messageType");
  if (!types || types->kind() != Kind::array || types->size() == 0 || !has(root, "messageId", Kind::string) || !root.find("message")) return false;
  const Value type = *types->begin();
  if (type.kind() != Kind::string || !type.text().starts_with("urn:message:")) return false;
  out.framework = Framework::masstransit;
  out.discriminator = bounded(type.text().substr(std::string_view("urn:message:").size()));
  out.format = Format::json;
  if (const auto headers = root.find("headers")) out.facts.error_class = bounded(text(*headers, "MT-Fault-ExceptionType"));
  set_member(out, outer, root.find("message"));
  return true;
}

bool cloudevents_shape(Envelope& out, Value root, std::string_view outer) {
  if (!has(root, "specversion", Kind::string) || !has(root, "type", Kind::string) || !has(root, "source", Kind::string) || !has(root, "id", Kind::string)) return false;
  out.framework = Framework::cloudevents;
  out.discriminator = bounded(text(root, "type"));
  if (const std::string_view schema = text(root, "dataschema"); !schema.empty()) out.discriminator = bounded(out.discriminator + " " + std::string(schema));
  out.format = format_of(text(root, "datacontenttype"));
  const auto data = root.find("data");
  if (has(root, "data_base64", Kind::string)) set_base64(out, text(root, "data_base64"));
  else if (data) {
    if (data->kind() != Kind::string) out.format = Format::json;
    set_member(out, outer, data);
  } else {
    out.body = {};  // an event may carry no data
  }
  return true;
}

bool sns_shape(Envelope& out, Value root, std::string_view) {
  if (text(root, "Type") != "Notification" || !has(root, "TopicArn", Kind::string) || !has(root, "Message", Kind::string)) return false;
  out.framework = Framework::sns;
  out.discriminator = bounded(after_last(text(root, "TopicArn"), ':'));
  set_owned(out, std::string(text(root, "Message")));
  return true;
}

struct Shape {
  std::string_view mark;  // in the bytes of every such body: most bodies have none and need no tree
  bool (*open)(Envelope&, Value, std::string_view);
};
constexpr std::array kShapes = {
    Shape{"\"body_encoding\"", celery_shape},  Shape{"\"jid\"", sidekiq_shape},           Shape{"\"displayName\"", laravel_shape},
    Shape{"\"messageType\"", masstransit_shape}, Shape{"\"specversion\"", cloudevents_shape}, Shape{"\"TopicArn\"", sns_shape},
};

bool open_by_shape(Envelope& out, std::string_view body) {
  const std::size_t start = body.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || body[start] != '{' || body.size() > kMaxShape) return false;
  Document document;
  for (const Shape& shape : kShapes) {
    if (body.find(shape.mark) == std::string_view::npos) continue;
    if (!document.complete() && read_json(body, document)) return false;
    if (shape.open(out, document.root(), body)) return true;
  }
  return false;
}

// Headers ----------------------------------------------------------------------------------------------------------------

bool open_bullmq(Envelope& out, const Headers& headers) {
  if (!headers.find("data") || !headers.find("opts") || !headers.find("name") || !headers.find("timestamp")) return false;
  out.framework = Framework::bullmq;
  out.discriminator = bounded(headers.text("name"));
  out.format = Format::json;
  out.body = headers.text("data");
  if (!headers.find("failedReason")) return true;
  if (const auto attempts = headers.first_of({"atm", "attemptsMade"})) out.facts.retries = small_count(*attempts);
  Document traces;
  out.facts.error_class = "Error";
  if (!read_json(headers.text("stacktrace"), traces) && traces.root().kind() == Kind::array && traces.root().size() > 0)
    if (const Value first = *traces.root().begin(); first.kind() == Kind::string) out.facts.error_class = bounded(until(first.text(), ":\n"));
  return true;
}

bool open_by_headers(Envelope& out, const Headers& headers) {
  if (headers.find("task") && headers.find("id") && (headers.find("argsrepr") || headers.find("lang"))) {
    out.framework = Framework::celery;
    out.discriminator = bounded(headers.text("task"));
    out.facts.retries = small_count(headers.text("retries"));
    out.encoding = bounded(headers.text("compression"));
    return true;
  }
  if (const auto types = headers.find("NServiceBus.EnclosedMessageTypes")) {
    out.framework = Framework::nservicebus;
    out.discriminator = bounded(until(*types, ",;"));
    if (const auto type = headers.find("NServiceBus.ContentType")) out.format = format_of(*type);
    if (const auto retries = headers.first_of({"NServiceBus.Retries", "NServiceBus.FLRetries"})) out.facts.retries = small_count(*retries);
    return true;
  }
  if (const auto type = headers.first_of({"ce-type", "ce_type", "cloudEvents:type", "cloudEvents_type"});
      type && headers.first_of({"ce-specversion", "ce_specversion", "cloudEvents:specversion", "cloudEvents_specversion"})) {
    out.framework = Framework::cloudevents;
    out.discriminator = bounded(*type);
    return true;
  }
  return open_bullmq(out, headers);
}

// What brokers and client libraries note about a failure, whatever the framework.
void read_delivery_facts(DeliveryFacts& facts, const Headers& headers) {
  if (facts.error_class.empty())
    if (const auto type = headers.first_of({"NServiceBus.ExceptionInfo.ExceptionType", "MT-Fault-ExceptionType", "kafka_dlt-exception-fqcn", "x-exception-type"}))
      facts.error_class = bounded(*type);
  if (facts.error_class.empty())
    if (const auto trace = headers.find("x-exception-stacktrace")) facts.error_class = bounded(until(*trace, ":\r\n"));
  if (const auto reason = headers.first_of({"x-last-death-reason", "x-first-death-reason"})) facts.reason = bounded(*reason);
  Document deaths;  // x-death as JSON, the latest first
  if (const auto death = headers.find("x-death"); death && !read_json(*death, deaths) && deaths.root().kind() == Kind::array && deaths.root().size() > 0)
    if (const std::string_view reason = text(*deaths.root().begin(), "reason"); !reason.empty()) facts.reason = bounded(reason);
}

// Confluent's wire format: a zero, the schema's id, the datum.
bool open_schema_registry(Envelope& out) {
  constexpr std::uint64_t kLargestId = 1u << 24;
  ByteReader in(out.body);
  if (in.byte() != 0) return false;
  const auto id = in.big_endian(4);
  if (!id || *id == 0 || *id > kLargestId || in.done()) return false;
  out.framework = Framework::schema_registry;
  out.schema_id = static_cast<std::uint32_t>(*id);
  out.discriminator = "schema " + std::to_string(*id);
  out.body.remove_prefix(in.at());
  return true;
}

}  // namespace

Envelope& Envelope::operator=(Envelope&& other) noexcept {
  const bool owns = !other.owned.empty() && other.body.data() == other.owned.data();
  framework = other.framework;
  discriminator = std::move(other.discriminator);
  encoding = std::move(other.encoding);
  format = other.format;
  schema_id = other.schema_id;
  facts = std::move(other.facts);
  owned = std::move(other.owned);
  body = owns ? std::string_view(owned) : other.body;
  flaw = other.flaw;
  return *this;
}

std::string_view body_of(std::span<const Field> fields) { return Headers(fields).body(); }

Envelope open_envelope(std::span<const Field> fields, std::string_view body) {
  const Headers headers(fields);
  Envelope out;
  out.body = body;
  out.format = format_of(headers.first_of({"content-type", "content_type"}).value_or(std::string_view()));
  out.encoding = bounded(headers.first_of({"content-encoding", "content_encoding"}).value_or(std::string_view()));
  if (!open_by_headers(out, headers) && !open_by_shape(out, out.body) && !open_schema_registry(out))
    out.discriminator = bounded(headers.first_of({"type", "message-type", "messageType", "event-type"}).value_or(std::string_view()));
  read_delivery_facts(out.facts, headers);
  return out;
}

std::string_view name(Framework framework) {
  switch (framework) {
    case Framework::none: return "";
    case Framework::celery: return "Celery";
    case Framework::sidekiq: return "Sidekiq";
    case Framework::bullmq: return "BullMQ";
    case Framework::laravel: return "Laravel";
    case Framework::masstransit: return "MassTransit";
    case Framework::cloudevents: return "CloudEvents";
    case Framework::nservicebus: return "NServiceBus";
    case Framework::sns: return "SNS";
    case Framework::schema_registry: return "schema registry";
  }
  return {};
}

std::string_view name(Format format) {
  switch (format) {
    case Format::unknown: return "unknown";
    case Format::json: return "JSON";
    case Format::msgpack: return "MessagePack";
    case Format::protobuf: return "Protobuf";
    case Format::avro: return "Avro";
    case Format::text: return "text";
    case Format::bytes: return "bytes";
  }
  return {};
}

}  // namespace claw::content
