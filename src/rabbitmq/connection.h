// One AMQP 0-9-1 connection: a channel for each consumer, and one for all else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "rabbitmq/url.h"

namespace claw::rabbitmq {

// Larger than what a broker takes by default (128 MiB): a message beyond it ends the connection.
inline constexpr std::uint64_t kMostBody = 160ull << 20;

// One delivered message. Views live until the next call of its connection.
struct Delivery {
  std::uint64_t tag = 0;  // unique on its connection
  bool redelivered = false;
  std::string_view exchange, routing_key;
  std::string_view properties;  // as on the wire
  std::string_view body;
};

struct Depth {
  std::uint64_t ready = 0;
  std::uint64_t consumers = 0;
  // A quorum queue whose leader is busy is told so too (measured on 3.10): of one it is not to be believed.
  bool nothing_at_all() const { return ready == 0 && consumers == 0; }
};

// What the server did, apart from answering a request.
struct Event {
  enum class Kind { none, delivery, stopped };  // nothing in time / … / our consumer has ended: by stop(), or its queue is gone
  Kind kind = Kind::none;
  Delivery delivery;
};

// Used by one thread. Heartbeats are answered within every call that waits. Errors: unavailable (refused, reset, closed by the
// server, heartbeat missed), denied (login, vhost, rights), not_found, conflict (locked), invalid (precondition), timed_out, full,
// corrupt. After any error the channels are closed; broken() tells whether the connection is too. Destroying it drops the
// socket: the server then returns every message that was held through it.
class Connection {
 public:
  // Tries the hosts in order. `purpose` is shown to operators as the connection's name: "deployclaw <purpose>".
  static Result<std::unique_ptr<Connection>> open(const Endpoint& endpoint, std::span<const Host> hosts, std::string_view purpose, Clock& clock, Deadline deadline);
  static Result<std::unique_ptr<Connection>> open(const Endpoint& endpoint, std::string_view purpose, Clock& clock, Deadline deadline) { return open(endpoint, endpoint.hosts, purpose, clock, deadline); }
  virtual ~Connection() = default;

  virtual bool broken() const = 0;
  // Takes in what arrived (heartbeats, a close) without waiting.
  virtual Status pump() = 0;
  virtual std::string where() const = 0;

  virtual Status ping(Deadline deadline) = 0;

  // Channels are opened by what needs one. Closing them returns every message that is held, at its old place: what was held first is
  // returned first.
  virtual Status close_channels(Deadline deadline) = 0;
  // Only that of the oldest consumer: how many messages it returned, nullopt when there is no consumer. The broker answers before they
  // are ready again, and a channel that held much ends later than one that held little.
  virtual Result<std::optional<std::uint64_t>> close_oldest(Deadline deadline) = 0;

  virtual Result<Depth> depth(std::string_view queue, Deadline deadline) = 0;  // passive declare: changes nothing
  // Durable. Classic: its messages on disk at once, they cost the broker no memory, and it takes them at nearly twice the rate of a
  // default queue (3.10; from 3.12 on every classic queue is so). Quorum: `without_limit` says that deliveries are not counted
  // against one; needed, and known, from 4.0 on.
  virtual Status declare_classic(std::string_view queue, Deadline deadline) = 0;
  virtual Status declare_quorum(std::string_view queue, bool without_limit, Deadline deadline) = 0;

  // A consumer on a channel of its own that is given at most `prefetch` (1 … 65,535) messages. `stream_offset`: for streams, "first" or
  // a number. The first of a connection: a delivery to another that came before the answer would be dropped.
  virtual Status consume(std::string_view queue, std::uint16_t prefetch, std::optional<std::string> stream_offset, Deadline deadline) = 0;
  // The same on a further channel, beside those before and without waiting: what is wrong is told by next().
  virtual Status consume_more(std::string_view queue, std::uint16_t prefetch) = 0;
  // Waits for the next event until `first`, and then for the rest of its message until `whole`.
  virtual Result<Event> next(Deadline first, Deadline whole) = 0;
  // Ends all consumers: next() gives what was under way, then `stopped`. What was delivered stays held.
  virtual Status stop() = 0;
  // All that one consumer holds of these or none, in one transaction. A quorum queue's channel sends at most 32 single acknowledgements ahead and keeps the
  // rest to itself: closing the channel after such would return messages that were acknowledged (measured). A commit is one command. Only when the consumer has ended.
  virtual Status acknowledge(std::span<const std::uint64_t> tags, Deadline deadline) = 0;
  // For streams only: lets the broker send more.
  virtual Status credit(std::uint64_t last_tag) = 0;

  // To the default exchange with the queue as key, mandatory. The first publish turns confirms on.
  virtual Status publish(std::string_view queue, std::string_view properties, std::string_view body, Deadline deadline) = 0;
  // Returns when the broker took responsibility for everything that was published. Code::outcome_unknown when an answer did not
  // come in time (an alarm blocks publishers), Code::full when the broker refused one (length limit), Code::not_found when the
  // queue is gone.
  virtual Status confirmed(Deadline deadline) = 0;
};

}  // namespace claw::rabbitmq
