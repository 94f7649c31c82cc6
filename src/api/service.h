// The API beside a running agent: listens, publishes what the agent saw, and carries wishes to its thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "api/api.h"
#include "http/server.h"

namespace claw::api {

// Made before the agent, started after it, stopped before it goes.
class Service {
 public:
  Service(Disk& disk, Clock& clock, Random& random);
  ~Service();

  // For AgentDeps::evaluated.
  std::function<void(const Topology&, const Health&)> evaluated();
  // Listens on the config's address and on data_dir/agent.sock.
  Status start(Agent& agent);
  const std::string& address() const { return server_->address(); }
  // Ends all connections; before the agent goes.
  void stop();

  // On the agent's thread: what it does by itself reports here.
  Progress& progress() { return operations_.agent_progress(); }
  void tick_done();
  // On the agent's thread: carries out what was wished for `patience`, or one long wish.
  void serve(Agent& agent, Millis patience);

 private:
  void wake();

  Disk& disk_;
  Clock& clock_;
  Random& random_;
  Board board_;
  Events events_;
  Operations operations_;
  MonoTime beat_{};
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> server_;
  std::atomic<http::Server*> to_wake_ = nullptr;  // server_, once it is there
};

}  // namespace claw::api
