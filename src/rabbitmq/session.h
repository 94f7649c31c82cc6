// What the operations of one lane share: connections, facts about the broker, and what is held between a look and the wave that follows.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/clock.h"
#include "broker/broker.h"
#include "rabbitmq/connection.h"
#include "rabbitmq/hold_counts.h"
#include "rabbitmq/look_policy.h"
#include "rabbitmq/management.h"

namespace claw::rabbitmq {

class Hold;   // hold.h
struct Kept;  // gather.h

class Session {
 public:
  Session(BrokerName name, Endpoint endpoint, std::unique_ptr<Management> management, Clock& clock, std::uint16_t prefetch, std::function<void(std::string_view)> after);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const BrokerName name;
  const Endpoint endpoint;
  Clock& clock;
  const std::unique_ptr<Management> management;            // null: unknown is what only it can tell
  const std::uint16_t prefetch;                            // messages that one consumer of a hold is given
  const std::function<void(std::string_view step)> after;  // tests only: a crash can be made here

  // For passive declares and for publishes: an alarm stops the socket of a publisher, acks included, so a hold has its own.
  Result<Connection*> control(Deadline deadline) { return live(control_, endpoint.hosts, "control", deadline); }
  Result<Connection*> publisher(Deadline deadline) { return live(publisher_, endpoint.hosts, "publisher", deadline); }
  // A connection for one hold, to another node than `leader` where that can be told. When the leader of a quorum queue dies together
  // with the node of its consumer, 3.10 never returns what that consumer holds (rabbitmq-server issue 15473; measured): so a hold is
  // not on the leader's node. Give it back when its channel was closed in order.
  Result<std::unique_ptr<Connection>> holder(const std::string& leader, Deadline deadline);
  void give_back(std::unique_ptr<Connection> connection);

  // At most a second old.
  Result<BrokerFacts> broker(Deadline deadline);
  // Of a quorum queue who leads it and what the cluster lacks; empty of any other. What was sent to a leader that is no more may be lost.
  Result<std::string> leadership(std::string_view queue, Deadline deadline);
  // Fresh. Code::unsupported without a management API.
  Result<QueueFacts> queue(std::string_view queue, Deadline deadline);

  HoldCounts holds;
  std::map<std::string, std::uint64_t> returned;  // of a quorum queue: how many messages the last hold gave back, see Hold
  std::map<std::string, Kept> kept;            // by queue, between a look or read() and the next wave
  // Of the last look, until it is settled or something else is asked; and which look that is, counted from 1.
  std::unique_ptr<Hold> looked;
  std::uint64_t looked_number = 0;
  std::map<std::string, MonoTime> declared;  // quarantines that this session made, and when
  // Numbers known to be in quarantine, by (queue, execution). Absent: not looked up yet.
  std::map<std::pair<std::string, std::string>, std::set<std::size_t>> in_quarantine;

 private:
  // Endpoint's hosts, those of this node last.
  std::vector<Host> hosts_after(const std::string& node, Deadline deadline);
  Result<Connection*> live(std::unique_ptr<Connection>& connection, std::span<const Host> hosts, std::string_view purpose, Deadline deadline);
  std::unique_ptr<Connection> control_, publisher_, idle_;
  BrokerFacts facts_;
  std::optional<MonoTime> facts_at_;
  std::vector<Listener> listeners_;  // of a cluster, once asked
};

}  // namespace claw::rabbitmq
