// The verbs over the facade, in process.
#pragma once

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"

namespace claw::cli {

struct Terminal {
  std::FILE* in = stdin;
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  bool in_is_tty = false;
  bool out_is_tty = false;
  bool err_is_tty = false;
};

struct CliDeps {
  Disk& disk;
  Clock& clock;
  Random& random;
  BrokerFactory open_broker;
  Terminal terminal;
  std::string user;                    // who acts: "user:root"
  const std::atomic<bool>& interrupted;
  std::atomic<bool>& reload;           // SIGHUP: serve takes the config anew
};

// Exit status of the contract; see `help exit-codes`.
enum Exit : int {
  kDone = 0, kFailed = 1, kUsage = 2, kInPart = 3, kRefused = 4, kFound = 5, kNotConfirmed = 6, kNotVerified = 7, kUnreachable = 8, kInterrupted = 130,
};

int run(int argc, const char* const* argv, const CliDeps& deps);

Exit exit_of(const Error& error);
Exit exit_of(const ExecutionRecord& record);

}  // namespace claw::cli
