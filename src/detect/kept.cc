#include "detect/kept.h"

#include <algorithm>
#include <bit>

namespace claw::detect {
namespace {

std::uint64_t group_of(const content::Values& values, std::size_t group) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t bytes;
  std::memcpy(&bytes, values.data() + 8 * group, sizeof bytes);
  return bytes;
}

// The highest bit of each byte that is 15 or more.
std::uint64_t too_large(std::uint64_t bytes) {
  constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101;
  return (((bytes & 0x7f * kOnes) + 0x71 * kOnes) | bytes) & 0x80 * kOnes;
}

// Bytes below 16 to half-bytes.
std::uint32_t halved(std::uint64_t x) {
  x = (x | x >> 4) & 0x00ff'00ff'00ff'00ff;
  x = (x | x >> 8) & 0x0000'ffff'0000'ffff;
  return static_cast<std::uint32_t>(x | x >> 16);
}

}  // namespace

Kept::Kept(const std::uint64_t* words, const std::uint32_t* renumbered) : renumbered_(renumbered) {
  std::memcpy(static_cast<void*>(&head_), words, sizeof head_);
  seen_ = words + sizeof head_ / sizeof *words;
  const std::uint64_t* const digests = seen_ + (head_.narrow_keys ? 2 : 3) * std::size_t{head_.size};
  const std::uint64_t* const elsewhere = digests + 2 * std::size_t{head_.digests};
  digests_ = {reinterpret_cast<const Digested*>(digests), head_.digests};
  elsewhere_ = {reinterpret_cast<const Elsewhere*>(elsewhere), head_.elsewhere};
  values_ = reinterpret_cast<const std::uint8_t*>(elsewhere + head_.elsewhere);
  stride_ = 8 * std::size_t{head_.groups} - 4 * static_cast<std::size_t>(std::popcount(head_.narrow_groups));
}

void Kept::look_elsewhere(std::size_t i, content::Values& values) const {
  auto at = std::lower_bound(elsewhere_.begin(), elsewhere_.end(), i, [](const Elsewhere& one, std::size_t index) { return one.index < index; });
  for (; at != elsewhere_.end() && at->index == i; ++at) values[at->column] = static_cast<std::uint8_t>(at->value);
}

void Packing::begin(std::size_t columns) {
  head_ = {};
  head_.groups = static_cast<std::uint8_t>((columns + 7) / 8);
  seen_.clear();
  halves_.clear();
  elsewhere_.clear();
  large_ = {};
}

void Packing::add(const Seen& seen, const content::Values& values) {
  if (head_.size == 0) head_.high = seen.key.high, head_.low = seen.key.low;
  const std::uint32_t index = head_.size++;
  if (head_.narrow_keys) {
    const std::uint64_t word = (seen.key.high - head_.high) << 32 | ((seen.key.low - head_.low) & 0xffff'ffff);
    if (Kept::key_at(head_, word) != seen.key) [[unlikely]] widen_keys();
    else seen_.push_back(word);
  }
  if (!head_.narrow_keys) seen_.insert(seen_.end(), {seen.key.high, seen.key.low});
  std::uint64_t rest;
  std::memcpy(&rest, &seen.row, sizeof rest);
  seen_.push_back(rest);
  for (std::size_t g = 0; g < head_.groups; ++g) {
    std::uint64_t bytes = group_of(values, g);
    for (std::uint64_t large = too_large(bytes); large != 0; large &= large - 1) [[unlikely]] {
      const auto shift = static_cast<unsigned>(std::countr_zero(large)) & ~7u;
      elsewhere_.push_back({index, static_cast<std::uint16_t>(8 * g + shift / 8), static_cast<std::uint16_t>(bytes >> shift & 0xff)});
      ++large_[g];
      bytes = (bytes & ~(std::uint64_t{0xff} << shift)) | std::uint64_t{Kept::kElsewhere} << shift;
    }
    halves_.push_back(halved(bytes));
  }
}

// One key is too far from the first one: all of them are written whole. That one is not among them yet.
void Packing::widen_keys() {
  head_.narrow_keys = 0;
  std::vector<std::uint64_t> wide;
  for (std::size_t i = 0; i < seen_.size(); i += 2) {
    const MessageKey key = Kept::key_at(head_, seen_[i]);
    wide.insert(wide.end(), {key.high, key.low, seen_[i + 1]});
  }
  seen_ = std::move(wide);
}

std::size_t Packing::end(std::span<const Digested> digests) {
  digests_ = digests;
  head_.digests = static_cast<std::uint32_t>(digests.size());
  for (std::size_t g = 0; g < head_.groups; ++g) {
    if (large_[g] * sizeof(Kept::Elsewhere) > std::size_t{head_.size} * 4) continue;  // whole bytes are shorter
    head_.narrow_groups = static_cast<std::uint8_t>(head_.narrow_groups | 1u << g);
    head_.elsewhere += static_cast<std::uint32_t>(large_[g]);
  }
  stride_ = 8 * std::size_t{head_.groups} - 4 * static_cast<std::size_t>(std::popcount(head_.narrow_groups));
  return sizeof head_ / 8 + seen_.size() + 2 * digests.size() + head_.elsewhere + (stride_ * head_.size + 7) / 8;
}

void Packing::write(std::uint64_t* words) const {
  std::memcpy(words, &head_, sizeof head_);
  words = std::copy(seen_.begin(), seen_.end(), words + sizeof head_ / sizeof *words);
  for (const Digested& one : digests_) {
    *words++ = one.digest;
    *words++ = one.index;
  }
  for (const Kept::Elsewhere& one : elsewhere_)
    if ((head_.narrow_groups >> one.column / 8 & 1) != 0) std::memcpy(words++, &one, sizeof one);
  if (stride_ * head_.size % 8 != 0) words[stride_ * head_.size / 8] = 0;  // nothing of before is left behind the last one
  if (stride_ == 4 * std::size_t{head_.groups}) {
    std::copy(halves_.begin(), halves_.end(), reinterpret_cast<std::uint32_t*>(words));
    return;
  }
  auto* at = reinterpret_cast<std::uint8_t*>(words);
  auto elsewhere = elsewhere_.begin();
  for (std::uint32_t i = 0; i < head_.size; ++i)
    for (std::size_t g = 0; g < head_.groups; ++g) {
      const std::uint32_t half = halves_[i * std::size_t{head_.groups} + g];
      std::uint64_t bytes = Kept::widened(half);
      for (; elsewhere != elsewhere_.end() && elsewhere->index == i && elsewhere->column / 8 == g; ++elsewhere) {
        const unsigned shift = elsewhere->column % 8 * 8;
        bytes = (bytes & ~(std::uint64_t{0xff} << shift)) | std::uint64_t{elsewhere->value} << shift;
      }
      const bool narrow = (head_.narrow_groups >> g & 1) != 0;
      if (narrow) std::memcpy(at, &half, 4);
      else std::memcpy(at, &bytes, 8);
      at += narrow ? 4 : 8;
    }
}

}  // namespace claw::detect
