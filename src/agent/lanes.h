// The guarded broker connections of one agent, by name. A lane is opened when it is first needed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "agent/guarded_broker.h"

namespace claw {

// Used by one thread at a time. Everything that it is given outlives it.
class Lanes {
 public:
  Lanes(const Config& config, const AgentDeps& deps, std::function<bool()> brake_on) : config_(config), deps_(deps), brake_on_(std::move(brake_on)) {}

  // Owned by this; good until drop().
  Result<Broker*> get(const BrokerName& name);
  // The next get() connects anew; the breaker remembers.
  void drop(const BrokerName& name) { open_lanes_.erase(name); }
  Breaker& breaker(const BrokerName& name) { return breakers_[name]; }

 private:
  const Config& config_;
  const AgentDeps& deps_;
  std::function<bool()> brake_on_;
  std::map<BrokerName, Breaker> breakers_;
  std::map<BrokerName, std::unique_ptr<Broker>> open_lanes_;
};

}  // namespace claw
