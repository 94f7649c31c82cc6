// One streaming pass over queues: the calling thread reads pages, another core examines them. Bounded memory.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "broker/broker.h"
#include "detect/detect.h"

namespace claw {

struct ScanProgress {
  std::function<void(std::uint64_t done, std::uint64_t total)> advance;
  std::function<bool()> brake_on;
};

// A look that hides what it sees and is not over yet: the conclusion says what it may keep.
struct OpenLook {
  std::uint32_t queue = 0;  // index in the tally
  std::unique_ptr<Window> window;
};

// Looks at `queues` in order, all of `broker`; `first_index` is the index of queues[0] in the tally. Looks of LookKind::take
// stay open in `open`.
Status scan_queues(Broker& broker, std::span<const QueueView> queues, std::uint32_t first_index, detect::Tally& tally, std::vector<OpenLook>& open,
                   Clock& clock, const ScanProgress& progress);

}  // namespace claw
