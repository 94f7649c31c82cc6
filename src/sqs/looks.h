// What we must remember of our own looks: each one spends one of the receives that a queue's RedrivePolicy allows, and
// shows in ApproximateReceiveCount as if a consumer had failed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/result.h"

namespace claw::sqs {

struct Look {
  std::string queue;
  WallTime from{};
  WallTime to{};  // while it runs: far enough ahead for the longest one
  std::uint64_t number = 0;  // within this process
};

// Kept in one small file, the newest kMostLooks; without a path, in memory only.
class Looks {
 public:
  static constexpr std::size_t kMostLooks = 4'000;

  static Result<Looks> open(Disk& disk, std::string path);
  // Durable before the look begins: one that was cut off is counted.
  Result<std::uint64_t> begin(const std::string& queue, WallTime now);
  Status end(std::uint64_t look, WallTime now);
  // At most this many of our looks can have taken a message that was sent at `sent`; the running one, `except`, aside.
  std::uint32_t since(const std::string& queue, WallTime sent, std::uint64_t except = 0) const;
  // The queue was seen empty: nothing that was looked at before is in it.
  Status forget(const std::string& queue, WallTime now);

 private:
  Looks(Disk& disk, std::string path) : disk_(&disk), path_(std::move(path)) {}
  Status save();

  Disk* disk_;
  std::string path_;
  std::vector<Look> looks_;
  std::uint64_t last_ = 0;
};

}  // namespace claw::sqs
