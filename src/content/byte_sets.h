// Which sets of characters a text is made of: formats are told by them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace claw::content {

// Sets of more than one bit are unions: each bit is what one product of high and low half-bytes says.
using Sets = std::uint32_t;
namespace set {
inline constexpr Sets kDigit = 1, kHexLower = 2, kHexUpper = 4, kLower = 8 | 16, kUpper = 32 | 64, kDash = 128;
inline constexpr Sets kUnderscore = 1 << 8, kDot = 1 << 9, kSlash = 1 << 10, kBase64Sign = 3 << 11, kAt = 1 << 13, kSpace = 1 << 14, kBackslash = 1 << 15;
inline constexpr Sets kHigh = 1 << 16, kOtherSign = 1 << 17;  // 0x80 and above; whatever is in no other set
inline constexpr Sets kLetters = kHexLower | kHexUpper | kLower | kUpper;
}  // namespace set

inline constexpr std::size_t kMostSetBytes = 64;

// At most kMostSetBytes; so many bytes from `text` on are readable whatever `size` is. AVX-512, AVX2 or portable, as the
// machine has it: all three say the same.
Sets sets_of(const char* text, std::size_t size);

// The ways there are on this machine, the one that is taken first, for a test that they agree.
struct SetsWay {
  const char* name;
  Sets (*sets_of)(const char* text, std::size_t size);
};
std::span<const SetsWay> sets_ways();

}  // namespace claw::content
