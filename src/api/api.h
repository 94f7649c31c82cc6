// The HTTP API of openapi.yaml, as a function from a request to an answer. It never touches a broker: what it shows was
// published by the last evaluation or lies in the store, and what it is asked to do waits for the agent's thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "api/board.h"
#include "api/events.h"
#include "api/operations.h"
#include "base/disk.h"
#include "http/message.h"

namespace claw::api {

struct Who;

struct ApiDeps {
  Agent& agent;  // config(), store(), vault() and audit() alone: those may be used by several threads
  Disk& disk;
  Clock& clock;
  Random& random;
  Board& board;
  Events& events;
  Operations& operations;
};

// Thread-safe.
class Api {
 public:
  explicit Api(ApiDeps deps) : d_(deps), started_(deps.clock.mono()) {}
  // `address` is what is listened on: "127.0.0.1:7433".
  http::Response answer(const http::Request& request, const std::string& address);
  // Each route as "POST /api/v1/plans": for a test that leaves none out.
  static std::vector<std::string> all_routes();
  // What changed since the evaluation before, as a "tenants" event.
  void tell_evaluation(const Seen* before, const Seen& now);

 private:
  struct Route;
  struct Call;  // a request and what its path named
  using Handler = Result<http::Response> (Api::*)(const Call&);
  static const std::vector<Route>& routes();
  http::Response admitted(const http::Request& request, const std::string& address);
  http::Response dispatch(const http::Request& request, const Who& who);
  http::Response page(const http::Request& request);

  Result<http::Response> health(const Call&);
  Result<http::Response> ready(const Call&);
  Result<http::Response> metrics(const Call&);
  Result<http::Response> status(const Call&);
  Result<http::Response> tenants(const Call&);
  Result<http::Response> tenant(const Call&);
  Result<http::Response> topology(const Call&);
  Result<http::Response> queue(const Call&);
  Result<http::Response> findings(const Call&);
  Result<http::Response> finding(const Call&);
  Result<http::Response> plans(const Call&);
  Result<http::Response> plan(const Call&);
  Result<http::Response> executions(const Call&);
  Result<http::Response> execution(const Call&);
  Result<http::Response> operations(const Call&);
  Result<http::Response> operation(const Call&);
  Result<http::Response> operation_result(const Call&);
  Result<http::Response> audit_entries(const Call&);
  Result<http::Response> audit_proof(const Call&);
  Result<http::Response> audit_head(const Call&);
  Result<http::Response> snapshots(const Call&);
  Result<http::Response> skills(const Call&);
  Result<http::Response> tokens(const Call&);
  Result<http::Response> create_token(const Call&);
  Result<http::Response> revoke_token(const Call&);
  Result<http::Response> follow(const Call&);

  Result<http::Response> wish_analysis(const Call&);
  Result<http::Response> wish_topology(const Call&);
  Result<http::Response> wish_scan(const Call&);
  Result<http::Response> wish_plan(const Call&);
  Result<http::Response> wish_approval(const Call&);
  Result<http::Response> wish_rejection(const Call&);
  Result<http::Response> wish_apply(const Call&);
  Result<http::Response> wish_remediation(const Call&);
  Result<http::Response> wish_rollback(const Call&);
  Result<http::Response> wish_verification(const Call&);
  Result<http::Response> wish_check(const Call&);
  Result<http::Response> answer_question(const Call&);
  Result<http::Response> cancel(const Call&);
  Result<http::Response> brake(const Call&);

  Result<http::Response> accept(const Call& call, Operation wish, Operations::Work work);
  Result<http::Response> wish_label(const Call& call);
  Result<http::Response> wish_restart(const Call& call);
  Result<http::Response> wish_breakers(const Call& call);
  Result<http::Response> wish_breaker_reset(const Call& call);
  Result<http::Response> decide(const Call& call, bool approve);
  bool still_good(const Token& token) const;
  // Of a tenant that the caller does not see: as if there were none.
  Result<StoredFinding> visible_finding(const Call& call, const std::string& id);
  Result<StoredPlan> visible_plan(const Call& call, const std::string& hash);
  Result<ExecutionRecord> visible_execution(const Call& call, const std::string& id);
  Result<Operation> visible_operation(const Call& call, const std::string& id);
  Result<std::string> plan_facts(const std::string& hash);  // of a plan, without its messages; kept
  QueueId real_queue(const std::string& broker, const std::string& shown) const;
  TenantId owner_of(const QueueId& queue) const;  // empty: nobody's that was seen

  ApiDeps d_;
  const MonoTime started_;
  Guarded<std::map<std::string, std::string>> plan_facts_;  // by hash
  Guarded<std::pair<std::uint64_t, std::string>> tenants_;  // evaluation → its list
};

}  // namespace claw::api
