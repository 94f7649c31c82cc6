// How messages are read, by the best way of this machine.
#include <algorithm>
#include <bit>
#include <cstring>

#include "content/byte_sets.h"
#include "content/escapes.h"
#include "content/features.h"
#include "content/lanes.h"
#include "content/stops.h"
#include "content/strict_json.h"
#include "content/text_shape.h"
#include "content/utf8.h"

// Functions between these may use the instructions that `features` names.
#define CLAW_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CLAW_TARGET_BEGIN(features) CLAW_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define CLAW_TARGET_END _Pragma("clang attribute pop")
#else
#define CLAW_TARGET_BEGIN(features) _Pragma("GCC push_options") CLAW_PRAGMA(GCC target(features))
#define CLAW_TARGET_END _Pragma("GCC pop_options")
#endif

namespace claw::content {

static_assert(Batch::kPadding >= kShapeBytes && Batch::kPadding >= kStopsBlock);

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr auto kLoneSurrogate = static_cast<Code>(code::kFirstText + 4 * static_cast<Code>(Shape::lone_surrogate));

bool looks_like_json_later(std::string_view value) {
  if (value.starts_with(kByteOrderMark)) value.remove_prefix(kByteOrderMark.size());
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (value[first] == '{' || value[first] == '[');
}

[[gnu::always_inline]] inline bool looks_like_json(std::string_view value) {
  if (value.empty()) return false;
  return value[0] == '{' || value[0] == '[' || looks_like_json_later(value);
}

}  // namespace

// Without a branch: what is unusual comes at random, and a processor that guesses wrong loses more than this takes.
[[gnu::always_inline]] inline void FeatureReader::put_odd(bool odd, Deviation deviation) {
  odd_[odd_count_] = deviation;
  odd_count_ += odd;
  if (odd_count_ == kMostOdd) [[unlikely]] {
    settle();
    odd_count_ = std::min(odd_count_, kMostOdd / 2);
    crowded_ = true;
  }
}

[[gnu::always_inline]] inline void FeatureReader::put(Slot slot, Code code) { put_odd(!paths_[slot].is_usual(code), Deviation::of(slot, code)); }

// A value of the dictionary brings its code along: it is not looked at again.
[[gnu::always_inline]] inline bool FeatureReader::known_value(int column, Slot slot, std::string_view text, ValueKind kind) {
  const Dictionary& known = columns_[static_cast<std::size_t>(column)].values;
  const std::uint8_t id = known.find(text, kind);
  if (id == 0) return false;
  put_odd(!known[id].usual, Deviation::of(slot, known[id].code));
  std::uint8_t& kept = features_.values[static_cast<std::size_t>(column)];
  kept = std::max(kept, id);  // several elements of an array: one of them, always the same
  return true;
}

// Sorts what was unusual, each once.
void FeatureReader::settle() {
  if (odd_count_ > 32) {
    std::sort(odd_, odd_ + odd_count_);
    odd_count_ = static_cast<std::size_t>(std::unique(odd_, odd_ + odd_count_) - odd_);
    return;
  }
  std::size_t kept = 0;  // few, and almost in order
  for (std::size_t i = 0; i < odd_count_; ++i) {
    const Deviation one = odd_[i];
    std::size_t at = kept;
    while (at > 0 && one < odd_[at - 1]) --at;
    if (at > 0 && one == odd_[at - 1]) continue;
    for (std::size_t to = kept++; to > at; --to) odd_[to] = odd_[to - 1];
    odd_[at] = one;
  }
  odd_count_ = kept;
}

void FeatureReader::tell_absent(Slot object, std::uint64_t stamp) {
  for (const Slot child : watched_[object])
    if (paths_[child].stamp != stamp) put(child, code::kAbsent);
}

namespace portable {
constexpr auto& sets_of = portable_sets;
#if defined(__x86_64__)
constexpr auto& mark_stops = sse2_stops;
#else
constexpr auto& mark_stops = portable_stops;
#endif
#include "content/walk.inc"
}  // namespace portable

#if defined(__x86_64__)
CLAW_TARGET_BEGIN("avx2,bmi,bmi2,lzcnt,popcnt")
namespace avx2 {
constexpr auto& sets_of = avx2_sets;
constexpr auto& mark_stops = avx2_stops;
#include "content/walk.inc"
}  // namespace avx2
CLAW_TARGET_END

CLAW_TARGET_BEGIN("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512dq")
namespace avx512 {
constexpr auto& sets_of = avx512_sets;
constexpr auto& mark_stops = avx512_stops;
#include "content/walk.inc"
}  // namespace avx512
CLAW_TARGET_END
#endif

namespace {

struct Ways {
  std::array<FeatureReader::Way, 3> all;  // best first
  std::size_t count = 0;
};

Ways make_ways() {
  Ways ways;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool common = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  if (common && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) ways.all[ways.count++] = {"avx512", avx512::Walk::read};
  if (common) ways.all[ways.count++] = {"avx2", avx2::Walk::read};
#endif
  ways.all[ways.count++] = {"portable", portable::Walk::read};
  return ways;
}

const Ways kWays = make_ways();

}  // namespace

const Features& FeatureReader::read(std::span<const Field> fields) { return kWays.all[0].read(*this, fields); }

std::span<const FeatureReader::Way> FeatureReader::ways() { return std::span(kWays.all).first(kWays.count); }

}  // namespace claw::content
