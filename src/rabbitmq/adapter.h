// The RabbitMQ adapter: classic, quorum, priority and stream queues of one vhost.
//
// There is no browse on this broker: a look takes messages and gives them back by closing its channel, which keeps their order
// (a nack does not, on quorum queues). See look_policy.h for when that is refused, and docs/operations/rabbitmq.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/secret.h"
#include "broker/broker.h"

namespace claw::rabbitmq {

struct Options {
  BrokerName name;
  std::string url;
  std::string management_url;  // empty: looks are refused, because limits are unknown
  std::string user;            // overrides the URL's
  Secret password;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_server_name;
  // Where our own looks are remembered, and by what; empty and null: for the life of this object only.
  std::string state_dir;
  Disk* disk = nullptr;
  // Tests only: how many messages one consumer of a hold is given at most; a longer hold has several.
  std::uint16_t prefetch = 65'535;
  // Tests only: called between the steps of a removal or restore, so that a crash can be made there.
  std::function<void(std::string_view step)> after = {};
};

// Connects, logs in, and refuses servers older than 3.8 when the management API tells the version. Connections that broke are
// opened again before a call; remove and restore are never repeated here.
Result<std::unique_ptr<Broker>> open_rabbitmq(Options options, Clock& clock, Deadline deadline);

}  // namespace claw::rabbitmq
