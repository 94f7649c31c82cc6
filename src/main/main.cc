#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "cli/run.h"
#include "main/brokers.h"

namespace {

std::atomic<bool> interrupted{false};

std::atomic<bool> reload{false};

void on_signal(int) { interrupted = true; }
void on_hangup(int) { reload = true; }

// Nothing of this process reaches other users: no core dumps, private files.
void harden() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::umask(077);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGHUP, on_hangup);
}

std::string user() {
  const passwd* entry = ::getpwuid(::geteuid());
  return "user:" + (entry != nullptr ? std::string(entry->pw_name) : std::to_string(::geteuid()));
}

}  // namespace

int main(int argc, char** argv) {
  harden();
  claw::Disk& disk = claw::system_disk();
  claw::Clock& clock = claw::system_clock();
  const claw::cli::CliDeps deps{.disk = disk,
                                .clock = clock,
                                .random = claw::system_random(),
                                .open_broker = claw::broker_factory(disk, clock),
                                .terminal = {.in_is_tty = ::isatty(0) == 1, .out_is_tty = ::isatty(1) == 1, .err_is_tty = ::isatty(2) == 1},
                                .user = user(),
                                .interrupted = interrupted,
                                .reload = reload};
  return claw::cli::run(argc, argv, deps);
}
