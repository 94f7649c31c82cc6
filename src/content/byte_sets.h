// Which sets of characters a text is made of: formats are told by them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "content/value_class.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace claw::content {

// Sets of more than one bit are unions: each bit is what one product of high and low half-bytes says.
using Sets = std::uint32_t;
namespace set {
inline constexpr Sets kDigit = 1, kHexLower = 2, kHexUpper = 4, kLower = 8 | 16, kUpper = 32 | 64, kDash = 128;
inline constexpr Sets kUnderscore = 1 << 8, kDot = 1 << 9, kSlash = 1 << 10, kBase64Sign = 3 << 11, kAt = 1 << 13, kSpace = 1 << 14, kBackslash = 1 << 15;
inline constexpr Sets kHigh = 1 << 16, kOtherSign = 1 << 17;  // 0x80 and above; whatever is in no other set
inline constexpr Sets kLetters = kHexLower | kHexUpper | kLower | kUpper;
}  // namespace set

namespace detail {

// Each bit of a set: the bytes of some high halves and some low halves. A byte has the bits that both its halves have.
struct Product {
  Sets bit;
  std::uint8_t high;       // half
  std::uint8_t low, last;  // halves
};
inline constexpr Product kProducts[] = {
    {set::kDigit, 3, 0, 9},  {set::kHexLower, 6, 1, 6}, {set::kHexUpper, 4, 1, 6},  {8, 6, 7, 15},          {16, 7, 0, 10},  {32, 4, 7, 15},          {64, 5, 0, 10},           {set::kDash, 2, 13, 13},
    {set::kUnderscore, 5, 15, 15}, {set::kDot, 2, 14, 14}, {set::kSlash, 2, 15, 15}, {1 << 11, 2, 11, 11}, {1 << 12, 3, 13, 13}, {set::kAt, 4, 0, 0}, {set::kSpace, 2, 0, 0}, {set::kBackslash, 5, 12, 12},
};

inline constexpr std::array<Sets, 256> kSets = [] {
  std::array<Sets, 256> sets{};
  for (unsigned c = 0; c < 256; ++c) {
    for (const Product& p : kProducts)
      if (c >> 4 == p.high && (c & 15) >= p.low && (c & 15) <= p.last) sets[c] |= p.bit;
    if (sets[c] == 0) sets[c] = c >= 0x80 ? set::kHigh : set::kOtherSign;
  }
  return sets;
}();

#if defined(__x86_64__)

// By half-byte, of the bits 0 to 7 and of the bits 8 to 15.
struct Halves {
  alignas(32) std::array<std::uint8_t, 32> low[2], high[2];  // each twice
};
inline constexpr Halves kHalves = [] {
  Halves halves{};
  for (const Product& p : kProducts) {
    const std::size_t which = p.bit < 256 ? 0 : 1;
    const auto bit = static_cast<std::uint8_t>(which == 0 ? p.bit : p.bit >> 8);
    for (const std::size_t lane : {0, 16}) {
      halves.high[which][lane + p.high] |= bit;
      for (std::size_t low = p.low; low <= p.last; ++low) halves.low[which][lane + low] |= bit;
    }
  }
  return halves;
}();

// Of thirty-two bytes: which have the bits 0 to 7, which the bits 8 to 15.
struct Found {
  __m256i first, second;
};

[[gnu::target("avx2")]] inline __m256i table(const std::array<std::uint8_t, 32>& of) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(of.data()));
}

[[gnu::target("avx2")]] inline Found find(__m256i bytes) {
  const __m256i half = _mm256_set1_epi8(15), low = _mm256_and_si256(bytes, half), high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), half);
  return {_mm256_and_si256(_mm256_shuffle_epi8(table(kHalves.low[0]), low), _mm256_shuffle_epi8(table(kHalves.high[0]), high)),
          _mm256_and_si256(_mm256_shuffle_epi8(table(kHalves.low[1]), low), _mm256_shuffle_epi8(table(kHalves.high[1]), high))};
}

