// Time as an argument: wall time for people, monotonic time for durations and deadlines.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace claw {

using Millis = std::chrono::milliseconds;
using Micros = std::chrono::microseconds;
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
using MonoTime = std::chrono::steady_clock::time_point;

// Thread-safe. The real one is system_clock(); tests and the simulator pass their own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual MonoTime mono() const = 0;
  // Sleeps at most `duration`.
  virtual void sleep(Millis duration) = 0;
};

Clock& system_clock();

// The point after which a call gives up. A value; every call that can wait takes one.
class Deadline {
 public:
  explicit Deadline(MonoTime at) : at_(at) {}
  static Deadline in(const Clock& clock, Millis duration) { return Deadline(clock.mono() + duration); }

  MonoTime at() const { return at_; }
  bool expired(const Clock& clock) const { return clock.mono() >= at_; }
  // Never negative.
  Millis remaining(const Clock& clock) const;
  Deadline or_sooner(Deadline other) const { return at_ < other.at_ ? *this : other; }

 private:
  MonoTime at_;
};

// "2025-01-18T14:32:17Z"
std::string rfc3339(WallTime time);
Result<WallTime> parse_rfc3339(std::string_view text);

// "90s", "5m", "15m", "2h", "1d", "250ms": one number and one unit.
Result<Millis> parse_duration(std::string_view text);
// "8m 34s", "42s", "1h 42m", "156ms": two units at most.
std::string human(Millis duration);

// Whole milliseconds between two points, rounded up so that work never shows as zero.
Millis elapsed(MonoTime from, MonoTime to);

}  // namespace claw
