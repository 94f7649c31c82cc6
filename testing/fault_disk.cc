#include "testing/fault_disk.h"

#include <algorithm>
#include <filesystem>

namespace claw::testing {
namespace {

std::string parent_of(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }

Error absent(const std::string& op) { return make_error(Code::not_found, op, "no such file or directory"); }

}  // namespace

class FaultFile final : public File {
 public:
  FaultFile(FaultDisk& disk, std::shared_ptr<FaultDisk::Inode> inode, std::string path, bool writable)
      : disk_(disk), inode_(std::move(inode)), path_(std::move(path)), writable_(writable) {}

  Status append(std::string_view bytes) override {
    CLAW_CHECK(writable_);
    const std::lock_guard lock(disk_.mutex_);
    const Status step = disk_.step("write " + path_);
    inode_->bytes.append(step.ok() ? bytes : bytes.substr(0, bytes.size() / 2));
    return step;
  }
  Status sync() override {
    const std::lock_guard lock(disk_.mutex_);
    CLAW_TRY(disk_.step("fdatasync " + path_));
    inode_->durable = inode_->bytes;
    return {};
  }
  Result<std::string> read(std::uint64_t offset, std::size_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    if (offset >= inode_->bytes.size()) return std::string();
    return inode_->bytes.substr(static_cast<std::size_t>(offset), size);
  }
  Result<std::uint64_t> size() override {
    const std::lock_guard lock(disk_.mutex_);
    return static_cast<std::uint64_t>(inode_->bytes.size());
  }
  Status truncate(std::uint64_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    CLAW_TRY(disk_.step("truncate " + path_));
    inode_->bytes.resize(static_cast<std::size_t>(size));
    return {};
  }

 private:
  FaultDisk& disk_;
  std::shared_ptr<FaultDisk::Inode> inode_;
  std::string path_;
  bool writable_;
};

class FaultLock final : public FileLock {
 public:
  FaultLock(FaultDisk& disk, std::string path, std::uint64_t generation)
      : disk_(disk), path_(std::move(path)), generation_(generation) {}
  ~FaultLock() override {
    const std::lock_guard lock(disk_.mutex_);
    if (disk_.generation_ == generation_) disk_.locks_.erase(path_);
  }

 private:
  FaultDisk& disk_;
  std::string path_;
  std::uint64_t generation_;
};

void FaultDisk::fail_at(std::uint64_t k) {
  const std::lock_guard lock(mutex_);
  fail_from_ = k == 0 ? 0 : operations_ + k;
}

std::uint64_t FaultDisk::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

void FaultDisk::crash(bool keep_unsynced) {
  const std::lock_guard lock(mutex_);
  if (keep_unsynced) durable_ = names_;
  names_.clear();
  for (const auto& [path, inode] : durable_) {
    const std::string& bytes = keep_unsynced ? inode->bytes : inode->durable;
    names_[path] = std::make_shared<Inode>(Inode{.bytes = bytes, .durable = bytes});
  }
  durable_ = names_;
  locks_.clear();
  ++generation_;
  fail_from_ = 0;
}

Status FaultDisk::step(const std::string& op) {
  ++operations_;
  if (fail_from_ == 0 || operations_ < fail_from_) return {};
  return make_error(Code::unavailable, op, "the disk was told to fail");
}

Result<std::unique_ptr<File>> FaultDisk::open_append(const std::string& path, Mode) {
  const std::lock_guard lock(mutex_);
  CLAW_TRY(step("open " + path));
  if (!dirs_.contains(parent_of(path))) return absent("open " + path);
  auto& inode = names_[path];
  if (!inode) inode = std::make_shared<Inode>();
  return std::unique_ptr<File>(std::make_unique<FaultFile>(*this, inode, path, true));
}

Result<std::unique_ptr<File>> FaultDisk::open_read(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto it = names_.find(path);
  if (it == names_.end()) return absent("open " + path);
  return std::unique_ptr<File>(std::make_unique<FaultFile>(*this, it->second, path, false));
}

Result<std::unique_ptr<File>> FaultDisk::open_scratch(const std::string& dir) {
  const std::lock_guard lock(mutex_);
  CLAW_TRY(step("open a scratch file in " + dir));
  if (!dirs_.contains(dir)) return absent("open a scratch file in " + dir);
  return std::unique_ptr<File>(std::make_unique<FaultFile>(*this, std::make_shared<Inode>(), dir + "/scratch", true));
}

Result<bool> FaultDisk::exists(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return names_.contains(path) || dirs_.contains(path);
}

Status FaultDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  CLAW_TRY(step("rename " + from));
  const auto it = names_.find(from);
  if (it == names_.end()) return absent("rename " + from);
  names_[to] = it->second;
  names_.erase(from);
  return {};
}

Status FaultDisk::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  CLAW_TRY(step("remove " + path));
  if (names_.erase(path) == 0) return absent("remove " + path);
  return {};
}

// As the interface promises, every parent that changed is synced: directories are durable at once.
Status FaultDisk::make_dirs(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (dirs_.contains(path)) return {};
  CLAW_TRY(step("mkdir " + path));
  for (std::string dir = path; !dir.empty() && dir != "/"; dir = parent_of(dir)) dirs_.insert(dir);
  return {};
}

Status FaultDisk::sync_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  CLAW_TRY(step("fsync directory " + path));
  if (!dirs_.contains(path)) return absent("open directory " + path);
  std::erase_if(durable_, [&](const auto& entry) { return parent_of(entry.first) == path; });
  for (const auto& [name, inode] : names_)
    if (parent_of(name) == path) durable_[name] = inode;
  return {};
}

Result<std::vector<std::string>> FaultDisk::list(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!dirs_.contains(path)) return absent("list " + path);
  std::vector<std::string> found;
  for (const auto& [name, inode] : names_)
    if (parent_of(name) == path) found.push_back(std::filesystem::path(name).filename().string());
  for (const std::string& dir : dirs_)
    if (parent_of(dir) == path) found.push_back(std::filesystem::path(dir).filename().string());
  std::sort(found.begin(), found.end());
  return found;
}

Result<std::uint64_t> FaultDisk::free_bytes(const std::string&) { return std::uint64_t{1} << 40; }

Result<std::unique_ptr<FileLock>> FaultDisk::lock(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!locks_.insert(path).second) return make_error(Code::conflict, "lock " + path, "held by this process");
  return std::unique_ptr<FileLock>(std::make_unique<FaultLock>(*this, path, generation_));
}

}  // namespace claw::testing
