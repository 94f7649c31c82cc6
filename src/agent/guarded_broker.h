// Between the agent and each broker: the brake before every call, the breaker, and another try of what only reads.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/random.h"
#include "broker/broker.h"
#include "policy/breaker.h"

namespace claw {

struct BrokerGuards {
  Clock& clock;
  Random& random;
  std::function<bool()> brake_on;                                      // asked before every call
  std::function<Result<std::unique_ptr<Broker>>(Deadline)> open;       // a fresh connection
  int attempts = 3;                                                    // of a call that only reads
  Millis backoff_base{100};
  Millis backoff_cap{20'000};
};

// Owns the connection; opens it now and again after a loss. Calls that change the broker are never repeated:
// their caller reconciles. Refuses with Code::refused (brake) and Code::unavailable (breaker). Used by one thread.
Result<std::unique_ptr<Broker>> guard(BrokerName name, BrokerGuards guards, Breaker& breaker, Deadline deadline);

}  // namespace claw
