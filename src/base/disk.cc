#include "base/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace claw {
namespace {

Error sys_error(std::string op, int number) {
  Code code = Code::unavailable;
  if (number == ENOENT || number == ENOTDIR) code = Code::not_found;
  else if (number == EACCES || number == EPERM || number == EROFS) code = Code::denied;
  else if (number == ENOSPC || number == EDQUOT || number == EFBIG) code = Code::full;
  else if (number == EWOULDBLOCK || number == EEXIST) code = Code::conflict;
  else if (number == EIO) code = Code::corrupt;
  return make_error(code, std::move(op), std::strerror(number));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { if (fd_ >= 0) ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class SystemFile final : public File {
 public:
  SystemFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Status append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t wrote = ::write(fd_.get(), bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return sys_error("write " + path_, errno);
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    }
    return {};
  }
  Status sync() override {
    if (::fdatasync(fd_.get()) != 0) return sys_error("fdatasync " + path_, errno);
    return {};
  }
  Result<std::string> read(std::uint64_t offset, std::size_t size) override {
    std::string out(size, '\0');
    std::size_t got = 0;
    while (got < size) {
      const ssize_t n = ::pread(fd_.get(), out.data() + got, size - got, static_cast<off_t>(offset + got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return sys_error("read " + path_, errno);
      if (n == 0) break;
      got += static_cast<std::size_t>(n);
    }
    out.resize(got);
    return out;
  }
  Result<std::uint64_t> size() override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return sys_error("stat " + path_, errno);
    return static_cast<std::uint64_t>(info.st_size);
  }
  Status truncate(std::uint64_t size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return sys_error("truncate " + path_, errno);
    return {};
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class SystemLock final : public FileLock {
 public:
  explicit SystemLock(int fd) : fd_(fd) {}

 private:
  Descriptor fd_;  // closing releases the flock
};

class SystemDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open_append(const std::string& path, Mode mode) override {
    return open(path, O_RDWR | O_CREAT | O_APPEND, mode);
  }
  Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return open(path, O_RDONLY, Mode::owner_only);
  }
  Result<std::unique_ptr<File>> open_scratch(const std::string& dir) override {
    const std::string path = dir + "/scratch";
    int fd = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {  // not every file system knows nameless files
      std::string name = path + "-XXXXXX";
      fd = ::mkostemp(name.data(), O_APPEND | O_CLOEXEC);
      if (fd >= 0) ::unlink(name.c_str());
    }
    if (fd < 0) return sys_error("open " + path, errno);
    return std::unique_ptr<File>(std::make_unique<SystemFile>(fd, path));
  }
  Result<bool> exists(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return sys_error("stat " + path, errno);
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return sys_error("rename " + from + " to " + to, errno);
    return {};
  }
  Status remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return sys_error("remove " + path, errno);
    return {};
  }
  Status make_dirs(const std::string& path) override {
    if (path.empty() || path == "/") return {};
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) {
      if (S_ISDIR(info.st_mode)) return {};
      return make_error(Code::conflict, "mkdir " + path, "exists and is not a directory");
    }
    const std::string parent = std::filesystem::path(path).parent_path().string();
    CLAW_TRY(make_dirs(parent));
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return sys_error("mkdir " + path, errno);
    return sync_dir(parent.empty() ? "." : parent);
  }
  Status sync_dir(const std::string& path) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return sys_error("open directory " + path, errno);
    if (::fsync(fd.get()) != 0) return sys_error("fsync directory " + path, errno);
    return {};
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    std::error_code problem;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, problem), end; !problem && it != end; it.increment(problem))
      names.push_back(it->path().filename().string());
    if (problem) return sys_error("list " + path, problem.value());
    std::sort(names.begin(), names.end());
    return names;
  }
  Result<std::uint64_t> free_bytes(const std::string& path) override {
    struct statvfs info {};
    if (::statvfs(path.c_str(), &info) != 0) return sys_error("statvfs " + path, errno);
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return sys_error("open " + path, errno);
    auto held = std::make_unique<SystemLock>(fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int why = errno;
      char holder[32] = {};
      if (::pread(fd, holder, sizeof holder - 1, 0) > 0 && why == EWOULDBLOCK)
        return make_error(Code::conflict, "lock " + path, fmt::format("held by process {}", holder));
      return sys_error("lock " + path, why);
    }
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) return sys_error("write " + path, errno);
    return std::unique_ptr<FileLock>(std::move(held));
  }

 private:
  static Result<std::unique_ptr<File>> open(const std::string& path, int flags, Mode mode) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, static_cast<mode_t>(mode));
    if (fd < 0) return sys_error("open " + path, errno);
    return std::unique_ptr<File>(std::make_unique<SystemFile>(fd, path));
  }
};

}  // namespace

Disk& system_disk() {
  static SystemDisk disk;
  return disk;
}

Result<std::string> Disk::read_all(const std::string& path, std::uint64_t limit) {
  CLAW_TRY_ASSIGN(auto file, open_read(path));
  CLAW_TRY_ASSIGN(const std::uint64_t size, file->size());
  if (size > limit)
    return make_error(Code::full, "read " + path, fmt::format("{} bytes, expected at most {}", size, limit));
  return file->read(0, static_cast<std::size_t>(size));
}

Status Disk::write_atomically(const std::string& path, std::string_view bytes, Mode mode) {
  const std::string temp = path + ".tmp";
  CLAW_TRY_ASSIGN(const bool leftover, exists(temp));
  if (leftover) CLAW_TRY(remove(temp));
  {
    CLAW_TRY_ASSIGN(auto file, open_append(temp, mode));
    CLAW_TRY(file->append(bytes));
    CLAW_TRY(file->sync());
  }
  CLAW_TRY(rename(temp, path));
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return sync_dir(parent.empty() ? "." : parent);
}

}  // namespace claw
