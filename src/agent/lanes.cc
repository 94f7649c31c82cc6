#include "agent/lanes.h"

namespace claw {

Result<Broker*> Lanes::get(const BrokerName& name) {
  if (const auto found = open_lanes_.find(name); found != open_lanes_.end()) return found->second.get();
  const BrokerConfig* broker = config_.broker(name);
  if (broker == nullptr) return make_error(Code::not_found, "broker " + name, "is not in " + config_.file);
  BrokerConfig told = *broker;
  told.state_dir = config_.data_dir + "/brokers";
  CLAW_TRY_ASSIGN(auto lane, open_(told, Deadline::in(clock_, Millis(10'000))));
  return open_lanes_.emplace(name, std::move(lane)).first->second.get();
}

}  // namespace claw
