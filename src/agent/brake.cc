#include "agent/brake.h"

namespace claw {

bool brake_on(Disk& disk, const std::string& data_dir) {
  const Result<bool> there = disk.exists(data_dir + "/brake");
  return !there || *there;
}

Status set_brake(Disk& disk, const std::string& data_dir, bool on) {
  const std::string path = data_dir + "/brake";
  if (on) {
    CLAW_TRY(disk.make_dirs(data_dir));
    CLAW_TRY(disk.open_append(path, Mode::owner_only));  // an empty file: a full disk does not stop the brake
  } else {
    CLAW_TRY_ASSIGN(const bool there, disk.exists(path));
    if (there) CLAW_TRY(disk.remove(path));
  }
  return disk.sync_dir(data_dir);
}

}  // namespace claw
