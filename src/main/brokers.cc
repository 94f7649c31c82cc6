#include "main/brokers.h"

#include "rabbitmq/adapter.h"
#include "redis/adapter.h"

namespace claw {

BrokerFactory broker_factory(Disk& disk, Clock& clock) {
  return [&disk, &clock](const BrokerConfig& broker, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
    CLAW_TRY_ASSIGN(Secret password, resolve(broker.password, disk));
    switch (broker.kind) {
      case BrokerConfig::Kind::redis: {
        CLAW_TRY_ASSIGN(Secret sentinel_password, resolve(broker.sentinel_password, disk));
        return redis::open_redis({.name = broker.name, .url = broker.url, .user = broker.user, .password = std::move(password),
                                  .sentinel_password = std::move(sentinel_password), .tls_ca = broker.tls_ca, .tls_cert = broker.tls_cert, .tls_key = broker.tls_key,
                                  .tls_server_name = broker.tls_server_name},
                                 clock, deadline);
      }
      case BrokerConfig::Kind::rabbitmq:
        return rabbitmq::open_rabbitmq({.name = broker.name, .url = broker.url, .management_url = broker.management_url, .user = broker.user,
                                        .password = std::move(password), .tls_ca = broker.tls_ca, .tls_cert = broker.tls_cert, .tls_key = broker.tls_key,
                                        .tls_server_name = broker.tls_server_name},
                                       clock, deadline);
      case BrokerConfig::Kind::sqs: return make_error(Code::unsupported, "broker " + broker.name, "this version does not speak SQS");
    }
    std::abort();
  };
}

}  // namespace claw
