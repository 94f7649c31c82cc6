// The Redis adapter: Streams and Lists of one server.
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
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_server_name;
};

// Connects, logs in, and refuses servers older than 6.2. A connection that broke is opened again before a call that
// only reads; remove and restore are never repeated here.
Result<std::unique_ptr<Broker>> open_redis(Options options, Clock& clock, Deadline deadline);

}  // namespace claw::redis
