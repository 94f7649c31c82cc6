// What is worth waking somebody for: opened when it has lasted, closed when it is over for good, and nothing in between. Pure.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "policy/policy.h"

namespace claw {

struct Alert {
  std::string id;        // "tenant:acme", "broker:redis-eu": one alert each, whatever is wrong with it
  TenantId tenant;       // empty: everybody's
  std::string severity;  // "critical", "warning", "info"
  std::string summary;   // one line
  std::vector<std::string> details;
  WallTime since;
};

struct AlertRule {
  Millis open_after = std::chrono::seconds(30);
  Millis close_after = std::chrono::seconds(60);
};

// A tenant is in trouble when it breaches its SLA and does not heal by itself, or has a symptom. A broker that cannot be asked
// is in trouble; what is known of its tenants stays as it was. Used by one thread.
class Alerts {
 public:
  explicit Alerts(AlertRule rule = {}) : rule_(rule) {}
  // As it was when an earlier agent stopped.
  void restore(const Alert& open) { known_[open.id] = {.alert = open, .open = true}; }

  struct Change {
    std::vector<Alert> opened;
    std::vector<Alert> closed;
  };
  // `unreachable`: brokers, and why. `unknown`: tenants with queues there.
  Change update(std::span<const TenantHealth> tenants, const std::map<BrokerName, std::string>& unreachable, const std::set<TenantId>& unknown, WallTime now);

 private:
  struct Known {
    Alert alert;
    bool open = false;
    WallTime good_since{};  // epoch: it is in trouble now
  };
  AlertRule rule_;
  std::map<std::string, Known> known_;  // what is in trouble, or was lately
};

}  // namespace claw
