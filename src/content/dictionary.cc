#include "content/dictionary.h"

#include <algorithm>

#include "base/result.h"

namespace claw::content {

void Dictionary::add(std::string_view text, ValueKind kind, const Entry& entry) {
  const std::size_t id = texts_.size();
  CLAW_CHECK(id <= kMostValues && text.size() <= (wide_ ? kLongestValue : kShortValue));
  const Words words = wide_ ? words_of(text, kind) : Words{word_of(text, kind)};
  first_[id] = words[0];
  std::copy(words.begin() + 1, words.end(), rest_[id].begin());
  entries_[id] = entry;
  texts_.push_back(kind == ValueKind::number ? std::string(text) : "\"" + std::string(text) + "\"");
}

// Factors under which every value has a place of its own, so that one comparison tells whether a value is known. There
// are some among the first few hundred; values that have none after many are not known.
void Dictionary::give_places() {
  std::uint64_t state = 0;
  const auto next = [&state] {  // splitmix64
    std::uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) | 1;
  };
  const auto place_of = [&](std::size_t id) { return place({first_[id], rest_[id][0], rest_[id][1], rest_[id][2]}); };
  for (int tries = 0; tries < 20'000; ++tries) {
    for (std::uint64_t& factor : factors_) factor = next();
    table_.fill(0);
    std::size_t placed = 1;
    for (; placed < texts_.size(); ++placed) {
      std::uint8_t& at = table_[place_of(placed)];
      if (at != 0) break;
      at = static_cast<std::uint8_t>(placed);
    }
    if (placed == texts_.size()) return;
  }
  table_.fill(0);
  for (std::size_t id = 1; id < texts_.size(); ++id) table_[place_of(id)] = static_cast<std::uint8_t>(id);
}

}  // namespace claw::content
