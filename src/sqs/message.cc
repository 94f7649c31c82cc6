#include "sqs/message.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::string_view kAttribute = "attr:";
constexpr std::string_view kSystem = "sys:";
// What stays the same from one receive to the next.
constexpr std::string_view kLasting[] = {"AWSTraceHeader", "MessageDeduplicationId", "MessageGroupId", "SenderId", "SentTimestamp", "SequenceNumber"};

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

template <class T>
T number_of(const std::string& text, T otherwise) {
  T value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "attr:NAME:TYPE"; a name has no colon.
struct AttributeName {
  std::string_view name;
  std::string_view type;
  bool binary() const { return type.starts_with("Binary"); }
};
std::optional<AttributeName> attribute_name(std::string_view field) {
  if (!field.starts_with(kAttribute)) return std::nullopt;
  field.remove_prefix(kAttribute.size());
  const std::size_t colon = field.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return AttributeName{field.substr(0, colon), field.substr(colon + 1)};
}

std::string system_value(std::span<const OwnedField> fields, std::string_view name) {
  for (const OwnedField& field : fields)
    if (field.name.starts_with(kSystem) && std::string_view(field.name).substr(kSystem.size()) == name) return field.value;
  return {};
}

Result<void> add_attributes(const json& message, Received& out) {
  const auto attributes = message.find("MessageAttributes");
  if (attributes == message.end() || !attributes->is_object()) return {};
  for (const auto& [name, value] : attributes->items()) {  // nlohmann keeps keys in order
    if (!value.is_object()) return make_error(Code::corrupt, "message " + out.id, "an attribute that is not an object");
    const std::string type = text_of(value, "DataType");
    std::string bytes = text_of(value, "StringValue");
    if (type.starts_with("Binary")) {
      CLAW_TRY_ASSIGN(bytes, unbase64(text_of(value, "BinaryValue")));
    }
    out.fields.push_back({fmt::format("{}{}:{}", kAttribute, name, type), std::move(bytes)});
  }
  return {};
}

Result<Received> received_of(const json& message) {
  Received out;
  out.id = text_of(message, "MessageId");
  out.receipt = text_of(message, "ReceiptHandle");
  CLAW_TRY_ASSIGN(out.key, uuid_key(out.id));
  if (out.receipt.empty()) return make_error(Code::corrupt, "message " + out.id, "came without a receipt handle");
  out.fields.push_back({"", text_of(message, "Body")});
  if (md5(out.fields.front().value) != text_of(message, "MD5OfBody")) return make_error(Code::corrupt, "message " + out.id, "MD5OfBody does not fit the body: damaged on the way");
  CLAW_TRY(add_attributes(message, out));
  const std::string told = text_of(message, "MD5OfMessageAttributes");
  if (out.fields.size() > 1 && !told.empty() && told != md5_of_attributes(out.fields))
    return make_error(Code::corrupt, "message " + out.id, "MD5OfMessageAttributes does not fit the attributes: damaged on the way");
  if (const auto system = message.find("Attributes"); system != message.end() && system->is_object()) {
    for (const std::string_view name : kLasting)
      if (std::string value = text_of(*system, std::string(name).c_str()); !value.empty()) out.fields.push_back({std::string(kSystem) + std::string(name), std::move(value)});
    out.receives = number_of<std::uint32_t>(text_of(*system, "ApproximateReceiveCount"), 1);
    out.sent = WallTime(Millis(number_of<std::int64_t>(text_of(*system, "SentTimestamp"), 0)));
  }
  return out;
}

json attribute_json(const AttributeName& name, const std::string& value) {
  return name.binary() ? json{{"DataType", name.type}, {"BinaryValue", base64(value)}} : json{{"DataType", name.type}, {"StringValue", value}};
}

std::string dumped(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// An entry of body and attributes among `fields`, which are in order of their names.
Outgoing entry_of(std::span<const OwnedField> fields, json entry) {
  Outgoing out;
  json attributes = json::object();
  for (const OwnedField& field : fields) {
    if (field.name.empty()) {
      entry["MessageBody"] = field.value;
      out.body_md5 = md5(field.value);
      out.bytes += field.value.size();
    } else if (const auto name = attribute_name(field.name)) {
      attributes[std::string(name->name)] = attribute_json(*name, field.value);
      out.bytes += name->name.size() + name->type.size() + field.value.size();
    }
  }
  if (!attributes.empty()) {
    entry["MessageAttributes"] = std::move(attributes);
    out.attributes_md5 = md5_of_attributes(fields);
  }
  out.entry = dumped(entry);
  return out;
}

}  // namespace

std::string md5(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  CLAW_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr) == 1);
  return hex(std::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

// Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
std::string md5_of_attributes(std::span<const OwnedField> fields) {
  std::vector<std::pair<AttributeName, std::string_view>> sorted;
  for (const OwnedField& field : fields)
    if (const auto name = attribute_name(field.name)) sorted.emplace_back(*name, field.value);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first.name < b.first.name; });
  std::string text;
  const auto piece = [&text](std::string_view bytes) {
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(bytes.size() >> shift & 0xff);
    text += bytes;
  };
  for (const auto& [name, value] : sorted) {
    piece(name.name);
    piece(name.type);
    text += name.binary() ? '\2' : '\1';
    piece(value);
  }
  return md5(text);
}

