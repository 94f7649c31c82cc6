// The SQS adapter: standard and FIFO queues of one account and region.
//
// SQS cannot be browsed: a look hides every message that it sees, spends one of its receives, and shows it again at the end.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "broker/broker.h"
#include "sqs/client.h"
#include "sqs/look_policy.h"

namespace claw::sqs {

struct Options {
  BrokerName name;
  std::string region;
  std::string endpoint_url;  // empty: the environment's, else AWS
  std::string tls_ca;        // empty: the system's trust store
  std::string state_dir;     // remembers our own looks; empty: for the life of this object only
  std::optional<std::string> cloudwatch;  // ask it for the age of the oldest message; its endpoint, as endpoint_url
  LookMode look = LookMode::hold_all;
  Millis hold = std::chrono::minutes(5);  // visibility timeout of what we hide, prolonged while we work
  std::function<std::string(const char*)> environment;  // empty text when unset
};

// Finds credentials and asks the endpoint once, so that an object that exists is usable.
Result<std::unique_ptr<Broker>> open_sqs(Options options, Disk& disk, Clock& clock, Random& random, Deadline deadline);

}  // namespace claw::sqs
