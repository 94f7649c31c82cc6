// The management API over HTTP: what AMQP cannot tell. Reads only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "rabbitmq/url.h"

namespace claw::rabbitmq {

enum class QueueKind { classic, quorum, stream, unknown };

// One queue with its effective limits: arguments, policy and operator policy together, the stricter number of each.
struct QueueFacts {
  std::string name;
  QueueKind kind = QueueKind::unknown;
  std::string state;  // "running", "down", …
  std::string node;   // of a quorum queue: its leader's
  bool durable = false, auto_delete = false, exclusive = false, single_active = false;
  std::uint64_t ready = 0, unacked = 0, consumers = 0;
  std::uint64_t bytes = 0;                        // of ready and unacked bodies
  std::uint64_t acked = 0, redelivered = 0;       // since the node's statistics began
  std::uint64_t sent_without_ack = 0;             // likewise: to consumers that need not acknowledge
  double ack_rate = 0, publish_rate = 0;          // a second
  std::optional<std::int64_t> delivery_limit, message_ttl_ms, expires_ms, max_length, max_bytes;
  std::optional<std::int64_t> head_timestamp;     // seconds, when the publisher set one
  std::int64_t max_priority = 0;
  std::string overflow;                           // empty: drop-head
  std::optional<std::string> dead_letter_exchange, dead_letter_key;

  std::uint64_t mean_bytes() const { return ready + unacked == 0 ? 0 : bytes / (ready + unacked); }
};

struct BrokerFacts {
  std::string version;               // "3.10.8"; empty: unknown
  int major = 0, minor = 0;
  std::vector<std::string> alarms;   // in words, empty when there are none
  std::uint64_t memory_free = 0;     // up to the alarm, on the node that has least; 0: unknown
  std::vector<std::string> warnings; // partitions, nodes that are down
};

struct ConsumerFacts {
  std::string queue, tag, channel, connection, host;
  std::uint64_t prefetch = 0, unacked = 0;  // unacked: of its channel
  bool active = true;
  double ack_rate = 0;               // of its channel
  // Has taken all that its prefetch allows and acknowledged nothing in the last seconds.
  bool stuck() const { return prefetch > 0 && unacked >= prefetch && ack_rate == 0; }
};

// Where a node of the cluster takes AMQP connections.
struct Listener {
  std::string node;
  std::uint16_t port = 0;
};

// Where the messages go that a dead-letter exchange gets: (exchange, routing key, queue).
struct Binding {
  std::string exchange, key, queue;
};

// Used by one thread. Errors: unavailable, denied (401, 403), not_found, corrupt (not what the API promises), timed_out, full.
class Management {
 public:
  // `urls`: http(s)://host:port, no password in it; of several nodes of a cluster with commas between them. Nothing is asked yet.
  static Result<std::unique_ptr<Management>> open(const std::string& urls, const Endpoint& endpoint, Clock& clock);
  virtual ~Management() = default;

  virtual Result<BrokerFacts> broker(Deadline deadline) = 0;
  virtual Result<std::vector<Listener>> listeners(Deadline deadline) = 0;
  virtual Result<std::vector<QueueFacts>> queues(Deadline deadline) = 0;              // of the vhost, in pages of 500
  virtual Result<QueueFacts> queue(std::string_view name, Deadline deadline) = 0;
  virtual Result<std::vector<ConsumerFacts>> consumers(Deadline deadline) = 0;        // of the vhost
  virtual Result<std::vector<Binding>> bindings(std::string_view exchange, Deadline deadline) = 0;
};

}  // namespace claw::rabbitmq
