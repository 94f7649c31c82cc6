#include "model/message.h"

#include <fmt/format.h>

#include "base/digest.h"
#include "base/text.h"

namespace claw {
namespace {

constexpr std::uint64_t kStandardVariant = 1ull << 63;  // the two highest bits of a UUID's second half are 10

}  // namespace

Result<MessageKey> uuid_key(std::string_view uuid) {
  const Error wrong = make_error(Code::corrupt, "message id", "'" + escape(uuid, 60) + "', expected a UUID like 01234567-89ab-4cde-8f01-23456789abcd");
  if (uuid.size() != 36) return wrong;
  std::uint64_t halves[2] = {};
  int digits = 0;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    const char c = uuid[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return wrong;
      continue;
    }
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return wrong;
    std::uint64_t& half = halves[digits++ / 16];
    half = half << 4 | static_cast<std::uint64_t>(letter ? c - 'a' + 10 : c - '0');
  }
  if (halves[1] >> 62 != 2) return wrong;
  return MessageKey{halves[1] ^ kStandardVariant, halves[0]};
}

std::string uuid_text(MessageKey key) {
  const std::uint64_t first = key.low, second = key.high | kStandardVariant;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", first >> 32, first >> 16 & 0xffff, first & 0xffff, second >> 48, second & 0xffff'ffff'ffff);
}

std::uint64_t Batch::bytes() const {
  std::uint64_t total = 0;
  for (const Field& field : fields_) total += field.value.size();
  return total;
}

void Batch::clear() {
  entries_.clear();
  fields_.clear();
  buffers_.clear();
}

void Batch::add(MessageKey key, std::span<const Field> fields, const Evidence& evidence) {
  entries_.push_back({.key = key,
                      .first_field = static_cast<std::uint32_t>(fields_.size()),
                      .field_count = static_cast<std::uint32_t>(fields.size()),
                      .evidence = evidence});
  fields_.insert(fields_.end(), fields.begin(), fields.end());
}

RawBytes Batch::recycle() {
  if (buffers_.empty()) return {};
  RawBytes buffer = std::move(buffers_.back());
  clear();
  return buffer;
}

namespace {

Digest digest_of(std::span<const Field> fields) {
  constexpr std::size_t kSmall = 64 * 1024;
  const auto feed = [fields](auto&& take) {
    for (const Field& field : fields)
      for (const std::string_view text : {field.name, field.value}) {
        char size[sizeof(std::uint64_t)];
        for (std::size_t i = 0; i < sizeof size; ++i) size[i] = static_cast<char>(text.size() >> 8 * i & 0xff);
        take(std::string_view(size, sizeof size));
        take(text);
      }
  };
  std::size_t bytes = 0;
  feed([&](std::string_view piece) { bytes += piece.size(); });
  if (bytes <= kSmall) {  // in one piece: a call for each costs more than digesting it
    std::string whole;
    whole.reserve(bytes);
    feed([&](std::string_view piece) { whole.append(piece); });
    return sha256(whole);
  }
  Sha256 hash;
  feed([&](std::string_view piece) { hash.update(piece); });
  return hash.finish();
}

}  // namespace

std::vector<Field> views_of(std::span<const OwnedField> fields) {
  std::vector<Field> views;
  views.reserve(fields.size());
  for (const OwnedField& field : fields) views.push_back({field.name, field.value});
  return views;
}

std::string content_digest(std::span<const Field> fields) { return std::string(view(digest_of(fields))); }

std::uint64_t short_digest(std::span<const Field> fields) {
  const Digest digest = digest_of(fields);
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < 8; ++i) first = first << 8 | digest[i];
  return first;
}

std::string Message::content_digest() const { return std::string(view(digest())); }

Digest Message::digest() const { return digest_of(views_of(fields)); }

}  // namespace claw
