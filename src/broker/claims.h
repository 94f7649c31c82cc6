// Whose queue is this: the claims on a broker, arranged so that a name is not compared with every one of them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"

namespace claw {

struct Owner {
  TenantId tenant;
  const Claim* claim = nullptr;
};

// Keeps pointers into `claims`. Any number of threads.
class Claims {
 public:
  Claims(const BrokerName& broker, std::span<const Claim> claims);

  // The one tenant that claims the queue and the first of its claims that does; nothing when nobody does. Two tenants:
  // Code::conflict naming both.
  Result<std::optional<Owner>> owner_of(std::string_view queue) const;

 private:
  const BrokerName& broker_;
  std::unordered_multimap<std::string_view, const Claim*> by_name_;
  std::vector<const Claim*> patterns_;
};

}  // namespace claw
