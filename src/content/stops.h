// Where a JSON text has quotes, backslashes and control characters. They are found before the text is walked, many bytes at
// once: where the next one is takes a shift then.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace claw::content {

inline constexpr std::size_t kStopsBlock = 64;  // bytes looked at in one go

// Sets the bits of text[0, size), one a byte, the first one is the lowest; whole blocks, what is behind `size` may be set.
// So many bytes are readable there. Portable, by SSE2, AVX2 or AVX-512: all four do the same.
inline void portable_stops(const char* text, std::size_t size, std::uint64_t* bits) {
  for (std::size_t at = 0; at < size; at += kStopsBlock) {
    std::uint64_t stops = 0;
    for (std::size_t i = 0; i < kStopsBlock; ++i) {
      const auto c = static_cast<unsigned char>(text[at + i]);
      stops |= std::uint64_t{c == '"' || c == '\\' || c < 0x20} << i;
    }
    *bits++ = stops;
  }
}

#if defined(__x86_64__)

inline void sse2_stops(const char* text, std::size_t size, std::uint64_t* bits) {
  for (std::size_t at = 0; at < size; at += kStopsBlock) {
    std::uint64_t stops = 0;
    for (std::size_t i = 0; i < kStopsBlock; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + at + i));
      const __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
      const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
      stops |= std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_or_si128(marks, controls)))} << i;
    }
    *bits++ = stops;
  }
}

[[gnu::target("avx2")]] inline std::uint64_t half_block(const char* text) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text));
  const __m256i marks = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')), _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\')));
  const __m256i controls = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_or_si256(marks, controls)));
}

[[gnu::target("avx2")]] inline void avx2_stops(const char* text, std::size_t size, std::uint64_t* bits) {
  for (std::size_t at = 0; at < size; at += kStopsBlock) *bits++ = half_block(text + at) | half_block(text + at + kStopsBlock / 2) << 32;
}

[[gnu::target("avx512f,avx512bw")]] inline void avx512_stops(const char* text, std::size_t size, std::uint64_t* bits) {
  for (std::size_t at = 0; at < size; at += kStopsBlock) {
    const __m512i bytes = _mm512_loadu_si512(text + at);
    *bits++ = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\')) | _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20));
  }
}

#endif

class Stops {
 public:
  static constexpr std::size_t kShortText = 4'096;
  static constexpr std::size_t kAhead = 56;

  // Of a text with kStopsBlock readable bytes behind it; it stays where it is. `room` is used for what is longer than
  // kShortText, `mark` is one of the above.
  template <class Mark>
  [[gnu::always_inline]] inline Stops(const char* text, std::size_t size, std::vector<std::uint64_t>& room, Mark mark) : text_(text) {
    std::uint64_t* bits = short_.data();
    const std::size_t end = size / kStopsBlock;
    if (size > kShortText) {
      room.resize(end + 2);
      bits = room.data();
    }
    bits[end] = 0;
    bits[end + 1] = 0;  // next() reads eight bytes from any place
    mark(text, size, bits);
    bits[end] |= std::uint64_t{1} << size % kStopsBlock;
    bits_ = bits;
  }
  Stops(const Stops&) = delete;
  Stops& operator=(const Stops&) = delete;

  // Which of the kAhead bytes from `at` on are, the lowest bit first; bits of later ones may be missing. `at` is not beyond
  // the text's end, and there is one.
  std::uint64_t ahead(const char* at) const {
    static_assert(std::endian::native == std::endian::little);
    const auto place = static_cast<std::size_t>(at - text_);
    std::uint64_t bits;
    std::memcpy(&bits, reinterpret_cast<const char*>(bits_) + place / 8, sizeof bits);
    return bits >> place % 8;
  }
  // The first one at `at` or behind it; the text's end when there is none.
  const char* next(const char* at) const {
    const std::uint64_t bits = ahead(at);
    return bits != 0 ? at + std::countr_zero(bits) : next_far(at);
  }

 private:
  const char* next_far(const char* at) const;

  const char* text_;
  const std::uint64_t* bits_;  // one a byte, the first one is the lowest; one more is set at the end
  std::array<std::uint64_t, kShortText / 64 + 2> short_;
};

}  // namespace claw::content
