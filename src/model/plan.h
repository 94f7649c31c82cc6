// A plan names every message it would touch; its hash pins it. An execution is one plan carried out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/finding.h"
#include "model/queue.h"

namespace claw {

struct Limits {
  std::uint64_t max_messages = 50'000;
  std::int64_t max_queue_bps = 1'000;        // of the queue's messages, basis points
  std::uint64_t max_bytes = 1ull << 30;
  std::int64_t refuse_above_bps = 4'000;     // this much poison means the consumer is broken
  std::int64_t confidence_bps = 9'500;       // lower bound needed to remove
  std::vector<std::int64_t> waves_bps = {100, 1'000, 10'000};  // cumulative shares
  Millis block_budget{25};                   // no single call may block the broker longer
  // The stricter of both, member by member.
  Limits tightened(const Limits& other) const;
  bool operator==(const Limits&) const = default;
};

struct PlannedMessage {
  std::string id;
  MessageKey key;
  std::uint32_t signature = 0;  // index into Plan::signatures
  std::uint64_t attempts = 0;   // when it was planned; a message with deliveries that is acknowledged since is `gone`
  std::uint64_t digest = 0;     // short digest of its content: other bytes under its id are another message; 0: not known
};

struct PlannedQueue {
  QueueId queue;
  QueueType type = QueueType::stream;
  std::uint64_t entries = 0;                // seen by the scan
  std::string quarantine;                   // name of the quarantine queue
  ListEnd takes_from = ListEnd::tail;       // lists: where a rollback puts what has lost its place
  std::uint64_t poison = 0;                 // qualified in it; those not in `messages` wait for a later plan
  std::vector<PlannedMessage> messages;     // in the order they will be removed
};

struct PlannedSignature {
  Signature signature;
  std::uint64_t count = 0;
  std::int64_t confidence_bps = 0;
  std::int64_t lower_bound_bps = 0;
  std::string explanation;
};

struct Plan {
  TenantId tenant;
  std::string skill;
  std::string protocol;                     // hash of the skill's protocol block
  std::string detector;                     // version of detection
  Limits limits;                            // effective
  std::uint64_t messages_seen = 0;
  std::uint64_t poison = 0;                 // messages that qualified, in all queues seen
  std::uint64_t bytes = 0;                  // estimated content bytes to remove
  std::vector<PlannedSignature> signatures;
  std::vector<PlannedQueue> queues;
  WallTime created;                         // not part of the hash
  WallTime expires;                         // not part of the hash
  std::string requester;                    // not part of the hash

  std::uint64_t total() const;              // messages in all queues
  std::uint64_t waiting() const;            // qualified, but beyond limits.max_messages: for a later plan
};

// "sha256:<64 hex>" over the canonical form of everything that decides what is touched.
std::string plan_hash(const Plan& plan);
// The document `plan --out` writes: {"plan": …, "hash": …}. Parsing checks the hash, so an edited file
// is Code::conflict.
std::string plan_to_text(const Plan& plan);
// Hash and document in one pass: a plan may name tens of thousands of messages.
struct PlanText {
  std::string hash;
  std::string text;
};
PlanText pin(const Plan& plan);
Result<Plan> plan_from_text(std::string_view text, std::string_view file);

enum class StageStatus { complete, skipped, refused, failed, rolled_back };
std::string_view name(StageStatus status);

struct StageRecord {
  std::string stage;
  Millis duration{0};
  StageStatus status = StageStatus::complete;
  std::string output;
};

struct RemediationRecord {
  std::uint64_t messages_removed = 0;
  std::uint64_t messages_preserved = 0;
  std::uint64_t messages_left = 0;  // planned and left alone: not found at their place, or too deep to be reached
  std::string estimated_downtime_prevented = "unknown";
  std::string compliance_fingerprint;  // "sha256:…" of the canonical close record
  std::string rollback_key;
};

// The mission's execution log.
struct ExecutionRecord {
  std::string execution_id;
  WallTime timestamp;
  TenantId tenant;
  std::string plan_hash;
  std::string state;  // "running", "completed", "refused", "failed", "rolled_back", "held"
  std::string reason; // of a refusal or failure, else empty
  std::vector<StageRecord> stages;
  RemediationRecord record;
};

std::string execution_to_json(const ExecutionRecord& record, int indent);
Result<ExecutionRecord> execution_from_json(std::string_view text);

// "queue_remediation_84729" ↔ "remediation_84729_rollback"
std::string rollback_key_of(std::string_view execution_id);
Result<std::string> execution_of_rollback_key(std::string_view key);

}  // namespace claw
