// The agent that runs already, asked over its Unix socket: the same calls, the same answers.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "agent/agent.h"

namespace claw::api {

// Code::unavailable when nobody listens on the socket. A call ends with Code::unavailable or outcome_unknown when the
// agent goes away meanwhile. `interrupted` true ends the waiting, not what the agent does: Code::outcome_unknown.
// `actor` is ignored everywhere: the agent asks the kernel who is there.
Result<std::unique_ptr<AgentCalls>> remote_agent(const std::string& socket_path, Clock& clock, const std::atomic<bool>& interrupted);

// Sets or releases the brake of the agent that runs, which records it.
Status remote_brake(const std::string& socket_path, bool on, const std::string& reason, const Clock& clock);

}  // namespace claw::api
