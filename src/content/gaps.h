// What stood between two values of a JSON text last time: most texts of a queue have the same there again, and then one
// comparison stands for reading brackets, commas and keys one by one.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "content/lanes.h"
#include "content/paths.h"

namespace claw::content {

// After a gap and its value there are few ways on. A copy begins with none.
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
  using Id = std::uint16_t;
  static constexpr std::size_t kMost = 4'096;                // gaps of a queue
  static constexpr std::size_t kMostSteps = 7, kLongest = 48;  // of one
  static constexpr std::size_t kMostWays = 10, kMostOfSlot = 64;

  // One cache line: hundreds of them are in use, and few fit into the nearest cache.
  struct alignas(64) Gap {
    std::array<char, 32> bytes;           // zeroes behind its end
    std::array<std::uint16_t, 2> blocks;  // which bytes of each 16 count
    std::uint16_t slot;                   // of the value that it leads to
    Id id;
    std::array<Id, kMostWays> next;       // the gaps met behind that value, as they were met; 0 behind the last
    std::uint8_t length;
    To to;

    // A number, true, false or null begins so; no container and no blank does.
    static bool begins_plain(char c) { return (c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f' || c == 'n'; }
  };
  static_assert(sizeof(Gap) == 64 && Paths::kMostSlots <= 1u << 16);

  // What is seldom needed of a gap.
  struct Rest {
    std::array<char, 16> bytes;  // the last ones of a long gap
    std::uint16_t block;         // which of them count
    std::uint8_t steps;
    std::array<Step, kMostSteps> step;
  };

  Gaps() = default;
  Gaps(const Gaps&) : Gaps() {}
  Gaps(Gaps&&) noexcept = default;

  // Where a text begins or what stood before a value at `slot` is not known. Gaps stay where they are.
  Gap* before(Slot slot);
  const Rest& rest(Id id) const { return rests_[id]; }

  // The way on behind the value at `slot`, which `from` leads to, at `at`; null when it is not known. The text ends at `end`;
  // Batch::kPadding bytes are readable behind it.
  Gap* find(Gap* from, Slot slot, const char* at, const char* end) {
    for (const Id id : from->next) {
      if (id == 0) break;
      if (Gap* const gap = &gaps_[id]; is_at(*gap, at, end)) [[likely]] return gap;
    }
    return find_more(from, slot, at, end);
  }
  // Remembers one that was not known behind the value at `slot`, unless it is too long or there are many.
  void add(Gap* from, Slot slot, std::string_view bytes, std::span<const Step> steps, Slot next, To to);

 private:
  bool is_at(const Gap& gap, const char* at, const char* end) const {
    if ((equal_lanes(at, gap.bytes.data()) & gap.blocks[0]) != gap.blocks[0]) return false;
    if (gap.length >= 16) {
      if ((equal_lanes(at + 16, gap.bytes.data() + 16) & gap.blocks[1]) != gap.blocks[1]) return false;
      if (gap.length >= 32 && (equal_lanes(at + 32, rests_[gap.id].bytes.data()) & rests_[gap.id].block) != rests_[gap.id].block) return false;
    }
    at += gap.length;
    if (gap.to == To::text) return at < end;
    return gap.to == To::end ? at == end : at < end && Gap::begins_plain(*at);
  }
  Gap* find_more(Gap* from, Slot slot, const char* at, const char* end);
  void lead(Gap& from, Id to);

  // Stands for every gap that is not known: of it nothing is kept, not even a slot, for walks within walks hold it too.
  Gap nowhere_{.bytes = {}, .blocks = {}, .slot = 0, .id = 0, .next = {}, .length = 0, .to = To::end};
  std::vector<Gap> gaps_;              // room for kMost from the first one on; the one with id 0 is none
  std::vector<Rest> rests_;            // of gaps_
  std::vector<Id> before_;             // by slot
  std::vector<std::vector<Id>> behind_;  // by slot: all those met behind a value there
};

// The gaps of a whole text, one after another, are its outline. What is unusual in an outline is told once and remembered.
class Outlines {
 public:
  static constexpr std::size_t kMost = 4'096, kMostWords = 1u << 16, kMostOdd = 64;

  // The ids of gaps passed, four a word: a word holds the four last ones, so that it can be written whole after each. (What is
  // written piece by piece cannot be read as a whole without waiting for the cache.)
  class Passed {
   public:
    static constexpr std::size_t kRoom = 256;  // gaps
    bool full() const { return count_ == kRoom; }
    std::size_t size() const { return count_; }
    void add(Gaps::Id id) {
      last_ = last_ << 16 | id;
      words_[count_ / 4] = last_;
      ++count_;
    }
    void clear() { count_ = 0, last_ = 0; }
    Gaps::Id operator[](std::size_t i) const {
      const std::size_t newer = std::min(i / 4 * 4 + 3, count_ - 1) - i;  // ids behind it in its word
      return static_cast<Gaps::Id>(words_[i / 4] >> 16 * newer);
    }
    std::span<const std::uint64_t> words() const { return std::span(words_).first((count_ + 3) / 4); }

   private:
    std::array<std::uint64_t, kRoom / 4> words_;
    std::uint64_t last_ = 0;
    std::size_t count_ = 0;
  };

  Outlines() = default;
  Outlines(const Outlines&) {}
  Outlines(Outlines&&) noexcept = default;

  // What was remembered of it; nothing when it is not known.
  std::optional<std::span<const std::uint32_t>> find(const Passed& gaps) const;
  // Remembers it while there is room.
  void add(const Passed& gaps, std::span<const std::uint32_t> odd);

 private:
  // In front of its words and, two a word, of what is odd in it.
  struct Head {
    std::uint32_t hash;
    std::uint16_t gaps;
    std::uint16_t odd;
  };
  static_assert(sizeof(Head) == sizeof(std::uint64_t));
  static Head head_of(const Passed& gaps);
  static std::size_t place(std::uint32_t hash) { return hash & (kMost * 2 - 1); }

  std::vector<std::uint32_t> table_;  // open addressing by hash: where in words_ it begins, plus 1
  std::vector<std::uint64_t> words_;  // outlines one after another
  std::size_t count_ = 0;
};

}  // namespace claw::content
