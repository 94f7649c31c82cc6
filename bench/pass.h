// What the benches of brokers share: errors that end the program, a timed pass, and a scan as the agent makes it.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "agent/scan.h"
#include "base/clock.h"
#include "base/result.h"

namespace claw::bench {

inline Deadline soon() { return Deadline::in(system_clock(), std::chrono::minutes(5)); }

template <class T>
T sure(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().message());
  std::exit(1);
}

inline void sure(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.error().message());
  std::exit(1);
}

inline double since(MonoTime start) { return std::chrono::duration<double>(system_clock().mono() - start).count(); }

struct Pass {
  std::uint64_t messages = 0;
  double seconds = 0;
  double per_s() const { return static_cast<double>(messages) / seconds; }
};

inline void faster(Pass& best, const Pass& pass) {
  if (best.messages == 0 || pass.per_s() > best.per_s()) best = pass;
}

// Until everything that was looked at is back in the queue.
inline Pass examined(Broker& broker, const std::vector<QueueView>& queues, Observation& seen) {
  const ScanProgress quiet{.advance = [](std::uint64_t, std::uint64_t) {}, .brake_on = [] { return false; }, .note = [](std::string_view) {}};
  const MonoTime start = system_clock().mono();
  detect::Tally tally;
  std::vector<OpenLook> open;
  sure(scan_queues(broker, queues, 0, {}, tally, open, system_clock(), quiet));
  seen = sure(detect::conclude(tally, "t", queues, {}));
  for (OpenLook& look : open) sure(look.window->settle({}, soon()));
  return {.messages = seen.messages_seen, .seconds = since(start)};
}

}  // namespace claw::bench
