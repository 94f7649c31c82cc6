// One streaming pass over queues: the calling thread reads pages, another core examines them. Bounded memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "broker/broker.h"
#include "detect/detect.h"

namespace claw {

struct ScanProgress {
  std::function<void(std::uint64_t done, std::uint64_t total)> advance;
  std::function<bool()> brake_on;
  std::function<void(std::string_view text)> note;  // a queue that must not be looked at, and why; what a look had to do
};

// A look that hides what it sees and is not over yet: the conclusion says what it may keep.
struct OpenLook {
  std::uint32_t queue = 0;  // index in the tally
  std::unique_ptr<Window> window;
};

// Looks at `queues` in order, all of `broker` and of one tenant, whose bodies `contract` describes; `first_index` is the index of queues[0] in the tally. Looks that still
// hold something stay open in `open`. Several brokers' queues may be looked at at once, into one tally.
Status scan_queues(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, const content::Agreed& agreed,
                   detect::Tally& tally, std::vector<OpenLook>& open, Clock& clock, const ScanProgress& progress);

}  // namespace claw
