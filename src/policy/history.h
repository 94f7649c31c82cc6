// The last hours of every queue, in memory: what an evaluation compares with, without asking the store.
#pragma once

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "model/queue.h"
#include "model/sample.h"

namespace claw {

// How long a stored sample is worth keeping: one of each ten minutes longest.
enum class Grain { fine, minute, ten_minutes };

// Bounded for each queue: what does not change costs two samples, what is old grows thin. Used by one thread.
class History {
 public:
  static constexpr std::size_t kMost = 256;  // samples of a queue

  bool knows(const QueueId& queue) const { return queues_.contains(queue); }
  // `earlier`: oldest first, from the store; before the first add().
  void begin(const QueueId& queue, std::vector<Sample> earlier);
  // In the order of time; one of the past is left out (a clock that was set back begins a new history).
  // Says whether the store should keep it too, and for how long.
  std::optional<Grain> add(const QueueId& queue, const Sample& sample);
  // Oldest first.
  std::span<const Sample> of(const QueueId& queue) const;
  // Of these, from `since` on.
  std::span<const Sample> of(const QueueId& queue, WallTime since) const;

 private:
  struct Queue {
    std::vector<Sample> samples;
    std::optional<WallTime> stored;
  };
  struct Hash {
    std::size_t operator()(const QueueId& id) const { return stable_hash(stable_hash(0, id.broker), id.name); }
  };
  std::unordered_map<QueueId, Queue, Hash> queues_;
};

}  // namespace claw
