// One reading pass over a list that others push to and pop from meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "redis/connection.h"

namespace claw::redis {

struct WalkedEntry {
  std::int64_t place = 0;  // index when it was read
  std::int64_t drift = 0;  // how far the list had moved by then: what was pushed at the head since the start, less what was popped
  bool adjoins = true;     // false: what stood between this entry and the last one was not seen
  std::string_view body;
  std::uint64_t digest = 0;
};

// Where an entry is now: its place + extent.drift - its drift, give or take what happened since.
struct Extent {
  std::int64_t length = 0;
  std::int64_t drift = 0;
  std::uint64_t bytes = 0;
};

// From the head, in pages that overlap, so that entries that come and go at the head are noticed and none is seen twice.
Result<Extent> walk_list(Connection& connection, const std::string& key, const std::function<void(const WalkedEntry&)>& see, Deadline deadline);

}  // namespace claw::redis
