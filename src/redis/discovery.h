// Which queues there are and how they stand, in as few round trips as can be.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "redis/connection.h"

namespace claw::redis {

// SCAN with TYPE (never KEYS) once over the keyspace for all claims, then every matched key is measured in one pipeline.
Result<std::vector<QueueView>> discover_queues(Connection& connection, const BrokerName& broker, std::span<const Claim> claims, Deadline deadline);

// Fills in the measures of views that have id, tenant, type, processing and dead_letter. A key that is gone has zero entries.
Status measure_queues(Connection& connection, std::span<QueueView> views, Deadline deadline);

}  // namespace claw::redis
