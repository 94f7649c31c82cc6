#include "remedy/drain.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"
#include "remedy/planner.h"

namespace claw::remedy {
namespace {

using nlohmann::json;

Status check_brake(Surroundings& around) {
  if (around.brake_on()) return make_error(Code::refused, "brake", "the brake is on: nothing more is touched");
  return {};
}

constexpr Micros kPerEntry{2'000};  // a queue that cannot be browsed is received through to find a message again

Deadline deadline_of(const PlannedQueue& queue, Surroundings& around) {
  constexpr std::uint64_t kMost = 1'000'000;
  return Deadline::in(around.clock, around.call_timeout + std::chrono::duration_cast<Millis>(kPerEntry * std::min(queue.entries, kMost)));
}

json totals_json(const Totals& t) {
  return {{"planned", t.planned}, {"removed", t.removed}, {"gone", t.gone}, {"failed", t.failed}};
}

Totals totals_of(const std::string& text) {
  const json value = json::parse(text);
  return {.planned = value.at("planned").get<std::uint64_t>(), .removed = value.at("removed").get<std::uint64_t>(),
          .gone = value.at("gone").get<std::uint64_t>(), .failed = value.at("failed").get<std::uint64_t>()};
}

std::string step_name(std::string_view what, std::size_t number) { return fmt::format("{}-{}", what, number); }

// The messages of one queue as its snapshot holds them, in plan order; makes the snapshot when there is none.
Result<std::vector<Message>> snapshot_queue(const Plan& plan, std::size_t q, Ledger& ledger, Surroundings& around) {
  const PlannedQueue& queue = plan.queues[q];
  const std::string step = step_name("snapshot", q);
  CLAW_TRY_ASSIGN(const bool there, around.vault.has(ledger.execution_id(), queue.queue));
  if (there && ledger.has(step)) return around.vault.read(ledger.execution_id(), queue.queue);
  if (ledger.has(step)) return make_error(Code::corrupt, "vault " + queue.queue.text(), "the snapshot that the journal tells of is not there: nothing is touched");

  CLAW_TRY(check_brake(around));
  std::vector<Message> messages;
  if (there) {  // complete, but cut off before it was journaled
    CLAW_TRY_ASSIGN(messages, around.vault.read(ledger.execution_id(), queue.queue));
  } else {
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
    static const ContentByKey nothing;
    const auto kept = around.kept == nullptr ? KeptContent::const_iterator() : around.kept->find(queue.queue);
    const ContentByKey& known = around.kept == nullptr || kept == around.kept->end() ? nothing : kept->second;
    CLAW_TRY_ASSIGN(messages, broker->read(queue, queue.messages, known, deadline_of(queue, around)));
  }
  if (messages.size() != queue.messages.size())
    return make_error(Code::corrupt, "snapshot " + queue.queue.text(), fmt::format("{} messages came back for {} that were asked for", messages.size(), queue.messages.size()));
  CLAW_TRY_ASSIGN(const SnapshotInfo info, around.vault.write(ledger.execution_id(), queue.queue, messages));
  const json fields = {{"queue_hex", hex(queue.queue.text())}, {"object", info.object}, {"messages", info.messages},
                       {"ciphertext", info.ciphertext_sha256}, {"merkle_root", info.merkle_root}, {"key_id", info.key_id}, {"read_back", "equal"}};
  CLAW_TRY(ledger.record("snapshot", fields.dump()));
  CLAW_TRY(ledger.journal(step, fields.dump()));
  return messages;
}

Status remove_slice(const Plan& plan, const Slice& slice, std::span<const Message> snapshot, const std::string& execution_id,
                    Surroundings& around, Totals& totals) {
  const PlannedQueue& queue = plan.queues[slice.queue];
  CLAW_TRY(check_brake(around));
  CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
  const RemoveRequest request{.queue = queue, .messages = snapshot.subspan(slice.first, slice.count), .execution_id = execution_id,
                              .first_number = slice.first, .block_budget = plan.limits.block_budget};
  CLAW_TRY_ASSIGN(const std::vector<Removal> removals, broker->remove(request, deadline_of(queue, around)));
  if (removals.size() != slice.count)
    return make_error(Code::corrupt, "remove " + queue.queue.text(), fmt::format("{} answers for {} messages", removals.size(), slice.count));
  totals.planned += slice.count;
  for (const Removal& removal : removals) {
    switch (removal.fate) {
      case Fate::removed: ++totals.removed; break;
      case Fate::gone: ++totals.gone; break;
      case Fate::not_found: ++totals.failed; break;
    }
  }
  return {};
}

// Every message that is called removed is in quarantine, once, with the bytes of the snapshot; nothing else is.
Status check_conservation(const Plan& plan, const std::vector<std::vector<Message>>& snapshots, std::uint64_t removed, Ledger& ledger,
                          Surroundings& around) {
  std::uint64_t found = 0;
  for (std::size_t q = 0; q < plan.queues.size(); ++q) {
    const PlannedQueue& queue = plan.queues[q];
    CLAW_TRY(check_brake(around));
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
    CLAW_TRY_ASSIGN(const auto held, broker->quarantined(queue.queue, queue.quarantine, ledger.execution_id(), deadline_of(queue, around)));
    std::vector<bool> seen(snapshots[q].size(), false);
    for (const Quarantined& one : held) {
      const bool known = one.number < seen.size() && !seen[one.number];
      if (!known || one.message.fields != snapshots[q][one.number].fields)
        return make_error(Code::corrupt, "conservation " + queue.queue.text(),
                          fmt::format("quarantine entry {} (number {}) is {}", escape(one.quarantine_id), one.number, known ? "not byte-equal to its snapshot" : "there twice or was never planned"));
      seen[one.number] = true;
    }
    found += held.size();
  }
  if (found != removed)
    return make_error(Code::corrupt, "conservation", fmt::format("{} messages are in quarantine, {} were removed", found, removed));
  return {};
}

}  // namespace

Result<Ledger> Ledger::open(Surroundings& around, std::string execution_id) {
  Ledger ledger(around, std::move(execution_id));
  CLAW_TRY_ASSIGN(const auto entries, around.store.journal_of(ledger.execution_id_));
  if (entries.empty()) return ledger;
  for (const JournalEntry& entry : entries) ledger.steps_[entry.step] = entry.data;
  CLAW_TRY_ASSIGN(const auto records, around.audit_entries());
  for (const AuditEntry& entry : records) {
    CLAW_TRY_ASSIGN(const json record, parse_json(entry.bytes, "audit record"));
    if (record.value("execution", "") != ledger.execution_id_) continue;
    ledger.next_record_ = record.value("n", std::uint64_t{0}) + 1;
    ledger.fingerprint_ = sha256_label(entry.bytes);
  }
  return ledger;
}

Status Ledger::journal(const std::string& step, const std::string& data_json) {
  CLAW_TRY(around_->store.journal(execution_id_, step, data_json));
  steps_[step] = data_json;
  if (around_->after_journal) around_->after_journal(step);
  return {};
}

Status Ledger::record(const std::string& type, const std::string& fields_json) {
  CLAW_TRY_ASSIGN(json record, parse_json(fields_json, "audit record"));
  record["type"] = type;
  record["execution"] = execution_id_;
  record["n"] = next_record_;
  record["ts"] = rfc3339(around_->clock.now());
  CLAW_TRY_ASSIGN(const std::string bytes, canonical(record));
  CLAW_TRY(around_->audit.append(record));
  fingerprint_ = sha256_label(bytes);
  ++next_record_;
  return {};
}

Result<Totals> drain(const Plan& plan, Ledger& ledger, Surroundings& around) {
  std::vector<std::vector<Message>> snapshots;
  for (std::size_t q = 0; q < plan.queues.size(); ++q) {
    CLAW_TRY_ASSIGN(auto messages, snapshot_queue(plan, q, ledger, around));
    snapshots.push_back(std::move(messages));
  }

  Totals totals;
  const std::vector<Wave> waves = waves_of(plan);
  for (std::size_t w = 0; w < waves.size(); ++w) {
    const std::string intent = step_name("intent", w), result = step_name("result", w);
    if (ledger.has(result)) {  // an earlier process finished this wave
      totals = totals_of(ledger.data(result));
      continue;
    }
    std::uint64_t count = 0;
    for (const Slice& slice : waves[w]) count += slice.count;
    CLAW_TRY(ledger.record("intent", json{{"wave", w}, {"messages", count}, {"to", "quarantine"}}.dump()));
    CLAW_TRY(ledger.journal(intent, "{}"));
    for (const Slice& slice : waves[w]) {
      CLAW_TRY(remove_slice(plan, slice, snapshots[slice.queue], ledger.execution_id(), around, totals));
      if (around.progress) around.progress(totals.planned, plan.total());
    }
    CLAW_CHECK(totals.adds_up());
    json done = totals_json(totals);
    done["wave"] = w;
    CLAW_TRY(ledger.record("result", done.dump()));
    CLAW_TRY(ledger.journal(result, done.dump()));
  }
  CLAW_TRY(check_conservation(plan, snapshots, totals.removed, ledger, around));
  CLAW_TRY(ledger.record("guard", json{{"guard", "conservation"}, {"in_quarantine", totals.removed}, {"verdict", "pass"}}.dump()));
  return totals;
}

Result<std::vector<QueueRestore>> roll_back(const Plan& plan, Ledger& ledger, Surroundings& around) {
  std::vector<QueueRestore> restores;
  for (const PlannedQueue& queue : plan.queues) {
    CLAW_TRY_ASSIGN(const bool there, around.vault.has(ledger.execution_id(), queue.queue));
    if (!there) continue;  // cut off before its snapshot was complete: nothing was removed
    CLAW_TRY(check_brake(around));
    CLAW_TRY_ASSIGN(const std::vector<Message> messages, around.vault.read(ledger.execution_id(), queue.queue));
    CLAW_TRY(ledger.record("rollback", json{{"phase", "intent"}, {"queue_hex", hex(queue.queue.text())}}.dump()));
    CLAW_TRY(ledger.journal("rollback-intent", "{}"));
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
    const RestoreRequest request{.queue = queue.queue, .type = queue.type, .execution_id = ledger.execution_id(), .quarantine = queue.quarantine,
                                 .messages = messages, .wanted = RestoreOrder::exact, .block_budget = plan.limits.block_budget};
    CLAW_TRY_ASSIGN(const RestoreOutcome outcome, broker->restore(request, deadline_of(queue, around)));
    const json fields = {{"phase", "result"}, {"queue_hex", hex(queue.queue.text())}, {"restored", outcome.restored},
                         {"already_present", outcome.already_present}, {"failed", outcome.failed},
                         {"order", outcome.achieved == RestoreOrder::exact ? "original" : "tail"}};
    CLAW_TRY(ledger.record("rollback", fields.dump()));
    CLAW_TRY(ledger.journal("rollback-result", "{}"));
    restores.push_back({queue.queue, outcome});
  }
  return restores;
}

}  // namespace claw::remedy
