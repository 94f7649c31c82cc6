#include "rabbitmq/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "rabbitmq/gather.h"

namespace claw::rabbitmq {

Session::Session(BrokerName broker_name, Endpoint where, std::unique_ptr<Management> api, Clock& time, std::uint16_t a_consumer, std::function<void(std::string_view)> hook)
    : name(std::move(broker_name)), endpoint(std::move(where)), clock(time), management(std::move(api)), prefetch(a_consumer), after(std::move(hook)) {}

Session::~Session() { let_go_all(*this); }  // what is held goes back through the connections

Result<Connection*> Session::live(std::unique_ptr<Connection>& connection, std::span<const Host> hosts, std::string_view purpose, Deadline deadline) {
  // Nothing of a call was sent yet, so a fresh connection is harmless. pump() finds out that the server has closed an idle one.
  if (connection == nullptr || connection->broken() || !connection->pump().ok()) {
    CLAW_TRY_ASSIGN(connection, Connection::open(endpoint, hosts, purpose, clock, deadline));
  }
  return connection.get();
}

namespace {

// Whether a host of the config is this node: by its port where no other node has it, else by its name.
bool is_node(const Host& host, const std::string& node, std::span<const Listener> listeners) {
  std::set<std::string> with_port;
  for (const Listener& one : listeners)
    if (one.port == host.port) with_port.insert(one.node);
  if (with_port.size() == 1) return with_port.contains(node);
  return node.substr(node.find('@') + 1) == host.name;
}

}  // namespace

std::vector<Host> Session::hosts_after(const std::string& node, Deadline deadline) {
  std::vector<Host> hosts = endpoint.hosts;
  if (node.empty() || hosts.size() < 2 || management == nullptr) return hosts;
  if (listeners_.empty())
    if (Result<std::vector<Listener>> known = management->listeners(deadline)) listeners_ = std::move(*known);
  std::stable_partition(hosts.begin(), hosts.end(), [&](const Host& host) { return !is_node(host, node, listeners_); });
  return hosts;
}

Result<std::unique_ptr<Connection>> Session::holder(const std::string& leader, Deadline deadline) {
  const std::vector<Host> hosts = hosts_after(leader, deadline);
  const bool avoided = !hosts.empty() && is_node(hosts.back(), leader, listeners_) && hosts.size() > 1;
  if (idle_ != nullptr && avoided && idle_->where().ends_with(fmt::format("{}:{}", hosts.back().name, hosts.back().port))) idle_.reset();
  CLAW_TRY(live(idle_, hosts, "hold", deadline));
  return std::move(idle_);
}

Result<std::string> Session::leadership(std::string_view name_of_queue, Deadline deadline) {
  CLAW_TRY_ASSIGN(const QueueFacts facts, queue(name_of_queue, deadline));
  if (facts.kind != QueueKind::quorum) return std::string();
  facts_at_.reset();
  CLAW_TRY_ASSIGN(const BrokerFacts now, broker(deadline));
  std::string out = "led by " + escape(facts.node, 80);
  for (const std::string& warning : now.warnings) out += ", " + warning;
  for (const std::string& alarm : now.alarms) out += ", " + alarm;
  return out;
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
