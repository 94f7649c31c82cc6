#include "agent/guarded_broker.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace claw {
namespace {

// The broker's own trouble; anything else is the caller's, and says nothing of the broker's health.
bool is_trouble(Code code) {
  switch (code) {
    case Code::timed_out:
    case Code::unavailable:
    case Code::throttled:
    case Code::outcome_unknown: return true;
    case Code::denied:
    case Code::not_found:
    case Code::conflict:
    case Code::lease_lost:
    case Code::unsupported:
    case Code::invalid:
    case Code::refused:
    case Code::full:
    case Code::corrupt: return false;
  }
  std::abort();
}

class GuardedBroker final : public Broker {
 public:
  GuardedBroker(BrokerName name, BrokerGuards guards, Breaker& breaker) : name_(std::move(name)), guards_(std::move(guards)), breaker_(breaker) {}

  Result<Pong> check(Deadline deadline) override {
    return reading([&](Broker& b) { return b.check(deadline); }, deadline);
  }
  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override {
    return reading([&](Broker& b) { return b.discover(claims, deadline); }, deadline);
  }
  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override {
    return reading([&](Broker& b) { return b.measure(queues, deadline); }, deadline);
  }
  // A window lives on the connection it was opened on: what breaks later is its reader's to see.
  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override {
    return reading([&](Broker& b) { return b.look(queue, deadline); }, deadline);
  }
  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known, Deadline deadline) override {
    return reading([&](Broker& b) { return b.read(queue, messages, known, deadline); }, deadline);
  }
  Result<std::vector<Quarantined>> quarantined(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    return reading([&](Broker& b) { return b.quarantined(queue, quarantine, execution_id, deadline); }, deadline);
  }
  Result<std::vector<QuarantinedDigest>> quarantined_digests(const QueueId& queue, const std::string& quarantine, const std::string& execution_id, Deadline deadline) override {
    return reading([&](Broker& b) { return b.quarantined_digests(queue, quarantine, execution_id, deadline); }, deadline);
  }
  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override {
    return changing([&](Broker& b) { return b.remove(request, deadline); }, deadline);
  }
  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override {
    return changing([&](Broker& b) { return b.restore(request, deadline); }, deadline);
  }
  Status quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline deadline) override {
    return changing([&](Broker& b) { return b.quarantine_again(request, numbers, deadline); }, deadline);
  }
  std::uint64_t out_of_reach(const PlannedQueue& queue, Millis block_budget) const override { return inner_->out_of_reach(queue, block_budget); }
  std::string quarantine_name(const QueueId& queue) const override { return inner_->quarantine_name(queue); }

  Status connect(Deadline deadline) {
    if (inner_ != nullptr && !lost_) return {};
    CLAW_TRY_ASSIGN(inner_, guards_.open(deadline));
    lost_ = false;
    return {};
  }

 private:
  Status may_call(bool read_only) {
    if (guards_.brake_on()) return make_error(Code::refused, "broker " + name_, "the brake is on: nothing is asked of it");
    const MonoTime now = guards_.clock.mono();
    if (breaker_.allows(now, read_only)) return {};
    return make_error(Code::unavailable, "broker " + name_, "its breaker is " + breaker_.words(now));
  }

  // One call, timed and reported. After trouble the connection is not used again.
  template <class F>
  auto once(F&& call, bool read_only, Deadline deadline) -> std::invoke_result_t<F, Broker&> {
    CLAW_TRY(may_call(read_only));
    const MonoTime start = guards_.clock.mono();
    using Answer = std::invoke_result_t<F, Broker&>;
    Answer answer = [&]() -> Answer {
      CLAW_TRY(connect(deadline));
      return call(*inner_);
    }();
    const bool trouble = !answer.ok() && is_trouble(answer.error().code);
    // A long read of a large queue is no sign of a slow broker.
    breaker_.report(guards_.clock.mono(), !trouble, trouble ? elapsed(start, guards_.clock.mono()) : Millis(0));
    lost_ |= trouble;
    return answer;
  }

  template <class F>
  auto reading(F&& call, Deadline deadline) -> std::invoke_result_t<F, Broker&> {
    Backoff backoff(guards_.random, guards_.backoff_base, guards_.backoff_cap);
    for (int attempt = 1;; ++attempt) {
      auto answer = once(call, true, deadline);
      if (answer.ok() || !is_trouble(answer.error().code) || attempt == guards_.attempts || deadline.expired(guards_.clock)) return answer;
      guards_.clock.sleep(std::min(backoff.next(), deadline.remaining(guards_.clock)));
    }
  }

  template <class F>
  auto changing(F&& call, Deadline deadline) -> std::invoke_result_t<F, Broker&> {
    return once(call, false, deadline);
  }

  BrokerName name_;
  BrokerGuards guards_;
  Breaker& breaker_;
  std::unique_ptr<Broker> inner_;
  bool lost_ = false;  // to be opened anew before the next call
};

}  // namespace

Result<std::unique_ptr<Broker>> guard(BrokerName name, BrokerGuards guards, Breaker& breaker, Deadline deadline) {
  auto broker = std::make_unique<GuardedBroker>(std::move(name), std::move(guards), breaker);
  CLAW_TRY(broker->connect(deadline));
  return std::unique_ptr<Broker>(std::move(broker));
}

}  // namespace claw
