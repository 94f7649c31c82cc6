// What keeps the agent from hammering a broker that is ill: a circuit breaker, and how long to wait before a read is tried
// again. Pure: the time and chance are arguments.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "base/clock.h"
#include "base/random.h"

namespace claw {

struct BreakerRule {
  std::size_t window = 100;             // last calls that are looked at
  std::size_t least = 20;               // fewer tell nothing
  std::int64_t failed_bps = 1'000;      // this share of failures opens it
  std::int64_t slow_bps = 5'000;        // or this share of slow calls
  Millis slow{2'000};
  Millis first_pause{60'000};           // doubles with each opening that a probe did not close
  Millis longest_pause{900'000};
  std::size_t probes = 3;               // read-only calls that must succeed in a row to close it
};

// One a broker. Used by one thread.
class Breaker {
 public:
  enum class State { closed, open, half_open };

  explicit Breaker(BreakerRule rule = {}) : rule_(rule) {}

  // Half open lets read-only calls through, and nothing that changes the broker.
  bool allows(MonoTime now, bool read_only) const;
  // Of a call that was let through.
  void report(MonoTime now, bool succeeded, Millis took);
  State state(MonoTime now) const;
  // When it will let probes through; now or earlier when it does already.
  MonoTime opens_for_probes() const { return until_; }
  std::uint64_t openings() const { return openings_; }
  // An operator's word: closed, as new.
  void reset() { *this = Breaker(rule_); }
  // "open for 58s after 12 of 100 calls failed"
  std::string words(MonoTime now) const;

 private:
  struct Call {
    bool succeeded;
    bool slow;
  };
  void trip(MonoTime now);

  BreakerRule rule_;
  std::deque<Call> calls_;
  bool closed_ = true;
  MonoTime until_{};
  Millis pause_{0};
  std::size_t good_probes_ = 0;
  std::uint64_t openings_ = 0;
  std::string why_;
};
std::string_view name(Breaker::State state);

// Decorrelated jitter: min(cap, base … 3 × the pause before). Spreads callers out where a fixed doubling keeps them in step.
class Backoff {
 public:
  Backoff(Random& random, Millis base, Millis cap) : random_(random), base_(base), cap_(cap), last_(base) {}
  Millis next();

 private:
  Random& random_;
  Millis base_;
  Millis cap_;
  Millis last_;
};

}  // namespace claw
