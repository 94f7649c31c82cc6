#include "main/brokers.h"

#include "redis/adapter.h"

namespace claw {

BrokerFactory broker_factory(Disk& disk, Clock& clock) {
  return [&disk, &clock](const BrokerConfig& broker, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
    if (broker.kind != BrokerConfig::Kind::redis)
      return make_error(Code::unsupported, "broker " + broker.name, "this version speaks Redis only");
    CLAW_TRY_ASSIGN(Secret password, resolve(broker.password, disk));
    CLAW_TRY_ASSIGN(Secret sentinel_password, resolve(broker.sentinel_password, disk));
    return redis::open_redis({.name = broker.name, .url = broker.url, .user = broker.user, .password = std::move(password),
                              .sentinel_password = std::move(sentinel_password), .tls_ca = broker.tls_ca, .tls_cert = broker.tls_cert, .tls_key = broker.tls_key, .tls_server_name = broker.tls_server_name},
                             clock, deadline);
  };
}

}  // namespace claw
