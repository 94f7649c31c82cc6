// The values of a path that has few: is this one of them, and which.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "content/value_class.h"

namespace claw::content {

enum class ValueKind : unsigned char { text = 1, number = 2 };

class Dictionary {
 public:
  static constexpr std::size_t kMostValues = 64;
  static constexpr std::size_t kLongestValue = 31, kShortValue = 7;  // bytes
  struct Entry {
    Code code;
    bool common;  // a tenth or more of what was learnt there
    bool usual;   // its code is
  };

  // A value as words: its bytes, zeroes behind them, its kind in the last byte; of a short one the first word is enough.
  // `text` is not longer than kLongestValue or kShortValue; 32 or 8 bytes from its first on are readable.
  using Words = std::array<std::uint64_t, 4>;
  [[gnu::always_inline]] static inline Words words_of(std::string_view text, ValueKind kind) {
    Words words, mask;
    std::memcpy(words.data(), text.data(), sizeof words);
    std::memcpy(mask.data(), kMasks[text.size()].data(), sizeof mask);
    for (std::size_t i = 0; i < 4; ++i) words[i] &= mask[i];
    words[3] |= kind_bits(kind);
    return words;
  }
  [[gnu::always_inline]] static inline std::uint64_t word_of(std::string_view text, ValueKind kind) {
    std::uint64_t word;
    std::memcpy(&word, text.data(), sizeof word);
    return (word & ((std::uint64_t{1} << text.size() * 8) - 1)) | kind_bits(kind);
  }

  // `wide`: some value will be longer than kShortValue.
  explicit Dictionary(bool wide = false) : wide_(wide) {}
  // Its id is the next one, from 1; `text` as word_of() and words_of() want it.
  void add(std::string_view text, ValueKind kind, const Entry& entry);
  // When all have been added.
  void give_places();

  // The id of a value, 0 when it has none. 32 bytes from the first one of `text` on are readable.
  [[gnu::always_inline]] inline std::uint8_t find(std::string_view text, ValueKind kind) const {
    if (!wide_) {
      if (text.size() > kShortValue) return 0;
      const std::uint64_t word = word_of(text, kind);
      const std::uint8_t id = table_[word * factors_[0] >> (64 - kTableBits)];
      return first_[id] == word ? id : 0;
    }
    if (text.size() > kLongestValue) return 0;
    const Words words = words_of(text, kind);
    const std::uint8_t id = table_[place(words)];
    const std::array<std::uint64_t, 3>& known = rest_[id];
    return ((first_[id] ^ words[0]) | (known[0] ^ words[1]) | (known[1] ^ words[2]) | (known[2] ^ words[3])) == 0 ? id : 0;
  }
  const Entry& operator[](std::uint8_t id) const { return entries_[id]; }
  std::size_t size() const { return texts_.size(); }                              // ids below are in use, and 0
  const std::string& text(std::uint8_t id) const { return texts_[id]; }           // as JSON spells it

 private:
  static constexpr std::size_t kTableBits = 9;
  static constexpr auto kMasks = [] {
    std::array<std::array<unsigned char, 32>, kLongestValue + 1> masks{};
    for (std::size_t length = 0; length <= kLongestValue; ++length)
      for (std::size_t i = 0; i < length; ++i) masks[length][i] = 0xff;
    return masks;
  }();
  static constexpr std::uint64_t kind_bits(ValueKind kind) { return std::uint64_t{static_cast<unsigned char>(kind)} << 56; }
  std::size_t place(const Words& words) const {
    return (words[0] * factors_[0] + words[1] * factors_[1] + words[2] * factors_[2] + words[3] * factors_[3]) >> (64 - kTableBits);
  }

  bool wide_;
  Words factors_{};
  std::array<std::uint8_t, 1u << kTableBits> table_{};  // place → id
  // By id; the first one is no value's.
  std::array<std::uint64_t, kMostValues + 1> first_{};               // word
  std::array<Entry, kMostValues + 1> entries_{};
  std::array<std::array<std::uint64_t, 3>, kMostValues + 1> rest_{};  // words
  std::vector<std::string> texts_{""};
};

}  // namespace claw::content
