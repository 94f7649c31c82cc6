// How often we held each queue: a quorum queue counts what we gave back as if a consumer had failed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/disk.h"
#include "base/result.h"

namespace claw::rabbitmq {

// Kept in one small file; without a path, in memory only, and what was before is not known.
class HoldCounts {
 public:
  HoldCounts() = default;
  // Code::corrupt when the file is not one of ours.
  static Result<HoldCounts> open(Disk& disk, std::string path);

  // True when none of our holds is unknown: those of other agents and of people look like failures of consumers.
  bool complete() const { return disk_ != nullptr; }
  std::uint32_t of(const std::string& queue) const;
  // Durable before the hold begins: one that was cut off is counted.
  Status add(const std::string& queue);
  // Nothing that we held before the hold under way is in the queue any more.
  Status restart(const std::string& queue);

 private:
  Status save();

  Disk* disk_ = nullptr;
  std::string path_;
  std::map<std::string, std::uint32_t> counts_;
};

}  // namespace claw::rabbitmq
