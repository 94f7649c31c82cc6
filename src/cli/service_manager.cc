#include "cli/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace claw::cli {

ServiceManager::ServiceManager(Clock& clock) : clock_(clock) {
  if (const char* socket = std::getenv("NOTIFY_SOCKET")) socket_ = socket;
  const char* period = std::getenv("WATCHDOG_USEC");
  if (period != nullptr) beat_ = Millis(std::strtoll(period, nullptr, 10) / 1000 / 4);
}

void ServiceManager::ready(std::string_view status) const { tell(fmt::format("READY=1\nSTATUS={}", status)); }

void ServiceManager::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);  // the manager compares with its own
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000));
}

void ServiceManager::stopping() const { tell("STOPPING=1"); }

void ServiceManager::alive() {
  if (beat_ == Millis(0) || clock_.mono() - last_ < beat_) return;
  last_ = clock_.mono();
  tell("WATCHDOG=1");
}

void ServiceManager::tell(const std::string& state) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // an abstract one
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  // A manager that does not listen is no reason to stop.
  static_cast<void>(::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address),
                             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size())));
  ::close(fd);
}

}  // namespace claw::cli
