#include "rabbitmq/properties.h"

#include <fmt/format.h>

namespace claw::rabbitmq {
namespace {

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<std::uint8_t>(c);
  return value;
}

// Bytes of a value of this type without what its own length prefix counts; nullopt: no such type.
std::optional<std::size_t> fixed_size(char type) {
  switch (type) {
    case 'V': return 0;
    case 't': case 'b': case 'B': return 1;
    case 's': case 'u': case 'U': return 2;
    case 'I': case 'i': case 'f': return 4;
    case 'D': return 5;
    case 'l': case 'L': case 'd': case 'T': return 8;
    case 'S': case 'x': case 'A': case 'F': return 4;
    default: return std::nullopt;
  }
}

bool has_length(char type) { return type == 'S' || type == 'x' || type == 'A' || type == 'F'; }

bool well_formed(std::string_view table) {
  TableCursor cursor(table);
  while (cursor.next()) {
  }
  return cursor.ok();
}

// The wire bytes of `property` at the front of `rest`; nullopt when they are cut off.
std::optional<std::string_view> take(Property property, std::string_view rest) {
  std::size_t size = 0;
  switch (property) {
    case Property::delivery_mode:
    case Property::priority: size = 1; break;
    case Property::timestamp: size = 8; break;
    case Property::headers:
      if (rest.size() < 4) return std::nullopt;
      size = 4 + big_endian(rest.substr(0, 4));
      break;
    case Property::content_type: case Property::content_encoding: case Property::correlation_id: case Property::reply_to: case Property::expiration:
    case Property::message_id: case Property::type: case Property::user_id: case Property::app_id: case Property::cluster_id:
      if (rest.empty()) return std::nullopt;
      size = 1 + static_cast<std::uint8_t>(rest[0]);
      break;
  }
  if (size > rest.size()) return std::nullopt;
  return rest.substr(0, size);
}

}  // namespace

Result<Properties> Properties::parse(std::string_view raw) {
  const auto wrong = [&](std::size_t at, std::string_view what) { return make_error(Code::corrupt, "message properties", fmt::format("byte {}: {}", at, what)); };
  if (raw.size() < 2) return wrong(raw.size(), "expected two bytes of flags");
  const auto flags = static_cast<unsigned>(big_endian(raw.substr(0, 2)));
  if ((flags & 3) != 0) return wrong(0, "flags that this protocol does not have");
  Properties out;
  std::size_t at = 2;
  for (std::size_t i = 0; i < kProperties; ++i) {
    if ((flags >> (15 - i) & 1) == 0) continue;
    const auto value = take(static_cast<Property>(i), raw.substr(at));
    if (!value) return wrong(at, "a property is cut off");
    out.values_[i] = *value;
    at += value->size();
  }
  if (at != raw.size()) return wrong(at, "bytes after the last property");
  if (!well_formed(out.headers())) return wrong(2, "headers are not a table");
  return out;
}

std::string Properties::encode() const {
  unsigned flags = 0;
  std::size_t size = 2;
  for (std::size_t i = 0; i < kProperties; ++i) {
    if (!values_[i]) continue;
    flags |= 1u << (15 - i);
    size += values_[i]->size();
  }
  std::string out;
  out.reserve(size);
  out += static_cast<char>(flags >> 8);
  out += static_cast<char>(flags & 0xff);
  for (const auto& value : values_)
    if (value) out += *value;
  return out;
}

std::string_view Properties::text(Property p) const {
  const auto& value = values_[static_cast<std::size_t>(p)];
  return value ? value->substr(1) : std::string_view();
}

std::string_view Properties::headers() const {
  const auto& value = values_[static_cast<std::size_t>(Property::headers)];
  return value ? value->substr(4) : std::string_view();
}

bool TableCursor::next() {
  if (rest_.empty() || !ok_) return false;
  ok_ = false;
  std::size_t at = 0;
  if (kind_ == Kind::table) {
    at = 1 + static_cast<std::uint8_t>(rest_[0]);
    if (at >= rest_.size()) return false;
    name_ = rest_.substr(1, at - 1);
  }
  type_ = rest_[at++];
  const auto fixed = fixed_size(type_);
  if (!fixed || *fixed > rest_.size() - at) return false;
  std::size_t size = *fixed;
  if (has_length(type_)) {
    const std::uint64_t length = big_endian(rest_.substr(at, 4));
    if (length > rest_.size() - at - 4) return false;
    content_ = rest_.substr(at + 4, length);
    size += length;
  } else {
    content_ = rest_.substr(at, size);
  }
  entry_ = rest_.substr(0, at + size);
  rest_.remove_prefix(at + size);
  return ok_ = true;
}

std::optional<std::int64_t> TableCursor::integer() const {
  const std::uint64_t value = big_endian(content_);
  switch (type_) {
    case 'b': return static_cast<std::int8_t>(value);
    case 's': case 'U': return static_cast<std::int16_t>(value);
    case 'I': return static_cast<std::int32_t>(value);
    case 'B': case 't': case 'u': case 'i': case 'l': case 'L': case 'T': return static_cast<std::int64_t>(value);
    default: return std::nullopt;
  }
}

std::string table_without(std::string_view table, const std::function<bool(std::string_view)>& drop) {
  std::string out;
  for (TableCursor cursor(table); cursor.next();)
    if (!drop(cursor.name())) out += cursor.entry();
  return out;
}

void put_string(std::string& table, std::string_view name, std::string_view text) {
  CLAW_CHECK(name.size() < 256 && text.size() <= UINT32_MAX);
  table += static_cast<char>(name.size());
  table += name;
  table += 'S';
  for (int shift = 24; shift >= 0; shift -= 8) table += static_cast<char>(text.size() >> shift);
  table += text;
}

std::optional<std::string_view> header_text(std::string_view table, std::string_view name) {
  for (TableCursor cursor(table); cursor.next();)
    if (cursor.name() == name && (cursor.type() == 'S' || cursor.type() == 'x')) return cursor.content();
  return std::nullopt;
}

std::optional<std::int64_t> header_integer(std::string_view table, std::string_view name) {
  for (TableCursor cursor(table); cursor.next();)
    if (cursor.name() == name) return cursor.integer();
  return std::nullopt;
}

std::string wire_table(std::string_view content) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(content.size() >> shift);
  return out.append(content);
}

std::string wire_short(std::string_view text) {
  CLAW_CHECK(text.size() < 256);
  return std::string(1, static_cast<char>(text.size())).append(text);
}

}  // namespace claw::rabbitmq
