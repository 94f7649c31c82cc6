// Bytes to sealed bytes and back: zstd, then libsodium secretstream in 64 KiB chunks. In a stream: of any length in bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace claw {

inline constexpr std::size_t kKeyBytes = 32;

// One zstd frame that states its size. decompress(): Code::corrupt on anything else, and on claims that no frame of this size
// could keep.
Result<std::string> compress(std::string_view plain);
Result<std::string> decompress(std::string_view packed);

// `size` bytes in, sealed bytes out, each call's to be appended to those before. `bound` is authenticated with every chunk and
// must be the same on opening.
class Sealer {
 public:
  Sealer(std::string_view key, std::string_view bound, std::uint64_t size);
  ~Sealer();
  Result<std::string> push(std::string_view plain);
  // After exactly `size` bytes.
  Result<std::string> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The inverse. Code::corrupt when anything was changed, cut off, added or reordered, or the key or `bound` is another.
class Unsealer {
 public:
  Unsealer(std::string_view key, std::string_view bound);
  ~Unsealer();
  Result<std::string> push(std::string_view sealed);
  Result<std::string> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Both at once.
Result<std::string> seal(std::string_view plain, std::string_view key, std::string_view bound);
Result<std::string> unseal(std::string_view sealed, std::string_view key, std::string_view bound);

// One small secret under a key: nonce (24 bytes) and secretbox.
std::string wrap(std::string_view plain, std::string_view key, std::string_view nonce);
Result<std::string> unwrap(std::string_view wrapped, std::string_view key);

}  // namespace claw
