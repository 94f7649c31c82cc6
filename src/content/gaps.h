// What stood between two values of a JSON text last time: most texts of a queue have the same there again, and then one
// comparison stands for reading brackets, commas and keys one by one.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "content/lanes.h"
#include "content/paths.h"

namespace claw::content {

// Where a value has ended (or a text begins) there are few ways on. A copy begins with none.
class Gaps {
 public:
  // What one piece of a gap means for the walk.
  struct Step {
    enum class Kind : std::uint8_t { close, open_object, open_array, empty_object, empty_array, member };
    Kind kind;
    Slot slot = Paths::kNone;            // what is opened, is empty or is the member's
    std::uint32_t other = Paths::kNone;  // the member's key, the array's element
  };
  enum class To : std::uint8_t { text, other, end };  // what is behind it: a text, whose quote counts; another plain value; nothing
  static constexpr std::size_t kMostSteps = 7, kLongest = 48, kMostWays = 15;

  struct Gap;
  using Ways = std::array<Gap*, kMostWays + 1>;  // from one slot, those met most often first; null behind the last

  // What is seldom needed of a gap.
  struct Rest {
    std::array<char, 16> bytes;  // the last ones of a long gap
    std::uint16_t block;         // which of them count
    std::uint8_t steps;
    std::array<Step, kMostSteps> step;
  };

  // One cache line: hundreds of them are in use, and few fit into the nearest cache.
  struct alignas(64) Gap {
    std::array<char, 32> bytes;           // zeroes behind its end
    Ways* next;                           // from the value that it leads to
    const Rest* rest;
    std::array<std::uint16_t, 2> blocks;  // which bytes of each 16 count
    Slot slot;                            // of the value that it leads to
    std::uint32_t met;                    // how often
    std::uint16_t id;                     // from 0
    std::uint8_t length;
    To to;

    // A number, true, false or null begins so; no container and no blank does.
    static bool begins_plain(char c) { return (c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f' || c == 'n'; }

    // The text has `left` bytes more; Batch::kPadding are readable behind it.
    bool is_at(const char* at, std::size_t left) const {
      if ((equal_lanes(at, bytes.data()) & blocks[0]) != blocks[0]) return false;
      if (length >= 16) {
        if ((equal_lanes(at + 16, bytes.data() + 16) & blocks[1]) != blocks[1]) return false;
        if (length >= 32 && (equal_lanes(at + 32, rest->bytes.data()) & rest->block) != rest->block) return false;
      }
      if (to == To::end) return length == left;
      return length < left && (to == To::text || begins_plain(at[length]));
    }
  };
  static_assert(sizeof(Gap) == 64);

  Gaps() = default;
  Gaps(const Gaps&) {}
  Gaps(Gaps&&) noexcept = default;

  // Stays where it is.
  Ways* from(Slot slot) {
    if (slot >= ways_.size()) ways_.resize(slot + 1);
    return &ways_[slot];
  }
  const Gap& operator[](std::uint16_t id) const { return gaps_[id]; }
  // The way on at `at`; null when it is not known.
  static const Gap* find(Ways* ways, const char* at, std::size_t left) {
    for (Gap** way = ways->data(); *way != nullptr; ++way) {
      Gap* const gap = *way;
      if (!gap->is_at(at, left)) continue;
      ++gap->met;
      if (way != ways->data() && way[-1]->met < gap->met) [[unlikely]] std::swap(way[-1], way[0]);
      return gap;
    }
    return nullptr;
  }
  // Remembers one that was not known, unless it is too long or there are many.
  void add(Slot from, std::string_view bytes, std::span<const Step> steps, Slot slot, To to);

 private:
  std::deque<Ways> ways_;  // by slot
  std::deque<Gap> gaps_;
  std::deque<Rest> rests_;  // of gaps_
};

// The gaps of a whole text, one after another, are its outline. What is unusual in an outline is told once and remembered.
class Outlines {
 public:
  static constexpr std::size_t kMost = 4'096, kMostGaps = 1u << 16, kMostOdd = 64;

  Outlines() = default;
  Outlines(const Outlines&) {}
  Outlines(Outlines&&) noexcept = default;

  static std::uint64_t hash(std::uint64_t before, std::uint16_t gap) { return (before ^ gap) * 0xd6e8feb86659fd93ull + gap; }

  // What was remembered of it; nothing when it is not known.
  std::optional<std::span<const std::uint32_t>> find(std::uint64_t hash, std::span<const std::uint16_t> gaps) const;
  // Remembers it while there is room.
  void add(std::uint64_t hash, std::span<const std::uint16_t> gaps, std::span<const std::uint32_t> odd);

 private:
  struct Outline {
    std::uint64_t hash;
    std::uint32_t first_gap, gaps, first_odd, odd;
  };
  static std::size_t place(std::uint64_t hash) { return hash >> 32 & (kMost * 2 - 1); }

  std::vector<std::uint16_t> table_;  // open addressing by hash: index + 1
  std::vector<Outline> outlines_;
  std::vector<std::uint16_t> gaps_;
  std::vector<std::uint32_t> odd_;
};

}  // namespace claw::content
