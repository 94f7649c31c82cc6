#include "agent/lanes.h"

namespace claw {
namespace {

constexpr Millis kConnectTimeout{10'000};

}  // namespace

Result<Broker*> Lanes::get(const BrokerName& name) {
  if (const auto found = open_lanes_.find(name); found != open_lanes_.end()) return found->second.get();
  const BrokerConfig* broker = config_.broker(name);
  if (broker == nullptr) return make_error(Code::not_found, "broker " + name, "is not in " + config_.file);
  const auto open = [this, told = *broker](Deadline deadline) mutable {
    told.state_dir = config_.data_dir + "/brokers";
    return deps_.open_broker(told, deadline);
  };
  CLAW_TRY_ASSIGN(auto lane, guard(name, {.clock = deps_.clock, .random = deps_.random, .brake_on = brake_on_, .open = open}, breaker(name),
                                   Deadline::in(deps_.clock, kConnectTimeout)));
  return open_lanes_.emplace(name, std::move(lane)).first->second.get();
}

}  // namespace claw