// All of them together.
[[gnu::target("avx2")]] inline Sets merged(const Found& found) {
  const __m128i first = _mm_or_si128(_mm256_castsi256_si128(found.first), _mm256_extracti128_si256(found.first, 1));
  const __m128i second = _mm_or_si128(_mm256_castsi256_si128(found.second), _mm256_extracti128_si256(found.second, 1));
  const __m128i both = _mm_or_si128(_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
  auto bits = static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_or_si128(both, _mm_srli_si128(both, 8))));
  bits |= bits >> 32;
  bits |= bits >> 16;
  return static_cast<Sets>(bits & 0xffff);
}

constexpr std::uint32_t first_bits(std::size_t count) { return count >= 32 ? ~0u : (1u << count) - 1; }

#endif

}  // namespace detail

// Of a text of at most kShapeBytes; so many bytes from `text` on are readable whatever `size` is. Portable, by AVX2 or by
// AVX-512: all three say the same.
inline Sets portable_sets(const char* text, std::size_t size) {
  Sets sets = 0;
  for (std::size_t i = 0; i < size; ++i) sets |= detail::kSets[static_cast<unsigned char>(text[i])];
  return sets;
}

#if defined(__x86_64__)

[[gnu::target("avx2")]] inline Sets avx2_sets(const char* text, std::size_t size) {
  // What lies behind the text becomes a byte that has no bit: 0x80 and above have none.
  static constexpr auto kBehind = [] {
    std::array<std::uint8_t, 64> behind{};
    for (std::size_t i = 32; i < 64; ++i) behind[i] = 0x80;
    return behind;
  }();
  detail::Found all{_mm256_setzero_si256(), _mm256_setzero_si256()};
  std::uint32_t high = 0, other = 0;
  for (std::size_t at = 0; at < size; at += 32) {
    const std::size_t left = size - at < 32 ? size - at : 32;
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + at));
    const detail::Found found = detail::find(_mm256_or_si256(bytes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kBehind.data() + 32 - left))));
    all = {_mm256_or_si256(all.first, found.first), _mm256_or_si256(all.second, found.second)};
    const auto beyond = static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
    const auto none = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_or_si256(found.first, found.second), _mm256_setzero_si256())));
    high |= beyond & detail::first_bits(left);
    other |= none & ~beyond & detail::first_bits(left);
  }
  return detail::merged(all) | (high != 0 ? set::kHigh : 0) | (other != 0 ? set::kOtherSign : 0);
}

namespace detail {

// Which bytes are beyond ASCII, which of the others have no bit.
struct Rest {
  std::uint32_t high, other;
};

[[gnu::target("avx2,bmi2,avx512bw,avx512vl")]] inline Rest find_masked(const char* text, std::uint32_t mask, Found& found) {
  const __m256i bytes = _mm256_maskz_loadu_epi8(mask, text);
  found = find(bytes);
  const std::uint32_t high = _mm256_movepi8_mask(bytes);
  return {high, _mm256_mask_testn_epi8_mask(mask & ~high, _mm256_or_si256(found.first, found.second), _mm256_set1_epi8(-1))};
}

}  // namespace detail

// Masks make up for what has to be blotted out above. Registers of 256 bits: texts are short.
[[gnu::target("avx2,bmi2,avx512bw,avx512vl")]] inline Sets avx512_sets(const char* text, std::size_t size) {
  detail::Found all;
  detail::Rest rest = detail::find_masked(text, _bzhi_u32(~0u, static_cast<unsigned>(size)), all);
  if (size > 32) [[unlikely]] {
    detail::Found more;
    const detail::Rest second = detail::find_masked(text + 32, _bzhi_u32(~0u, static_cast<unsigned>(size - 32)), more);
    all = {_mm256_or_si256(all.first, more.first), _mm256_or_si256(all.second, more.second)};
    rest = {rest.high | second.high, rest.other | second.other};
  }
  return detail::merged(all) | (rest.high != 0 ? set::kHigh : 0) | (rest.other != 0 ? set::kOtherSign : 0);
}

#endif

}  // namespace claw::content
