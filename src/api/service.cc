#include "api/service.h"

#include <fmt/format.h>

namespace claw::api {
namespace {
constexpr Millis kBeat{5'000};
}

Service::Service(Disk& disk, Clock& clock, Random& random)
    : disk_(disk), clock_(clock), random_(random), board_(clock), events_(random.hex(6), [this] { wake(); }), operations_(clock, events_) {}

Service::~Service() { stop(); }

// The server first: its threads use all the rest.
void Service::stop() {
  to_wake_ = nullptr;
  server_.reset();
}

void Service::wake() {
  if (http::Server* server = to_wake_) server->wake();
}

std::function<void(const Topology&, const Health&)> Service::evaluated() {
  return [this](const Topology& topology, const Health& health) {
    const auto before = board_.latest();
    board_.publish(topology, health);
    if (api_) api_->tell_evaluation(before.get(), *board_.latest());
  };
}

Status Service::start(Agent& agent) {
  api_ = std::make_unique<Api>(ApiDeps{.agent = agent, .disk = disk_, .clock = clock_, .random = random_, .board = board_, .events = events_, .operations = operations_});
  auto address = std::make_shared<Guarded<std::string>>(agent.config().listen);
  const auto handler = [this, address](const http::Request& request) { return api_->answer(request, address->with([](const std::string& a) { return a; })); };
  CLAW_TRY_ASSIGN(server_, http::Server::start(agent.config().listen, agent.config().data_dir + "/agent.sock", handler, clock_, {}));
  to_wake_ = server_.get();
  address->with([&](std::string& a) { a = server_->address(); });
  return {};
}

void Service::tick_done() {
  operations_.agent_done();
  if (clock_.mono() - beat_ < kBeat) return;
  beat_ = clock_.mono();
  events_.publish("tick", fmt::format(R"({{"now":"{}"}})", rfc3339(clock_.now())));
}

void Service::serve(Agent& agent, Millis patience) {
  const MonoTime until = clock_.mono() + patience;
  for (Deadline deadline(until); !deadline.expired(clock_);)
    if (!operations_.run_next(agent, deadline.remaining(clock_))) return;
}

}  // namespace claw::api
