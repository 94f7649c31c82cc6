#include "main/brokers.h"

#include <cstdlib>

#include "rabbitmq/adapter.h"
#include "redis/adapter.h"
#include "sqs/adapter.h"

namespace claw {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

sqs::LookMode look_mode(const std::string& text) {
  return text == "stream" ? sqs::LookMode::stream : text == "sample" ? sqs::LookMode::sample : sqs::LookMode::hold_all;
}

Result<std::unique_ptr<Broker>> open_redis(const BrokerConfig& broker, Disk& disk, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Secret password, resolve(broker.password, disk));
  CLAW_TRY_ASSIGN(Secret sentinel_password, resolve(broker.sentinel_password, disk));
  return redis::open_redis({.name = broker.name, .url = broker.url, .user = broker.user, .password = std::move(password),
                            .sentinel_password = std::move(sentinel_password), .tls_ca = broker.tls_ca, .tls_cert = broker.tls_cert, .tls_key = broker.tls_key,
                            .tls_server_name = broker.tls_server_name},
                           clock, deadline);
}

Result<std::unique_ptr<Broker>> open_rabbitmq(const BrokerConfig& broker, Disk& disk, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Secret password, resolve(broker.password, disk));
  return rabbitmq::open_rabbitmq({.name = broker.name, .url = broker.url, .management_url = broker.management_url, .user = broker.user,
                                  .password = std::move(password), .tls_ca = broker.tls_ca, .tls_cert = broker.tls_cert, .tls_key = broker.tls_key,
                                  .tls_server_name = broker.tls_server_name, .state_dir = broker.state_dir, .disk = &disk},
                                 clock, deadline);
}

Result<std::unique_ptr<Broker>> open_sqs(const BrokerConfig& broker, Disk& disk, Clock& clock, Deadline deadline) {
  return sqs::open_sqs({.name = broker.name, .region = broker.region, .endpoint_url = broker.endpoint_url, .tls_ca = broker.tls_ca, .state_dir = broker.state_dir,
                        .cloudwatch = broker.cloudwatch, .look = look_mode(broker.look), .environment = environment},
                       disk, clock, system_random(), deadline);
}

}  // namespace

BrokerFactory broker_factory(Disk& disk, Clock& clock) {
  return [&disk, &clock](const BrokerConfig& broker, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
    switch (broker.kind) {
      case BrokerConfig::Kind::redis: return open_redis(broker, disk, clock, deadline);
      case BrokerConfig::Kind::sqs: return open_sqs(broker, disk, clock, deadline);
      case BrokerConfig::Kind::rabbitmq: return open_rabbitmq(broker, disk, clock, deadline);
    }
    std::abort();
  };
}

}  // namespace claw
