// What the agent saw last, published for everybody who only looks.
#pragma once

#include <memory>

#include "agent/agent.h"
#include "base/guarded.h"

namespace claw::api {

struct Seen {
  std::uint64_t number = 0;  // of the evaluation, from 1
  WallTime at;
  Topology topology;
  Health health;  // worst first
};

// Thread-safe. Readers share one value that never changes.
class Board {
 public:
  explicit Board(Clock& clock) : clock_(clock) {}
  void publish(const Topology& topology, const Health& health);
  std::shared_ptr<const Seen> latest() const;  // null before the first evaluation

 private:
  Clock& clock_;
  Guarded<std::shared_ptr<const Seen>> latest_;
};

}  // namespace claw::api
