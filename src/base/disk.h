// The file system as an argument, with only the calls whose durability we can promise.
// The real one is system_disk(); testing/fault_disk.h drops what was not synced and fails on demand.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace claw {

enum class Mode : unsigned { owner_only = 0600, shared = 0644 };

// An open file. Used by one thread. The destructor closes and syncs nothing: success must be said.
class File {
 public:
  virtual ~File() = default;
  virtual Status append(std::string_view bytes) = 0;
  // After an error from sync the pages may be marked clean: never retry, stop (fsyncgate).
  virtual Status sync() = 0;
  virtual Result<std::string> read(std::uint64_t offset, std::size_t size) = 0;  // shorter at the end
  virtual Result<std::uint64_t> size() = 0;
  virtual Status truncate(std::uint64_t size) = 0;
};

// Held while it lives.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Thread-safe. Paths are plain; directories that are created have mode 0700.
class Disk {
 public:
  virtual ~Disk() = default;
  // Creates the file when absent.
  virtual Result<std::unique_ptr<File>> open_append(const std::string& path, Mode mode) = 0;
  // Fails with not_found when absent.
  virtual Result<std::unique_ptr<File>> open_read(const std::string& path) = 0;
  // Empty, without a name, to be written and read back by this process; gone when it is closed.
  virtual Result<std::unique_ptr<File>> open_scratch(const std::string& dir) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  // Replaces `to` in one step; durable only after sync_dir of its directory.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;
  // Makes missing parents too, and syncs each parent that changed.
  virtual Status make_dirs(const std::string& path) = 0;
  virtual Status sync_dir(const std::string& path) = 0;
  // Names (not paths), sorted.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<std::uint64_t> free_bytes(const std::string& path) = 0;
  // Code::conflict when another process holds it; the detail names the holder's pid when it is known.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;

  // Whole file; Code::full when it is larger than `limit`.
  Result<std::string> read_all(const std::string& path, std::uint64_t limit);
  // temp → write → sync → rename → sync the directory: afterwards the file is the old or the new one.
  Status write_atomically(const std::string& path, std::string_view bytes, Mode mode);
};

Disk& system_disk();

}  // namespace claw
