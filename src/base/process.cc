#include "base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/digest.h"
#include "base/text.h"

namespace claw {
namespace {

constexpr std::size_t kMostKept = 1u << 20;  // of the output, for its hash; what is beyond is counted

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

Result<std::optional<Identity>> identity_of(const std::string& user) {
  if (user.empty()) return std::optional<Identity>();
  passwd entry{}, *found = nullptr;
  std::array<char, 4096> buffer{};
  ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) return make_error(Code::invalid, "user " + escape(user, 40), "no such user on this machine");
  if (found->pw_uid == ::geteuid()) return std::optional<Identity>();
  if (::geteuid() != 0) return make_error(Code::denied, "user " + user, "only root can take another user's rights; run the agent as that user, or leave it out");
  Identity identity{.uid = found->pw_uid, .gid = found->pw_gid, .groups = std::vector<gid_t>(256)};
  int count = static_cast<int>(identity.groups.size());
  if (::getgrouplist(user.c_str(), identity.gid, identity.groups.data(), &count) < 0) return make_error(Code::invalid, "user " + user, "is in too many groups");
  identity.groups.resize(static_cast<std::size_t>(count));
  return std::optional(std::move(identity));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// Between fork and exec only what is safe there: no allocation, no lock.
[[noreturn]] void become(char* const* argv, char* const* environment, const std::optional<Identity>& identity, int nothing, int output, int failed) {
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  bool ready = ::dup2(nothing, 0) >= 0 && ::dup2(output, 1) >= 0 && ::dup2(output, 2) >= 0 && ::dup2(failed, 3) >= 0 && ::fcntl(3, F_SETFD, FD_CLOEXEC) == 0;
  ready = ready && ::syscall(SYS_close_range, 4U, ~0U, 0U) == 0 && ::chdir("/") == 0;
  if (ready && identity) ready = ::setgroups(identity->groups.size(), identity->groups.data()) == 0 && ::setgid(identity->gid) == 0 && ::setuid(identity->uid) == 0;
  if (ready) ::execve(argv[0], argv, environment);
  const int why = errno;
  const auto wrote = ::write(3, &why, sizeof why);
  ::_exit(wrote == sizeof why ? 127 : 126);
}

}  // namespace

Result<Exit> run_command(const Command& command, Clock& clock) {
  if (command.argv.empty() || !command.argv[0].starts_with('/')) return make_error(Code::invalid, "command", "expected an absolute path and its words");
  const std::string what = "run " + escape(command.argv[0], 120);
  CLAW_TRY_ASSIGN(const std::optional<Identity> identity, identity_of(command.user));
  std::vector<char*> argv;
  std::vector<std::string> words = command.argv, variables = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> environment = {variables[0].data(), variables[1].data(), nullptr};
  // Above the numbers that the child gives out, so that none is overwritten before it is used.
  const auto high = [](int fd) { return fd < 0 ? fd : ::fcntl(fd, F_DUPFD_CLOEXEC, 16); };
  int output[2], failed[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return make_error(Code::unavailable, what, std::strerror(errno));
  Descriptor out_read(output[0]), out_low(output[1]), out_write(high(output[1]));
  if (::pipe2(failed, O_CLOEXEC) != 0) return make_error(Code::unavailable, what, std::strerror(errno));
  Descriptor failed_read(failed[0]), failed_low(failed[1]), failed_write(high(failed[1]));
  Descriptor nothing_low(::open("/dev/null", O_RDONLY | O_CLOEXEC)), nothing(high(nothing_low.get()));
  if (out_write.get() < 0 || failed_write.get() < 0 || nothing.get() < 0) return make_error(Code::unavailable, what, std::strerror(errno));

  const MonoTime start = clock.mono();
  const pid_t child = ::fork();
  if (child < 0) return make_error(Code::unavailable, what, std::strerror(errno));
  if (child == 0) become(argv.data(), environment.data(), identity, nothing.get(), out_write.get(), failed_write.get());
  for (Descriptor* d : {&out_low, &out_write, &failed_low, &failed_write}) d->close();

  Exit exit;
  std::string kept;
  std::array<char, 16 * 1024> buffer{};
  const MonoTime until = start + command.timeout;
  int status = 0;
  bool ended = false;
  // Its end, not that of its output: what it left running may hold the pipe for ever.
  while (!ended) {
    pollfd ready{.fd = out_read.get(), .events = POLLIN, .revents = 0};
    const bool more = out_read.get() >= 0 && ::poll(&ready, 1, 20) > 0;
    if (more) {
      const ssize_t got = ::read(out_read.get(), buffer.data(), buffer.size());
      if (got > 0) {
        exit.output_bytes += static_cast<std::uint64_t>(got);
        kept.append(buffer.data(), std::min(static_cast<std::size_t>(got), kMostKept - std::min(kMostKept, kept.size())));
      } else {
        out_read.close();
      }
    } else if (out_read.get() < 0) {
      ::usleep(5'000);
    }
    ended = (!more || clock.mono() >= until) && ::waitpid(child, &status, WNOHANG) == child;
    if (!ended && !exit.timed_out && clock.mono() >= until) {
      exit.timed_out = true;
      ::kill(-child, SIGKILL);
    }
  }
  if (exit.timed_out) ::kill(-child, SIGKILL);  // what it started
  int why = 0;
  if (::read(failed_read.get(), &why, sizeof why) == sizeof why)
    return make_error(why == ENOENT || why == EACCES || why == ENOEXEC ? Code::not_found : Code::denied, what, std::strerror(why));
  exit.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  exit.took = elapsed(start, clock.mono());
  exit.output_sha256 = sha256_label(kept);
  return exit;
}

}  // namespace claw
