// Many bytes of JSON at once: where a number ends, what is the same. By SSE2, which every x86-64 has; elsewhere byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace claw::content {

// Bit i says of byte i.
struct NumberLanes {
  std::uint32_t stops;  // it is what may follow a number: a comma, a closing bracket, a blank or another control character
  std::uint32_t digits;
};

inline constexpr std::size_t kNumberLanes = 16;

#if defined(__SSE2__)

// 16 bytes are readable.
inline NumberLanes number_lanes(const char* at) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i brackets = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('}'));  // } and ]
  const __m128i commas = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(',')), blanks = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(' ')), bytes);
  const __m128i value = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
  return {static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(brackets, commas), blanks))),
          static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value)))};
}

// Which of 16 bytes are the same.
inline std::uint32_t equal_lanes(const char* a, const char* b) {
  return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)), _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)))));
}

#else

inline NumberLanes number_lanes(const char* at) {
  NumberLanes lanes{0, 0};
  for (std::size_t i = 0; i < kNumberLanes; ++i) {
    const auto c = static_cast<unsigned char>(at[i]);
    lanes.stops |= std::uint32_t{c == ',' || c == '}' || c == ']' || c <= ' '} << i;
    lanes.digits |= std::uint32_t{c >= '0' && c <= '9'} << i;
  }
  return lanes;
}

inline std::uint32_t equal_lanes(const char* a, const char* b) {
  std::uint32_t equal = 0;
  for (std::size_t i = 0; i < 16; ++i) equal |= std::uint32_t{a[i] == b[i]} << i;
  return equal;
}

#endif

}  // namespace claw::content
