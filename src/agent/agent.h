// The facade: the five calls of the mission and what stands around them. CLI, HTTP API and an embedding program
// stand on it. One agent owns one data directory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/tokens.h"
#include "audit/log.h"
#include "audit/read.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/process.h"
#include "base/random.h"
#include "base/result.h"
#include "broker/broker.h"
#include "config/config.h"
#include "model/finding.h"
#include "model/plan.h"
#include "policy/policy.h"
#include "remedy/redrive.h"
#include "store/store.h"
#include "vault/vault.h"

namespace claw {

// How far a long call is. Called from the thread that made the call, at most a few times a second a stage.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void stage(std::string_view stage) = 0;  // one of the five names, "snapshot", "rollback"
  virtual void advance(std::uint64_t done, std::uint64_t total) = 0;
  virtual void finish(const StageRecord& stage) = 0;
  // A line about what happened: "queue_remediation_7: finished the removal that a crash interrupted".
  virtual void note(std::string_view text) = 0;
  // The call became this execution.
  virtual void execution(std::string_view /*id*/, const TenantId& /*tenant*/) {}
};

// Says nothing.
Progress& silent();

using BrokerFactory = std::function<Result<std::unique_ptr<Broker>>(const BrokerConfig&, Deadline)>;

struct Topology;
struct Health;

struct AgentDeps {
  Disk& disk;
  Clock& clock;
  Random& random;
  BrokerFactory open_broker;
  // Called by the agent's thread after it has looked at all tenants.
  std::function<void(const Topology&, const Health&)> evaluated = {};
  // Tests only: called after each durable journal step, so that a crash can be made there.
  std::function<void(std::string_view step)> after_journal = {};
};

struct TenantTopology {
  Tenant tenant;
  std::vector<QueueView> queues;
};

struct BrokerTrouble {  // a broker that could not be asked; the others are still in the answer
  BrokerName broker;
  Error error;
};

struct Topology {
  std::vector<TenantTopology> tenants;  // by id
  std::vector<BrokerTrouble> troubles;
};

struct Health {
  std::vector<TenantHealth> tenants;  // worst first
  std::vector<BrokerTrouble> troubles;
};

struct ScanTarget {
  std::optional<TenantId> tenant;
  std::optional<QueueId> queue;
};

struct Proposal {
  Plan plan;
  std::string hash;
  Observation observation;
  Verdict verdict;  // what policy would say to applying it now, by a person
  std::vector<std::string> notes = {};  // what will be left alone although it was found, and why
};

struct Recovery {
  std::uint64_t groups = 0;            // consumer groups of the queues touched
  std::uint64_t groups_connected = 0;  // with a consumer that was active within the last seconds
  std::int64_t throughput_bps = -1;    // of the baseline; -1 = no baseline
  double throughput_per_s = 0;
  std::optional<Millis> full_recovery; // from the slope; nullopt = backlog does not fall
  bool recovered = false;
  std::string words;                   // one line in the mission's form
};

struct QueueRollback {
  QueueId queue;
  RestoreOutcome outcome;
};

struct RollbackReport {
  std::string rollback_key;
  RestoreOutcome outcome;              // summed over queues
  std::vector<QueueRollback> queues;
  std::vector<std::string> notes;      // a queue a line: order achieved and why
};

struct DoctorLine {
  enum class Level { ok, warn, fail } level = Level::ok;
  std::string subject;
  std::string text;
  std::string fix;  // empty when nothing is to be done
};

struct RestartReport {
  std::string entry;
  std::vector<std::string> command;  // with the tenant's id in its place
  std::string user;
  Exit exit;
};

// The circuit breaker before one broker.
struct BreakerLine {
  BrokerName broker;
  std::string state;  // "closed", "open", "half_open"; "busy" while its last call has no answer
  std::string words;  // why, and for how long; empty when closed
  std::uint64_t openings = 0;
};

// What can be asked of an agent: of the one in this process, or of one that runs (api/remote.h). One call at a time.
class AgentCalls {
 public:
  virtual ~AgentCalls() = default;

  // The five calls of the mission.
  virtual Result<Health> analyze_queue_health(const std::optional<TenantId>& tenant) = 0;
  virtual Result<Observation> detect_poison_messages(const ScanTarget& target, Progress& progress) = 0;
  // Carries out exactly this plan. `actor` is a person ("user:root") or "agent". A refusal is an ExecutionRecord
  // with a refused stage, not an Error.
  virtual Result<ExecutionRecord> execute_safe_drain(const Plan& plan, const std::string& actor, Progress& progress) = 0;
  virtual Result<Recovery> verify_consumer_recovery(const std::string& execution_id, Millis timeout, Progress& progress) = 0;

