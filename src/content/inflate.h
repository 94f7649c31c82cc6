// Compressed bodies: one declared layer, bounded in size and ratio.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "content/visitor.h"

namespace claw::content {

enum class Compression { none, gzip, zstd };  // gzip: zlib's own framing too

// What a Content-Encoding header (or its like) declares; nothing for an encoding that is not known here.
std::optional<Compression> declared_compression(std::string_view encoding);

inline constexpr std::size_t kMaxInflated = 16u << 20;
inline constexpr std::size_t kMaxInflateRatio = 100;

// The plain bytes, or why there are none. Never more than min(kMaxInflated, kMaxInflateRatio × body) and 64 KiB are made.
std::variant<std::string, Flaw> inflate(Compression how, std::string_view body);

}  // namespace claw::content
