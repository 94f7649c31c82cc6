// The agent's state: executions and their journal, plans, findings, labels, what is remembered of queues, history. SQLite, WAL, synchronous=FULL:
// what a call has returned is on disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/finding.h"
#include "model/plan.h"
#include "model/queue.h"
#include "model/sample.h"
#include "model/token.h"

namespace claw {

struct JournalEntry {
  std::uint64_t seq = 0;
  std::string step;  // "snapshot", "intent", …
  std::string data;  // JSON
  WallTime at;
};

struct StoredPlan {
  std::string hash;
  std::string text;      // as plan_to_text made it
  std::string state;     // "proposed", "approved", "rejected", "applied"
  std::string approver;  // who moved it last, empty when nobody did
  std::string reason;
  WallTime at;
};

struct StoredFinding {
  std::string id;
  TenantId tenant;
  WallTime at;
  std::string json;
};

struct StoredSample {
  QueueId queue;
  Sample sample;
  int keep = 0;
};

// A notice to somebody outside: an alert that opened or closed, by one route. Kept until it is delivered or given up.
struct Notice {
  std::int64_t number = 0;
  std::string route;
  std::string body;        // JSON, as notify/ made it
  std::uint32_t attempts = 0;
  WallTime next;           // not before
  WallTime at;
};

// Thread-safe. Errors: corrupt (not our file, or damaged), full (disk), unsupported (made by a newer version).
class Store {
 public:
  // `dir` exists. Creates state.db (0600) on first use.
  static Result<std::unique_ptr<Store>> open(const std::string& dir, Clock& clock);
  // For looking back while another process holds the directory. Code::not_found when there is no state yet.
  static Result<std::unique_ptr<Store>> open_read_only(const std::string& dir, Clock& clock);
  virtual ~Store() = default;

  virtual Status save_execution(const ExecutionRecord& record) = 0;
  virtual Result<ExecutionRecord> execution(const std::string& id) = 0;
  virtual Result<std::vector<ExecutionRecord>> executions(std::size_t limit) = 0;  // newest first
  virtual Result<std::vector<std::string>> unfinished() = 0;                        // state "running" or "held", oldest first

  virtual Status journal(const std::string& execution_id, const std::string& step, const std::string& data) = 0;
  virtual Result<std::vector<JournalEntry>> journal_of(const std::string& execution_id) = 0;

  // Keeps the state of a plan that is known already.
  virtual Status save_plan(const std::string& hash, const std::string& text) = 0;
  // A whole hash, with or without "sha256:", or a prefix of at least 8 digits that names one plan.
  virtual Result<StoredPlan> plan(const std::string& hash_or_prefix) = 0;
  virtual Result<std::vector<StoredPlan>> plans(std::size_t limit) = 0;  // last moved first, without their texts
  // Compare and set: Code::conflict, naming the state it is in, when that is not `from`.
  virtual Status move_plan(const std::string& hash, const std::string& from, const std::string& to,
                           const std::string& actor, const std::string& reason) = 0;

  virtual Status save_findings(const std::vector<StoredFinding>& findings) = 0;
  virtual Result<std::vector<StoredFinding>> findings(std::size_t limit) = 0;  // newest first
  virtual Result<StoredFinding> finding(const std::string& id) = 0;

  // One a tenant and signature; without a value it is taken back.
  virtual Status save_label(const TenantId& tenant, const std::string& signature, const std::optional<Label>& label) = 0;
  virtual Result<Labels> labels(const TenantId& tenant) = 0;

  // What looks at a queue taught, in the form of who made it; empty when there is nothing.
  virtual Status save_memories(const std::vector<std::pair<QueueId, std::string>>& memories) = 0;
  virtual Result<std::string> memory(const QueueId& queue) = 0;

  // `keep`: 0 is dropped after an hour, 1 after a day, anything after seven days.
  virtual Status add_samples(const std::vector<StoredSample>& samples) = 0;
  virtual Result<std::vector<Sample>> samples(const QueueId& queue, WallTime since) = 0;  // oldest first, at most 10,000

  // What is open, and the notices of what changed, in one step: nothing is told that is not kept, nothing is kept untold.
  virtual Status save_alerts(const std::vector<std::pair<std::string, std::string>>& opened, const std::vector<std::string>& closed, const std::vector<Notice>& notices) = 0;
  virtual Result<std::vector<std::pair<std::string, std::string>>> alerts() = 0;  // (id, JSON) of those that are open
  virtual Result<std::vector<Notice>> notices(WallTime due, std::size_t limit) = 0;  // undelivered and due, of each route the oldest
  virtual Status notice_delivered(std::int64_t number) = 0;
  // A token is known by the hash of its secret alone.
  virtual Status save_token(const Token& token, const std::string& hash) = 0;
  virtual Result<std::vector<Token>> tokens() = 0;  // newest first
  virtual Result<std::optional<Token>> token_by_hash(const std::string& hash) = 0;
  virtual Status revoke_token(const std::string& id) = 0;
  virtual Status notice_failed(std::int64_t number, WallTime next) = 0;
};

}  // namespace claw
