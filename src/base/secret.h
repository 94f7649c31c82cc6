// A value that must not be printed, logged, compared carelessly or left in freed memory.
#pragma once

#include <string>
#include <string_view>

namespace claw {

// Move-only. There is no operator<<, no fmt formatter and no implicit conversion: reveal() is the
// one word to search for. The memory is wiped on destruction and on move.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(Secret&& other) noexcept { *this = std::move(other); }
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  Secret clone() const { return Secret(value_); }
  bool empty() const { return value_.empty(); }
  // The caller must not store, log or send this anywhere but to the one place it is for.
  std::string_view reveal() const { return value_; }

 private:
  void wipe() noexcept;
  std::string value_;
};

}  // namespace claw
