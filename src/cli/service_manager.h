// What the service manager that started us is told (systemd's sd_notify protocol); nothing where none did.
#pragma once

#include <string>
#include <string_view>

#include "agent/agent.h"
#include "base/clock.h"

namespace claw::cli {

// Used by one thread.
class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET and WATCHDOG_USEC.
  explicit ServiceManager(Clock& clock);

  void ready(std::string_view status) const;
  void reloading() const;
  void stopping() const;
  // Feeds the watchdog, a few times within its period; costs nothing in between.
  void alive();

 private:
  void tell(const std::string& state) const;

  Clock& clock_;
  std::string socket_;
  Millis beat_{0};  // 0: nobody watches
  MonoTime last_{};
};

// A long call is alive as long as it makes progress.
class AliveProgress final : public Progress {
 public:
  AliveProgress(ServiceManager& manager, Progress& next) : manager_(manager), next_(next) {}
  void stage(std::string_view stage) override { manager_.alive(), next_.stage(stage); }
  void advance(std::uint64_t done, std::uint64_t total) override { manager_.alive(), next_.advance(done, total); }
  void finish(const StageRecord& stage) override { manager_.alive(), next_.finish(stage); }
  void note(std::string_view text) override { manager_.alive(), next_.note(text); }
  void execution(std::string_view id, const TenantId& tenant) override { next_.execution(id, tenant); }

 private:
  ServiceManager& manager_;
  Progress& next_;
};

}  // namespace claw::cli
