#include "rabbitmq/session.h"

#include "rabbitmq/gather.h"

namespace claw::rabbitmq {

Session::Session(BrokerName broker_name, Endpoint where, std::unique_ptr<Management> api, Clock& time, std::uint16_t a_consumer, std::function<void(std::string_view)> hook)
    : name(std::move(broker_name)), endpoint(std::move(where)), clock(time), management(std::move(api)), prefetch(a_consumer), after(std::move(hook)) {}

Session::~Session() { let_go_all(*this); }  // what is held goes back through the connections

Result<Connection*> Session::live(std::unique_ptr<Connection>& connection, std::string_view purpose, Deadline deadline) {
  // Nothing of a call was sent yet, so a fresh connection is harmless. pump() finds out that the server has closed an idle one.
  if (connection == nullptr || connection->broken() || !connection->pump().ok()) {
    CLAW_TRY_ASSIGN(connection, Connection::open(endpoint, purpose, clock, deadline));
  }
  return connection.get();
}

Result<std::unique_ptr<Connection>> Session::holder(Deadline deadline) {
  CLAW_TRY(live(idle_, "hold", deadline));
  return std::move(idle_);
}

void Session::give_back(std::unique_ptr<Connection> connection) {
  if (!connection->broken()) idle_ = std::move(connection);
}

Result<BrokerFacts> Session::broker(Deadline deadline) {
  if (management == nullptr) return make_error(Code::unsupported, "broker " + name, "no management_url: alarms and limits are unknown");
  const MonoTime now = clock.mono();
  if (facts_at_ && now - *facts_at_ < std::chrono::seconds(1)) return facts_;
  CLAW_TRY_ASSIGN(facts_, management->broker(deadline));
  facts_at_ = now;
  return facts_;
}

Result<QueueFacts> Session::queue(std::string_view queue, Deadline deadline) {
  if (management == nullptr) return make_error(Code::unsupported, "broker " + name, "no management_url: type, policy and limits of queues are unknown");
  return management->queue(queue, deadline);
}

}  // namespace claw::rabbitmq
