// SHA-256, HMAC-SHA-256, a short hash that lasts, and the text forms of bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace claw {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(std::string_view bytes);
Digest hmac_sha256(std::string_view key, std::string_view bytes);

// One pass over pieces: update any number of times, then finish once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Not against anybody who wants a collision. The same in every build and on every machine: it may be kept on disk.
std::uint64_t stable_hash(std::uint64_t seed, std::string_view bytes);
std::uint64_t stable_hash(std::uint64_t seed, std::uint64_t word);

std::string_view view(const Digest& digest);
std::string hex(std::string_view bytes);
std::string hex(const Digest& digest);
Result<std::string> unhex(std::string_view text);
std::string base64(std::string_view bytes);
// Strict: standard alphabet, padded, no white space.
Result<std::string> unbase64(std::string_view text);

// "sha256:<64 hex>"
std::string sha256_label(std::string_view bytes);

}  // namespace claw
