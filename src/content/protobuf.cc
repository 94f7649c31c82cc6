#include "content/protobuf.h"

#include <fmt/format.h>

#include <algorithm>

#include "content/byte_reader.h"
#include "content/utf8.h"

namespace claw::content {
namespace {

enum Wire : unsigned { kVarint = 0, kFixed64 = 1, kDelimited = 2, kBeginGroup = 3, kEndGroup = 4, kFixed32 = 5 };

constexpr std::uint64_t kMaxFieldNumber = (1u << 29) - 1;

struct Field {
  std::uint64_t number = 0;
  unsigned wire = 0;
  std::uint64_t value = 0;      // varint and fixed
  std::string_view delimited;
  std::size_t at = 0;           // of the tag
  std::size_t inside = 0;       // of the delimited bytes
};

std::optional<Field> next_field(ByteReader& in) {
  Field field{.at = in.at()};
  const auto tag = in.varint();
  if (!tag) return std::nullopt;
  field.number = *tag >> 3;
  field.wire = *tag & 7;
  if (field.number == 0 || field.number > kMaxFieldNumber) return std::nullopt;
  std::optional<std::uint64_t> value = 0;
  switch (field.wire) {
    case kVarint: value = in.varint(); break;
    case kFixed64: value = in.little_endian(8); break;
    case kFixed32: value = in.little_endian(4); break;
    case kBeginGroup: case kEndGroup: break;
    case kDelimited: {
      const auto size = in.varint();
      field.inside = in.at();
      const auto piece = size ? in.take(*size) : std::nullopt;
      if (!piece) return std::nullopt;
      field.delimited = *piece;
      break;
    }
    default: return std::nullopt;
  }
  if (!value) return std::nullopt;
  field.value = *value;
  return field;
}

// One level only; groups are held to be noise outside a message that is known to be one.
bool is_message(std::string_view body) {
  ByteReader in(body);
  while (!in.done()) {
    const auto field = next_field(in);
    if (!field || field->wire == kBeginGroup || field->wire == kEndGroup) return false;
  }
  return !body.empty();
}

bool is_printable(std::string_view text) {
  return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           const auto u = static_cast<unsigned char>(c);
           return (u < 0x20 && u != '\t' && u != '\n' && u != '\r') || u == 0x7f;
         });
}

// `depth` counts the open messages, so that recursion ends before the emitter's limit says so.
class Reader {
 public:
  explicit Reader(Emitter& out) : out_(out) {}

  bool message(std::string_view body, std::size_t base, unsigned depth) {
    if (!out_.begin_object(base)) return false;
    ByteReader in(body);
    unsigned groups = 0;
    while (!in.done()) {
      const std::size_t at = base + in.at();
      const auto field = next_field(in);
      if (!field) return fail("no field starts here", at);
      if (field->wire == kEndGroup) {
        if (groups-- == 0) return fail("end of a group that did not begin", at);
        if (!out_.end_object(at)) return false;
        continue;
      }
      if (!out_.key(fmt::format_int(field->number).str(), at)) return false;
      if (field->wire == kBeginGroup) {
        ++groups;
        if (!out_.begin_object(at)) return false;
      } else if (!value(*field, base, depth + groups)) {
        return false;
      }
    }
    if (groups > 0) return fail("group not closed", base + in.at());
    return out_.end_object(base + in.at());
  }

  Decoding flaw() const { return flaw_ ? flaw_ : out_.flaw(); }

 private:
  bool fail(std::string_view what, std::size_t at) {
    flaw_ = Flaw{what, at};
    return false;
  }

  bool value(const Field& field, std::size_t base, unsigned depth) {
    if (field.wire != kDelimited) return out_.number(fmt::format_int(field.value).str(), base + field.at);
    if (is_printable(field.delimited)) return out_.string(field.delimited, base + field.inside);
    if (depth + 1 < kMaxDepth && is_message(field.delimited)) return message(field.delimited, base + field.inside, depth + 1);
    return out_.bytes(field.delimited, base + field.inside);
  }

  Emitter& out_;
  Decoding flaw_;
};

}  // namespace

Decoding read_protobuf(std::string_view body, Emitter& out) {
  Reader reader(out);
  return reader.message(body, 0, 0) ? std::nullopt : reader.flaw();
}

bool looks_like_protobuf(std::string_view body) {
  // Of random bodies of this size well under one in a thousand gets past both conditions (tested).
  constexpr std::size_t kFewestBytes = 10;
  constexpr std::uint64_t kLargestNumber = 256;
  if (body.size() < kFewestBytes || !is_message(body)) return false;
  ByteReader in(body);
  std::size_t fields = 0;
  while (!in.done()) {
    const auto field = next_field(in);
    if (field->number > kLargestNumber) return false;
    ++fields;
  }
  return fields >= 2;
}

}  // namespace claw::content
