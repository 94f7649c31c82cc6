// Bytes to sealed bytes and back: zstd, then libsodium secretstream in 64 KiB chunks.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace claw {

inline constexpr std::size_t kKeyBytes = 32;

// `bound` is authenticated with every chunk and must be the same on opening.
Result<std::string> seal(std::string_view plain, std::string_view key, std::string_view bound);
// Code::corrupt when anything was changed, cut off, added or reordered, or the key or `bound` is another.
Result<std::string> unseal(std::string_view sealed, std::string_view key, std::string_view bound);

// One small secret under a key: nonce (24 bytes) and secretbox.
std::string wrap(std::string_view plain, std::string_view key, std::string_view nonce);
Result<std::string> unwrap(std::string_view wrapped, std::string_view key);

}  // namespace claw
