#include "policy/breaker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace claw {

Breaker::State Breaker::state(MonoTime now) const {
  if (closed_) return State::closed;
  return now < until_ ? State::open : State::half_open;
}

bool Breaker::allows(MonoTime now, bool read_only) const {
  switch (state(now)) {
    case State::closed: return true;
    case State::open: return false;
    case State::half_open: return read_only;
  }
  std::abort();
}

void Breaker::report(MonoTime now, bool succeeded, Millis took) {
  const bool slow = took > rule_.slow;
  if (!closed_) {
    if (!succeeded || slow) {
      why_ = "a probe failed";
      return trip(now);
    }
    if (++good_probes_ < rule_.probes) return;
    closed_ = true;
    calls_.clear();
    pause_ = Millis(0);
    return;
  }
  calls_.push_back({succeeded, slow});
  if (calls_.size() > rule_.window) calls_.pop_front();
  if (calls_.size() < rule_.least) return;
  const auto count = [this](auto&& of) { return static_cast<std::int64_t>(std::count_if(calls_.begin(), calls_.end(), of)); };
  const std::int64_t all = static_cast<std::int64_t>(calls_.size());
  const std::int64_t failed = count([](const Call& c) { return !c.succeeded; }), slow_calls = count([](const Call& c) { return c.slow; });
  if (failed * 10'000 >= rule_.failed_bps * all) why_ = fmt::format("{} of {} calls failed", failed, all);
  else if (slow_calls * 10'000 >= rule_.slow_bps * all) why_ = fmt::format("{} of {} calls took more than {}", slow_calls, all, human(rule_.slow));
  else return;
  trip(now);
}

void Breaker::trip(MonoTime now) {
  closed_ = false;
  good_probes_ = 0;
  ++openings_;
  pause_ = pause_ == Millis(0) ? rule_.first_pause : std::min(rule_.longest_pause, pause_ * 2);
  until_ = now + pause_;
}

std::string Breaker::words(MonoTime now) const {
  switch (state(now)) {
    case State::closed: return "closed";
    case State::open: return fmt::format("open for {} more: {}", human(elapsed(now, until_)), why_);
    case State::half_open: return fmt::format("half open, {} of {} probes succeeded: {}", good_probes_, rule_.probes, why_);
  }
  std::abort();
}

std::string_view name(Breaker::State state) {
  switch (state) {
    case Breaker::State::closed: return "closed";
    case Breaker::State::open: return "open";
    case Breaker::State::half_open: return "half_open";
  }
  std::abort();
}

Millis Backoff::next() {
  const std::int64_t span = std::max<std::int64_t>(1, last_.count() * 3 - base_.count() + 1);
  last_ = std::min(cap_, base_ + Millis(static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(span)))));
  return last_;
}

}  // namespace claw
