#include "content/paths.h"

namespace claw::content {
namespace {

using Front = Paths::Front;

// The first 16 bytes of a text, zeroes behind its end.
Front front_of(std::string_view text) {
  static constexpr unsigned char kMask[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
  const std::size_t length = text.size() < 16 ? text.size() : 16;
  Front front, mask;
  std::memcpy(&front, text.data(), 16);
  std::memcpy(&mask, kMask + 16 - length, 16);
  return {front.low & mask.low, front.high & mask.high};
}

std::uint64_t hash_of(Slot object, const Front& front) {
  const std::uint64_t h = (front.low ^ front.high * 0x9e3779b97f4a7c15ull ^ (std::uint64_t{object} << 40)) * 0xd6e8feb86659fd93ull;
  return h ^ (h >> 32);
}

void set_guess(Paths::Key& key, std::string_view text) {
  // What JSON must escape is spelt otherwise than it reads: never guessed.
  if (text.size() > 15) return;
  for (const char c : text)
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) return;
  char bytes[16] = {}, mask[16] = {};
  if (!text.empty()) std::memcpy(bytes, text.data(), text.size());
  bytes[text.size()] = '"';
  std::memset(mask, 0xff, text.size() + 1);
  std::memcpy(&key.low, bytes, 8);
  std::memcpy(&key.high, bytes + 8, 8);
  std::memcpy(&key.low_mask, mask, 8);
  std::memcpy(&key.high_mask, mask + 8, 8);
}

}  // namespace

Paths::Paths() : table_(64, 0) {
  add(kNone, Step::root, "");
  add(kNone, Step::root, "");
  nodes_[kElsewhere].usual.fill(~0ull);
}

Slot Paths::add(Slot parent, Step step, std::string name) {
  if (nodes_.size() >= kMostSlots) return kElsewhere;
  nodes_.push_back({.step = step});
  parents_.push_back(parent);
  names_.push_back(std::move(name));
  return static_cast<Slot>(nodes_.size() - 1);
}

std::uint32_t Paths::find_key(Slot object, std::string_view text, Step step) {
  if (text.size() > kLongestKey) text = text.substr(0, kLongestKey);
  const Front front = front_of(text);
  const std::size_t mask = table_.size() - 1;
  std::size_t at = hash_of(object, front) & mask;
  for (; table_[at] != 0; at = (at + 1) & mask) {
    const Key& key = keys_[table_[at] - 1];
    if (key.object != object || key.length != text.size()) continue;
    const Front& other = fronts_[table_[at] - 1];
    if (front.low == other.low && front.high == other.high && (text.size() <= 16 || names_[key.child] == text)) return table_[at] - 1;
  }
  return add_key(object, text, step, at);
}

std::uint32_t Paths::add_key(Slot object, std::string_view text, Step step, std::size_t at) {
  if (object == kElsewhere || nodes_.size() >= kMostSlots) return kNone;
  fronts_.push_back(front_of(text));
  Key& key = keys_.emplace_back();
  key.length = static_cast<std::uint32_t>(text.size());
  key.object = object;
  set_guess(key, text);
  key.child = add(object, step, std::string(text));
  table_[at] = static_cast<std::uint32_t>(keys_.size());
  if (keys_.size() * 2 > table_.size()) grow_table();
  return static_cast<std::uint32_t>(keys_.size() - 1);
}

void Paths::grow_table() {
  table_.assign(table_.size() * 2, 0);
  const std::size_t mask = table_.size() - 1;
  for (std::uint32_t i = 0; i < keys_.size(); ++i) {
    std::size_t at = hash_of(keys_[i].object, fronts_[i]) & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = i + 1;
  }
}

Slot Paths::element_of(Slot array) {
  if (array == kElsewhere) return kElsewhere;
  if (nodes_[array].element == kNone) {
    const Slot made = add(array, Step::element, "");
    nodes_[array].element = made;
  }
  return nodes_[array].element;
}

Slot Paths::inside_of(Slot text) {
  if (text == kElsewhere) return kElsewhere;
  if (nodes_[text].inside == kNone) {
    const Slot made = add(text, Step::inside, "");
    nodes_[text].inside = made;
  }
  return nodes_[text].inside;
}

}  // namespace claw::content
