// A disk in memory that forgets what was not synced and fails when told to.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/disk.h"

namespace claw::testing {

// Stricter than life: content survives a crash only up to the last File::sync(), and a name (new, renamed or
// removed) only from the last sync_dir() of its directory. Objects made before a crash() must not be used after it,
// except to be destroyed. Thread-safe.
class FaultDisk final : public Disk {
 public:
  // Every call that can change the disk counts as one operation: append, sync, truncate, open_append, open_scratch, rename,
  // remove, make_dirs, sync_dir. From the `k`-th on (1 = the next) all fail, as on a machine that died; an append
  // that fails leaves its first half behind, unsynced. 0 = never.
  void fail_at(std::uint64_t k);
  std::uint64_t operations() const;
  // Power loss: back to what is durable, and no more failures. With `keep_unsynced`, what was not synced survived
  // by luck, as it also may: the half of a torn append with it.
  void crash(bool keep_unsynced = false);

  Result<std::unique_ptr<File>> open_append(const std::string& path, Mode mode) override;
  Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  Result<std::unique_ptr<File>> open_scratch(const std::string& dir) override;
  Result<bool> exists(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_dirs(const std::string& path) override;
  Status sync_dir(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::uint64_t> free_bytes(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;

  struct Inode {
    std::string bytes;
    std::string durable;
  };

 private:
  friend class FaultFile;
  friend class FaultLock;
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  Status step(const std::string& op);  // under the lock

  mutable std::mutex mutex_;
  Names names_;
  Names durable_;
  std::set<std::string> dirs_;
  std::set<std::string> locks_;
  std::uint64_t generation_ = 0;  // locks of before a crash are no locks
  std::uint64_t operations_ = 0;
  std::uint64_t fail_from_ = 0;
};

}  // namespace claw::testing
