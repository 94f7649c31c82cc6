// A program of the operator's, run without a shell: its words as they are, its own session, little in its environment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace claw {

struct Command {
  std::vector<std::string> argv;  // argv[0] is an absolute path
  std::string user;               // whose rights it has; empty: ours
  Millis timeout{30'000};         // then it and what it started is killed
};

struct Exit {
  int status = 0;           // of exit(); 128 + the signal when one ended it
  bool timed_out = false;
  Millis took{0};
  std::uint64_t output_bytes = 0;  // of stdout and stderr together
  std::string output_sha256;       // "sha256:…" of them: a log may hold what must not be kept
  bool good() const { return status == 0 && !timed_out; }
};

// Waits for it. Nothing of ours is inherited: no descriptor, no environment but PATH and LANG, stdin is empty. Code::invalid: no
// absolute path, or no such user; denied: not ours to take that user's rights; not_found: no such program, or it cannot be run.
Result<Exit> run_command(const Command& command, Clock& clock);

}  // namespace claw
