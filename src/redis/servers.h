// Which connection serves a key: one server, the master that sentinels name, or a cluster's masters. Everything above works on
// one connection at a time and asks here for it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "redis/connection.h"
#include "redis/url.h"

namespace claw::redis {

// Of a cluster: CRC16 of the key or of its hash tag, 0 to 16383.
std::uint16_t slot_of(std::string_view key);

// The value of "name:value" in the text of INFO, empty when it is not there.
std::string info_value(std::string_view info, std::string_view name);

// What a failed call may have done, and so whether it may be made again.
enum class Repeat {
  reads,  // it only reads: again after any loss
  moves,  // it changes the server: again only when the answer proves that nothing ran (MOVED, ASK, TRYAGAIN, READONLY, …)
};

// Used by one thread. Connections are owned by this and good until the next call of serving(), masters() or recover().
class Servers {
 public:
  // Connects, logs in, and refuses servers older than 6.2. A node of a cluster is found to be one by itself.
  static Result<std::unique_ptr<Servers>> open(Entry entry, Clock& clock, Deadline deadline);

  // Replies that somebody asked for and did not take are read and dropped first.
  Result<Connection*> serving(std::string_view key, Deadline deadline);
  // Every master that serves a slot, in a stable order.
  Result<std::vector<Connection*>> masters(Deadline deadline);

  // After `error` of the `tries`th try of a call about `key`: the connection on which another try makes sense, once it is
  // there (the key's new home, the new master, the restarted server), or the error when it does not or the deadline came.
  Result<Connection*> recover(const Error& error, std::string_view key, Repeat repeat, int tries, Deadline deadline);

  bool clustered() const { return clustered_; }
  Clock& clock() { return clock_; }
  // "MOVED 3999 127.0.0.1:6381"
  struct Redirect {
    bool ask = false;
    std::string address;  // "127.0.0.1:6381", or ":6381" for the host that answered
  };

  std::string text() const;  // "redis 7.0.15 at 127.0.0.1:6379", "redis cluster 7.0.15, 3 masters"

 private:
  struct Node {
    Endpoint endpoint;
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Connection> asking;  // the same connection; says ASKING before each command
  };

  Servers(Entry entry, Clock& clock) : entry_(std::move(entry)), clock_(clock) {}
  Result<std::unique_ptr<Connection>> connect(const Endpoint& endpoint, Deadline deadline);
  Result<Endpoint> ask_sentinels(Deadline deadline);
  Result<Connection*> the_server(Deadline deadline);
  Status learn_slots(const std::string& first, Deadline deadline);
  Status take_slots(Connection& from, Deadline deadline);
  Node& node(const std::string& address);
  Result<Connection*> connected(Node& node, Deadline deadline);
  void follow(const std::optional<Redirect>& redirect, std::uint16_t slot, bool told, Deadline deadline);
  Result<Connection*> place_of(std::string_view key, Deadline deadline);

  Entry entry_;
  Clock& clock_;
  std::string version_;
  bool clustered_ = false;
  std::unique_ptr<Connection> server_;             // not clustered
  std::map<std::string, Node> nodes_;              // clustered; by "host:port"
  std::vector<std::string> slots_;                 // clustered: slot → address, empty when nobody serves it
  std::map<std::uint16_t, std::string> asking_;    // slots on the move, of which a key lives at their target already
};

}  // namespace claw::redis
