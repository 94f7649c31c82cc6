// Asks the agent that holds a data directory, over its Unix socket.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"

namespace claw::http {

struct Answer {
  int status = 0;
  std::string body;
};

// One request on one connection; the answer is at most 256 MiB. Code::unavailable when nobody listens, timed_out, and
// outcome_unknown when the connection ends after the request was sent.
Result<Answer> ask(const std::string& socket_path, const std::string& method, const std::string& target, const Headers& headers, const std::string& body,
                   Deadline deadline, const Clock& clock);

}  // namespace claw::http
