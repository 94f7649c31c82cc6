// The open broker connections of one agent, by name. A lane is opened when it is first needed and again after a loss.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/agent.h"

namespace claw {

// Used by one thread at a time.
class Lanes {
 public:
  Lanes(const Config& config, Clock& clock, BrokerFactory open) : config_(config), clock_(clock), open_(std::move(open)) {}

  // Owned by this; good until drop() or the next get() after a loss.
  Result<Broker*> get(const BrokerName& name);
  void drop(const BrokerName& name) { open_lanes_.erase(name); }

 private:
  const Config& config_;
  Clock& clock_;
  BrokerFactory open_;
  std::map<BrokerName, std::unique_ptr<Broker>> open_lanes_;
};

}  // namespace claw
