// The Redis adapter: Streams and Lists of one server, of the master that sentinels name, or of a cluster.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/secret.h"
#include "broker/broker.h"

namespace claw::redis {

struct Options {
  BrokerName name;
  std::string url;
  std::string user;  // overrides the URL's
  Secret password;
  Secret sentinel_password;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_server_name;
};

// Connects, logs in, and refuses servers older than 6.2. What only reads goes on after a lost connection, a restart, a failover
// or a move of the key, until its deadline; a removal or restore goes on only where the server said that nothing ran.
Result<std::unique_ptr<Broker>> open_redis(Options options, Clock& clock, Deadline deadline);

}  // namespace claw::redis
