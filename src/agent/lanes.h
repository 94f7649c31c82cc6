// The guarded broker connections of one agent, by name. A lane is opened when it is first needed.
#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/guarded_broker.h"

namespace claw {

// Used by one thread at a time; its own threads do the rest. Everything that it is given outlives it.
class Lanes {
 public:
  using Views = Result<std::vector<QueueView>>;
  // Runs on a thread of its own; touches nothing that it does not own.
  using Survey = std::function<Views(Broker& broker, Deadline deadline)>;

  Lanes(const Config& config, const AgentDeps& deps, std::function<bool()> brake_on);
  // Waits for what a broker has not answered yet.
  ~Lanes() = default;

  // Owned by this; good until drop(). Waits for a survey that was left behind: Code::unavailable when it stays unanswered.
  Result<Broker*> get(const BrokerName& name);
  // The next get() connects anew; the breaker remembers.
  void drop(const BrokerName& name);
  std::vector<BreakerLine> breakers() const;
  Status reset_breaker(const BrokerName& name);

  // Asks these brokers all at once and waits at most `patience`: a slow or dead one delays no other. One that has not answered by
  // then is Code::timed_out; its answer, when it comes, is that of the next call, which does not ask it again meanwhile.
  std::map<BrokerName, Views> survey(std::map<BrokerName, Survey> asked, Millis patience);

 private:
  struct Lane {
    Breaker breaker;
    std::unique_ptr<Broker> broker;
    std::future<Views> surveyed;  // valid while a thread of ours uses this lane
    MonoTime since{};             // when that began
  };
  Result<Broker*> open(const BrokerName& name, Lane& lane, Millis patience);
  bool in_use(const Lane& lane) const;  // by a thread of ours

  const Config& config_;
  const AgentDeps& deps_;
  std::function<bool()> brake_on_;
  std::map<BrokerName, Lane> lanes_;  // of each configured broker
};

}  // namespace claw
