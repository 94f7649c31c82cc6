#include "model/message.h"

#include "base/digest.h"

namespace claw {

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

std::vector<char> Batch::recycle() {
  if (buffers_.empty()) return {};
  std::vector<char> buffer = std::move(buffers_.back());
  clear();
  return buffer;
}

std::string content_digest(std::span<const Field> fields) {
  Sha256 hash;
  const auto piece = [&hash](std::string_view bytes) {
    std::uint64_t size = bytes.size();
    char prefix[8];
    for (char& c : prefix) {
      c = static_cast<char>(size & 0xff);
      size >>= 8;
    }
    hash.update({prefix, sizeof prefix});
    hash.update(bytes);
  };
  for (const Field& field : fields) {
    piece(field.name);
    piece(field.value);
  }
  return std::string(view(hash.finish()));
}

std::uint64_t short_digest(std::span<const Field> fields) {
  const std::string digest = content_digest(fields);
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < 8; ++i) first = first << 8 | static_cast<std::uint8_t>(digest[i]);
  return first;
}

std::string Message::content_digest() const {
  std::vector<Field> views;
  views.reserve(fields.size());
  for (const OwnedField& field : fields) views.push_back({field.name, field.value});
  return claw::content_digest(views);
}

}  // namespace claw
