// One plan carried out: snapshot everything, remove in waves, check after each, prove at the end.
//
// Every step is idempotent and journaled before its effect, so an execution that was cut off anywhere is finished by
// running it again: a snapshot that is complete is used as it is; a wave that was under way is removed again, where
// what an earlier try moved to quarantine counts as removed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "audit/log.h"
#include "audit/read.h"
#include "base/clock.h"
#include "base/result.h"
#include "broker/broker.h"
#include "model/plan.h"
#include "store/store.h"
#include "vault/vault.h"

namespace claw::remedy {

struct Totals {
  std::uint64_t planned = 0;
  std::uint64_t removed = 0;
  std::uint64_t gone = 0;    // consumed meanwhile: nothing was done
  std::uint64_t failed = 0;  // not found at its place, or too deep to be reached: nothing was done
  std::uint64_t too_deep = 0;  // of the failed: a later plan may reach them
  std::string stopped = {};    // why the waves after the last one were not begun: what was removed is to be put back
  bool adds_up() const { return planned == removed + gone + failed; }
};

// What the skill asks after a wave beside conservation.
struct Check {
  bool passed = true;
  std::string words;  // what was seen, a clause a guard
};

// What an execution needs from outside. Everything outlives it.
struct Surroundings {
  Store& store;
  Vault& vault;
  AuditLog& audit;
  Clock& clock;
  std::function<Result<Broker*>(const BrokerName&)> broker;
  std::function<Result<std::vector<AuditEntry>>()> audit_entries;  // the whole log; read only when an execution is resumed
  std::function<bool()> brake_on;                                  // asked before every broker call
  std::function<void(std::string_view step)> after_journal = {};
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  // Asked after each wave that is accounted for, with its number; its answer is kept, and never asked for twice. Empty: passed.
  std::function<Result<Check>(std::size_t wave)> check = {};
  const KeptContent* kept = nullptr;  // what the scan just before read of the planned messages; null: nothing
  Millis call_timeout{30'000};
};

// Before every broker call. Code::refused: the brake is on.
Status check_brake(Surroundings& around);

// An execution's journal (what to go on with) and its audit records (numbered 0..k without gaps).
class Ledger {
 public:
  // Continues where an earlier process left off.
  static Result<Ledger> open(Surroundings& around, std::string execution_id);

  // `fields_json` is an object; type, execution, n and ts are added. Durable on return.
  Status record(const std::string& type, const std::string& fields_json);
  // Was this step journaled by this or an earlier process?
  bool has(const std::string& step) const { return steps_.contains(step); }
  const std::string& data(const std::string& step) const { return steps_.at(step); }
  Status journal(const std::string& step, const std::string& data_json);
  const std::string& execution_id() const { return execution_id_; }
  // "sha256:…" of the canonical bytes of the newest record.
  const std::string& last_fingerprint() const { return fingerprint_; }

 private:
  Ledger(Surroundings& around, std::string execution_id) : around_(&around), execution_id_(std::move(execution_id)) {}
  Surroundings* around_;
  std::string execution_id_;
  std::map<std::string, std::string> steps_;
  std::uint64_t next_record_ = 0;
  std::string fingerprint_;
};

// Runs (or goes on with) the removal. An error leaves the execution unfinished: nothing is lost, and running it again
// or rolling it back is safe. Code::refused: the brake went on. A check that fails ends it early, with Totals::stopped.
Result<Totals> drain(const Plan& plan, Ledger& ledger, Surroundings& around);

// The journal step after which messages may have left the quarantine for elsewhere (redrive.h): what is not there is not lost.
inline constexpr const char* kRedriveStep = "redrive";

struct QueueRestore {
  QueueId queue;
  RestoreOutcome outcome;
};

// Puts back everything the execution removed. Twice is a no-op. What somebody deleted from quarantine comes back from the
// vault: once, because the journal tells what was removed, and that nothing was put back before the quarantine was looked at.
Result<std::vector<QueueRestore>> roll_back(const Plan& plan, Ledger& ledger, Surroundings& around, RestoreOrder wanted);

}  // namespace claw::remedy
