// A clock that stands still until it is told to go on, or until somebody sleeps.
#pragma once

#include "base/clock.h"
#include "base/guarded.h"

namespace claw::testing {

// Thread-safe.
class SimClock final : public Clock {
 public:
  WallTime now() const override {
    return time_.with([](const Times& t) { return t.wall; });
  }
  MonoTime mono() const override {
    return time_.with([](const Times& t) { return t.mono; });
  }
  void sleep(Millis duration) override { advance(duration); }
  void advance(Millis duration) {
    time_.with([&](Times& t) {
      t.wall += duration;
      t.mono += duration;
    });
  }
  // The wall clock is set by somebody; monotonic time does not notice.
  void jump(Millis by) {
    time_.with([&](Times& t) { t.wall += by; });
  }

 private:
  struct Times {
    WallTime wall{std::chrono::hours(24 * 365 * 55)};
    MonoTime mono{std::chrono::hours(1)};
  };
  Guarded<Times> time_;
};

}  // namespace claw::testing
