// From a broker's config to its adapter: the only place that knows which adapters there are.
#pragma once

#include "agent/agent.h"

namespace claw {

BrokerFactory broker_factory(Disk& disk, Clock& clock);

}  // namespace claw