  // All five in one go. Without `confirm` a person is taken to have said yes; else it is asked with the proposal
  // (blast radius) before anything is touched, and false ends with state "refused", reason "not confirmed".
  virtual Result<ExecutionRecord> remediate(const TenantId& tenant, const std::optional<std::string>& skill, const std::string& actor,
                                            const std::function<bool(const Proposal&)>& confirm, Progress& progress) = 0;

  virtual Result<Topology> topology() = 0;
  virtual Result<Proposal> plan(const TenantId& tenant, const std::optional<std::string>& skill, const std::string& actor,
                                Progress& progress) = 0;
  virtual Status approve(const std::string& plan_hash, const std::string& actor, const std::string& reason) = 0;
  // Somebody tried to carry out a plan whose text is not what its hash says: kept in the audit log.
  virtual Status refuse_edited_plan(const std::string& claimed_hash, const std::string& actor, const std::string& reason) = 0;
  virtual Status reject(const std::string& plan_hash, const std::string& actor, const std::string& reason) = 0;
  // What a person knows of a finding ("findings list"): from now on it weighs in every look at that tenant.
  virtual Status label(const std::string& finding, Said said, const std::string& actor, const std::string& reason) = 0;
  // Order exact is tried where it is safe; the report says what was achieved, a queue at a time, and why not.
  virtual Result<RollbackReport> rollback(const std::string& rollback_key, const std::string& actor, Progress& progress,
                                          RestoreOrder wanted = RestoreOrder::exact) = 0;
  virtual Result<std::vector<DoctorLine>> doctor() = 0;
  virtual Result<std::vector<BreakerLine>> breakers() = 0;  // of each configured broker
  // An operator's word that the broker is well again: closed, as new. Code::unavailable while its last call has no answer.
  virtual Status reset_breaker(const BrokerName& broker, const std::string& actor, const std::string& reason) = 0;
  // Runs an entry of the config's `restarts` for a tenant, as a person asked. Code::not_found: no such entry; refused: the brake is
  // on, or this was restarted within the last minute. A program that fails is no error: the report says how it ended.
  virtual Result<RestartReport> restart(const TenantId& tenant, const std::string& entry, const std::string& actor, const std::string& reason) = 0;
  // Tokens of the API (tokens.h).
  virtual Result<NewToken> create_token(const TokenWish& wish, const std::string& actor) = 0;
  virtual Result<std::vector<Token>> tokens() = 0;
  virtual Status revoke_token(const std::string& id, const std::string& actor) = 0;
};

// A dead-letter queue of a tenant, and what its messages have in common.
struct DeadLetters {
  QueueId source;  // the queue that points to it
  QueueView queue;
  Observation seen;
};

struct RedriveRequest {
  QueueId dead_letter;
  std::string signature;          // id of a finding, or its beginning
  std::optional<QueueId> target;  // where several queues point to the dead-letter queue
  std::uint64_t canary = 10;
  double rate_per_s = 50;
  Millis wait{30'000};
};

struct RedriveReport {
  std::string execution_id;
  QueueId target;
  Signature signature;
  remedy::RedriveOutcome outcome;
};

class Agent : public AgentCalls {
 public:
  // Takes the data directory (Code::conflict when another agent holds it), opens state, vault and audit log,
  // and settles every execution that was cut off: finishes it, rolls it back or holds it, and says so.
  static Result<std::unique_ptr<Agent>> open(Config config, AgentDeps deps, Progress& progress);

  virtual Result<std::uint64_t> record_immutable(const std::string& type, const std::string& json_text) = 0;

  // One turn of the autonomous agent: evaluates all tenants, worst first. Acts where policy lets it; makes a plan for
  // a person to approve where autonomy is "propose", again when that plan has expired.
  // Returns the executions it carried out. `event` receives one line an event.
  virtual Result<std::vector<ExecutionRecord>> tick(const std::function<void(std::string_view)>& event, Progress& progress) = 0;

  // Dead-letter queues of a tenant, or of all, grouped by signature. A look at each.
  virtual Result<std::vector<DeadLetters>> dead_letters(const std::optional<TenantId>& tenant, Progress& progress) = 0;
  // Puts the messages of one signature back where they came from: a few first, and no further when they fail again.
  virtual Result<RedriveReport> redrive(const RedriveRequest& request, const std::string& actor, Progress& progress) = 0;

  virtual Store& store() = 0;
  virtual Vault& vault() = 0;
  virtual AuditLog& audit() = 0;
  virtual const Config& config() const = 0;
};

}  // namespace claw
