// What detection keeps of each message of a page. Most of it is packed: keys as differences to the page's first ones, values
// of the dictionaries as half a byte each.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "content/features.h"
#include "model/message.h"

namespace claw::detect {

struct Seen {
  MessageKey key;
  std::uint32_t row = 0;
  std::uint16_t attempts = 0;
  std::uint8_t passes = 0;      // groups that acknowledged it
  std::uint8_t level : 4 = 0;
  std::uint8_t waiting : 1 = 0;
  std::uint8_t in_flight : 1 = 0;
  std::uint8_t evidence_only : 1 = 0;
  std::uint8_t by_digest : 1 = 0;  // has no id of its own: its digest is its identity
};
static_assert(sizeof(Seen) == 24);

// The short digest of a message that is odd, or that nothing else identifies.
struct Digested {
  std::uint64_t digest;
  std::uint64_t index;  // in the page
};

// A page's messages, packed into words of 8 bytes. The words belong to somebody else.
class Kept {
 public:
  Kept() = default;
  // Of what pack() made; `renumbered`: by row as it was kept.
  Kept(const std::uint64_t* words, const std::uint32_t* renumbered);

  std::size_t size() const { return head_.size; }
  Seen seen(std::size_t i) const {
    Seen seen;
    if (head_.narrow_keys) {
      const std::uint64_t* const at = seen_ + 2 * i;
      std::memcpy(&seen.row, at + 1, sizeof *at);
      seen.key = key_at(head_, at[0]);
    } else {
      std::memcpy(static_cast<void*>(&seen), seen_ + 3 * i, sizeof seen);
    }
    seen.row = renumbered_[seen.row];
    return seen;
  }
  // By column, zeroes behind those in use.
  content::Values values(std::size_t i) const {
    std::uint64_t groups[kGroups] = {};
    const std::uint8_t* at = values_ + i * stride_;
    bool more = false;
    for (std::size_t g = 0; g < head_.groups; ++g) {
      if ((head_.narrow_groups >> g & 1) == 0) {
        std::memcpy(&groups[g], at, 8);
        at += 8;
        continue;
      }
      std::uint32_t half;
      std::memcpy(&half, at, 4);
      at += 4;
      groups[g] = widened(half);
      more = more || has_elsewhere(groups[g]);
    }
    content::Values values;
    std::memcpy(values.data(), groups, sizeof values);
    if (more) [[unlikely]] look_elsewhere(i, values);
    return values;
  }
  std::span<const Digested> digests() const { return digests_; }  // by index

 private:
  friend class Packing;
  static constexpr std::size_t kGroups = content::kColumns / 8;  // of columns
  static constexpr std::uint8_t kElsewhere = 15;                 // a value that does not fit half a byte
  struct Head {
    std::uint32_t size = 0, digests = 0;
    std::uint32_t elsewhere = 0;
    std::uint8_t groups = 0;         // in use
    std::uint8_t narrow_groups = 0;  // a bit each
    std::uint8_t narrow_keys = 1;
    std::uint8_t unused = 0;
    std::uint64_t high = 0, low = 0;  // of the first one
  };
  static_assert(sizeof(Head) == 32 && content::kColumns % 8 == 0);
  // A value that does not fit: by message, then by column.
  struct Elsewhere {
    std::uint32_t index;
    std::uint16_t column;
    std::uint16_t value;
  };

  // By its differences to the first one, 32 bits each.
  static MessageKey key_at(const Head& head, std::uint64_t word) {
    const auto signed_half = [](std::uint64_t half) { return static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(half)}); };
    return {head.high + signed_half(word >> 32), head.low + signed_half(word & 0xffff'ffff)};
  }
  // Half-bytes to bytes.
  static std::uint64_t widened(std::uint32_t half) {
    std::uint64_t x = half;
    x = (x | x << 16) & 0x0000'ffff'0000'ffff;
    x = (x | x << 8) & 0x00ff'00ff'00ff'00ff;
    return (x | x << 4) & 0x0f0f'0f0f'0f0f'0f0f;
  }
  static bool has_elsewhere(std::uint64_t bytes) { return ((bytes + 0x0101'0101'0101'0101) & 0x1010'1010'1010'1010) != 0; }
  void look_elsewhere(std::size_t i, content::Values& values) const;

  Head head_;
  const std::uint64_t* seen_ = nullptr;
  const std::uint32_t* renumbered_ = nullptr;
  std::span<const Digested> digests_;
  std::span<const Elsewhere> elsewhere_;
  const std::uint8_t* values_ = nullptr;
  std::size_t stride_ = 0;  // bytes of values of one message
};

// Packs one page after another.
class Packing {
 public:
  // Of messages with so many columns.
  void begin(std::size_t columns);
  void add(const Seen& seen, const content::Values& values);
  // When all have been added: digests by index, and how many words there are to write.
  std::size_t end(std::span<const Digested> digests);
  void write(std::uint64_t* words) const;

  std::size_t size() const { return head_.size; }

 private:
  void widen_keys();

  Kept::Head head_;
  std::vector<std::uint64_t> seen_;  // as they are written
  std::vector<std::uint32_t> halves_;  // of values, one a group
  std::vector<Kept::Elsewhere> elsewhere_;
  std::array<std::size_t, Kept::kGroups> large_{};  // of elsewhere_, by group
  std::span<const Digested> digests_;
  std::size_t stride_ = 0;
};

}  // namespace claw::detect