Result<std::vector<Received>> parse_received(std::string_view answer) {
  std::vector<Received> out;
  if (answer.empty()) return out;
  const json value = json::parse(answer, nullptr, false);
  if (!value.is_object()) return make_error(Code::corrupt, "ReceiveMessage", "the answer is not a JSON object: " + escape(answer, 80));
  const auto messages = value.find("Messages");
  if (messages == value.end() || !messages->is_array()) return out;
  for (const json& message : *messages) {
    if (!message.is_object()) return make_error(Code::corrupt, "ReceiveMessage", "a message that is not an object");
    CLAW_TRY_ASSIGN(Received one, received_of(message));
    out.push_back(std::move(one));
  }
  return out;
}

std::uint64_t digest_of(const std::vector<OwnedField>& fields) { return short_digest(views_of(fields)); }

Outgoing to_quarantine(const Message& message, const std::string& execution_id, std::size_t number, bool fifo) {
  json mark = {{"v", 1}, {"exec", execution_id}, {"n", number}, {"id", message.id}};
  std::vector<OwnedField> fields;
  std::size_t attributes = 0;
  for (const OwnedField& field : message.fields) attributes += attribute_name(field.name) ? 1 : 0;
  for (const OwnedField& field : message.fields) {
    const auto name = attribute_name(field.name);
    if (field.name.starts_with(kSystem)) mark["sys"][field.name.substr(kSystem.size())] = field.value;
    else if (name && attributes >= kMostAttributes && --attributes == kMostAttributes - 1) {
      // The first one met makes room for the mark.
      mark["packed"] = {{"name", name->name}, {"type", name->type}, {"hex", hex(field.value)}};
    } else {
      fields.push_back(field);
    }
  }
  fields.push_back({fmt::format("{}{}:String", kAttribute, kMark), dumped(mark)});
  json entry = json::object();
  if (fifo) {
    const std::string token = hex(sha256(fmt::format("quarantine {} {} {}", execution_id, number, message.id)));
    entry = {{"MessageGroupId", token}, {"MessageDeduplicationId", token}};
  }
  return entry_of(fields, std::move(entry));
}

Result<std::optional<Origin>> from_quarantine(Received copy) {
  const std::string wanted = fmt::format("{}{}:String", kAttribute, kMark);
  const auto marked = std::find_if(copy.fields.begin(), copy.fields.end(), [&](const OwnedField& f) { return f.name == wanted; });
  if (marked == copy.fields.end()) return std::optional<Origin>();
  const json mark = json::parse(marked->value, nullptr, false);
  if (!mark.is_object() || mark.value("v", 0) != 1 || !mark.contains("n") || !mark["n"].is_number_unsigned())
    return make_error(Code::corrupt, "quarantined message " + copy.id, "its mark is not one of ours: " + escape(marked->value, 80));
  Origin origin{.execution_id = text_of(mark, "exec"), .number = mark["n"].get<std::size_t>(), .message = {}};
  Received& was = origin.message;
  was.receipt = copy.receipt;
  was.receives = copy.receives;
  was.id = text_of(mark, "id");
  CLAW_TRY_ASSIGN(was.key, uuid_key(was.id));
  for (OwnedField& field : copy.fields)
    if (!field.name.starts_with(kSystem) && field.name != wanted) was.fields.push_back(std::move(field));
  if (const auto packed = mark.find("packed"); packed != mark.end() && packed->is_object()) {
    CLAW_TRY_ASSIGN(std::string bytes, unhex(text_of(*packed, "hex")));
    was.fields.push_back({fmt::format("{}{}:{}", kAttribute, text_of(*packed, "name"), text_of(*packed, "type")), std::move(bytes)});
    std::sort(was.fields.begin() + 1, was.fields.end(), [](const OwnedField& a, const OwnedField& b) { return attribute_name(a.name)->name < attribute_name(b.name)->name; });
  }
  if (const auto system = mark.find("sys"); system != mark.end() && system->is_object())
    for (const auto& [name, value] : system->items())
      if (value.is_string()) was.fields.push_back({std::string(kSystem) + name, value.get<std::string>()});
  return std::optional<Origin>(std::move(origin));
}

Outgoing to_source(std::span<const OwnedField> fields, bool fifo, const std::string& token) {
  json entry = json::object();
  if (const std::string group = system_value(fields, "MessageGroupId"); !group.empty()) entry["MessageGroupId"] = group;
  if (fifo) entry["MessageDeduplicationId"] = token;
  if (const std::string trace = system_value(fields, "AWSTraceHeader"); !trace.empty())
    entry["MessageSystemAttributes"]["AWSTraceHeader"] = {{"DataType", "String"}, {"StringValue", trace}};
  return entry_of(fields, std::move(entry));
}

void fill(Batch& page, std::span<const Received> messages, std::uint32_t (*attempts_of)(const Received&, const void*), const void* context) {
  std::size_t bytes = Batch::kPadding;
  for (const Received& message : messages)
    for (const OwnedField& field : message.fields) bytes += field.name.size() + field.value.size();
  RawBytes buffer = page.recycle();
  page.clear();
  buffer.resize(bytes);
  char* at = buffer.data();
  const auto put = [&at](const std::string& text) {
    char* const start = at;
    at = std::copy(text.begin(), text.end(), at);
    return std::string_view(start, text.size());
  };
  std::vector<Field> fields;
  for (const Received& message : messages) {
    fields.clear();
    for (const OwnedField& field : message.fields) {
      const std::string_view name = put(field.name);
      fields.push_back({name, put(field.value)});
    }
    const std::uint32_t attempts = attempts_of(message, context);
    const bool delivered = attempts > 0;
    page.add(message.key, fields,
             {.passed = 0, .pending = static_cast<std::uint16_t>(delivered), .waiting = static_cast<std::uint16_t>(!delivered), .attempts = attempts, .idle_ms = 0});
  }
  page.adopt(std::move(buffer));
}

}  // namespace claw::sqs
