// The facade's values as the API's JSON (openapi.yaml), and back for whoever asks a running agent. All broker data is
// escaped here, once; escaping it again changes nothing.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "agent/agent.h"

namespace claw::api {

using Json = nlohmann::json;

Json to_json(const Error& error);
Json to_json(const QueueView& queue);
Json to_json(const Tenant& tenant);
Json to_json(const TenantHealth& health);
Json to_json(const Topology& topology);
Json to_json(const Health& health);
Json to_json(const Observation& seen);
Json to_json(const Proposal& proposal);
Json to_json(const Recovery& recovery);
Json to_json(const RollbackReport& report);
Json to_json(const std::vector<DoctorLine>& lines);
Json to_json(const Token& token);
Json to_json(const RestartReport& report);

// Of to_json() alone: another text throws a std::exception.
Error error_from(const Json& json);
StageRecord stage_from(const Json& json);
Topology topology_from(const Json& json);
Health health_from(const Json& json);
Observation observation_from(const Json& json);
Result<Proposal> proposal_from(const Json& json);
Recovery recovery_from(const Json& json);
RollbackReport rollback_from(const Json& json);
std::vector<DoctorLine> doctor_from(const Json& json);
Json to_json(const std::vector<BreakerLine>& lines);
std::vector<BreakerLine> breakers_from(const Json& json);
Token token_from(const Json& json);
RestartReport restart_from(const Json& json);

}  // namespace claw::api
