// Which queues there are and how they stand, in as few round trips as can be.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "redis/servers.h"

namespace claw::redis {

// SCAN with TYPE (never KEYS) once over every master's keyspace for all claims, then every matched key is measured in one
// pipeline a server.
Result<std::vector<QueueView>> discover_queues(Servers& servers, const BrokerName& broker, std::span<const Claim> claims, Deadline deadline);

// Fills in the measures of views that have id, tenant, type, processing and dead_letter. A key that is gone has zero entries.
Status measure_queues(Servers& servers, std::span<QueueView> views, Deadline deadline);

}  // namespace claw::redis
