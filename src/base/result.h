// Result<T>: a value or an Error that says what failed, where, and what the caller can do about it.
#pragma once

#include <cstdlib>
#include <expected>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace claw {

// Grouped by what the caller does next. Written to disk and to JSON by name, never by number.
enum class Code {
  // Wait and try again.
  timed_out,
  unavailable,
  throttled,
  denied,
  // Change the request.
  not_found,
  conflict,
  lease_lost,
  unsupported,
  invalid,
  // A guard or a policy said no; the detail is the reason.
  refused,
  // Stop: nothing may be done until somebody looks.
  full,
  corrupt,
  // Sent and never confirmed: read and reconcile, never repeat blindly.
  outcome_unknown,
};

std::string_view name(Code code);

struct Error {
  Code code;
  std::string op;      // what was attempted, on what: "XRANGE orders:tenant_42"
  std::string detail;  // what happened and what was expected instead

  // "XRANGE orders:tenant_42: key holds a hash, expected a stream (invalid)". Not escaped.
  std::string message() const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(const T& value) requires std::is_copy_constructible_v<T> : inner_(value) {}
  Result(T&& value) : inner_(std::move(value)) {}
  template <class U>
    requires(!std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error> &&
             !std::is_same_v<std::remove_cvref_t<U>, T> && std::is_convertible_v<U, T>)
  Result(U&& value) : inner_(std::in_place, std::forward<U>(value)) {}
  Result(Error error) : inner_(std::unexpect, std::move(error)) {}

  bool ok() const { return inner_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& value() & { return check(), *inner_; }
  const T& value() const& { return check(), *inner_; }
  T&& value() && { return check(), std::move(*inner_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return inner_.error(); }
  Error&& error() && { return std::move(inner_.error()); }

 private:
  void check() const {
    if (!inner_.has_value()) std::abort();
  }
  std::expected<T, Error> inner_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : inner_(std::unexpect, std::move(error)) {}

  bool ok() const { return inner_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& { return inner_.error(); }
  Error&& error() && { return std::move(inner_.error()); }

 private:
  std::expected<void, Error> inner_;
};

using Status = Result<void>;

inline Error make_error(Code code, std::string op, std::string detail) {
  return Error{code, std::move(op), std::move(detail)};
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace claw

#define CLAW_CONCAT_INNER(a, b) a##b
#define CLAW_CONCAT(a, b) CLAW_CONCAT_INNER(a, b)

// CLAW_TRY(expr): return the error of a Status (or of a Result whose value is not needed).
#define CLAW_TRY(expr)                                              \
  do {                                                              \
    if (auto claw_try_ = (expr); !claw_try_.ok())                   \
      return std::move(claw_try_).error();                          \
  } while (false)

// CLAW_TRY_ASSIGN(auto x, expr): declare or assign x, or return the error.
#define CLAW_TRY_ASSIGN(lhs, expr) \
  CLAW_TRY_ASSIGN_INNER(CLAW_CONCAT(claw_result_, __LINE__), lhs, expr)
#define CLAW_TRY_ASSIGN_INNER(tmp, lhs, expr) \
  auto tmp = (expr);                          \
  if (!tmp.ok()) return std::move(tmp).error(); \
  lhs = std::move(tmp).value()

// Always on: a broken promise of our own ends the process before it can touch a message.
#define CLAW_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::claw::check_failed(#condition, __FILE__, __LINE__))
