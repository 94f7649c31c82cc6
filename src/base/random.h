// Chance as an argument. The real source is the kernel; tests pass a seeded one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace claw {

// Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::byte> out) = 0;
  // Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // `bytes` random bytes as lowercase hex.
  std::string hex(std::size_t bytes);
};

Random& system_random();

}  // namespace claw
