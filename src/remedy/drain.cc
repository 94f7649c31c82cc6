#include "remedy/drain.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/digest.h"
#include "base/text.h"
#include "remedy/planner.h"

namespace claw::remedy {
namespace {

using nlohmann::json;

constexpr int kRemoveTries = 8;  // with growing pauses: long enough for a restart or a failover, then the execution is held
constexpr Millis kRemovePause{500};
constexpr Millis kRestoreTimeout = std::chrono::minutes(15);  // of one queue: a rebuilt stream is copied whole

constexpr Micros kPerEntry{2'000};  // a queue that cannot be browsed is received through to find a message again

Deadline deadline_of(const PlannedQueue& queue, Surroundings& around) {
  constexpr std::uint64_t kMost = 1'000'000;
  const bool browsed = queue.type == QueueType::stream || queue.type == QueueType::list;
  const Micros search = kPerEntry * static_cast<std::int64_t>(browsed ? 0 : std::min(queue.entries, kMost));
  return Deadline::in(around.clock, around.call_timeout + std::chrono::duration_cast<Millis>(search));
}

json totals_json(const Totals& t) {
  return {{"planned", t.planned}, {"removed", t.removed}, {"gone", t.gone}, {"failed", t.failed}, {"too_deep", t.too_deep}};
}

Totals totals_of(const std::string& text) {
  const json value = json::parse(text);
  return {.planned = value.at("planned").get<std::uint64_t>(), .removed = value.at("removed").get<std::uint64_t>(),
          .gone = value.at("gone").get<std::uint64_t>(), .failed = value.at("failed").get<std::uint64_t>(),
          .too_deep = value.value("too_deep", std::uint64_t{0})};
}

std::string step_name(std::string_view what, std::size_t number) { return fmt::format("{}-{}", what, number); }

constexpr std::size_t kPart = 4'000;  // messages of a queue that are unpacked at once

// How many messages one call takes. A stream's entry is found by its id; what has only a place is removed with all others of
// its wave, because the places of later ones depend on what was removed before them.
std::size_t part_of(const PlannedQueue& queue, std::size_t count) { return queue.type == QueueType::stream ? std::min(count, kPart) : count; }

Result<PackedMessages> packed(std::span<const Message> messages) {
  PackedMessages out;
  CLAW_TRY(out.add(messages));
  return out;
}

// What a broker has of a queue's planned messages now.
Result<PackedMessages> read_queue(const PlannedQueue& queue, Surroundings& around) {
  static const ContentByKey nothing;
  const auto kept = around.kept == nullptr ? KeptContent::const_iterator() : around.kept->find(queue.queue);
  const ContentByKey& known = around.kept == nullptr || kept == around.kept->end() ? nothing : kept->second;
  PackedMessages out;
  for (std::size_t first = 0; first < queue.messages.size();) {
    const auto part = std::span(queue.messages).subspan(first, part_of(queue, queue.messages.size() - first));
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
    CLAW_TRY_ASSIGN(const std::vector<Message> messages, broker->read(queue, part, known, deadline_of(queue, around)));
    if (messages.size() != part.size())
      return make_error(Code::corrupt, "snapshot " + queue.queue.text(), fmt::format("{} messages came back for {} that were asked for", messages.size(), part.size()));
    CLAW_TRY(out.add(messages));
    first += part.size();
  }
  return out;
}

// One queue's snapshot on its way: sealed, synced and read back by a thread of its own while the next queue is read.
class Snapshotting {
 public:
  // The messages as the snapshot holds them, in plan order: those of one that is there, or read from the broker.
  static Result<Snapshotting> read(const Plan& plan, std::size_t q, Ledger& ledger, Surroundings& around) {
    Snapshotting out(plan.queues[q], step_name("snapshot", q));
    const QueueId& queue = out.queue_->queue;
    CLAW_TRY_ASSIGN(const bool there, around.vault.has(ledger.execution_id(), queue));
    out.noted_ = ledger.has(out.step_);
    if (!there && out.noted_) return make_error(Code::corrupt, "vault " + queue.text(), "the snapshot that the journal tells of is not there: nothing is touched");
    if (!out.noted_) CLAW_TRY(check_brake(around));
    if (there) {
      CLAW_TRY_ASSIGN(const std::vector<Message> stored, around.vault.read(ledger.execution_id(), queue));
      CLAW_TRY_ASSIGN(out.messages_, packed(stored));
    } else {
      CLAW_TRY_ASSIGN(out.messages_, read_queue(*out.queue_, around));
    }
    if (!out.noted_ && out.messages_.size() != out.queue_->messages.size())
      return make_error(Code::corrupt, "snapshot " + queue.text(), fmt::format("holds {} messages, the plan {}", out.messages_.size(), out.queue_->messages.size()));
    return out;
  }

  // The object must stay where it is until finish(). Nothing else writes meanwhile.
  void store(Ledger& ledger, Surroundings& around) {
    if (noted_) return;
    writing_ = std::async(std::launch::async, [this, &around, id = ledger.execution_id()] { return around.vault.write(id, queue_->queue, messages_); });
  }

  Result<PackedMessages> finish(Ledger& ledger) {
    if (noted_) return std::move(messages_);
    CLAW_TRY_ASSIGN(const SnapshotInfo info, writing_.get());
    const json fields = {{"queue_hex", hex(queue_->queue.text())}, {"object", info.object}, {"messages", info.messages},
                         {"ciphertext", info.ciphertext_sha256}, {"merkle_root", info.merkle_root}, {"key_id", info.key_id}, {"read_back", "equal"}};
    CLAW_TRY(ledger.record("snapshot", fields.dump()));
    CLAW_TRY(ledger.journal(step_, fields.dump()));
    return std::move(messages_);
  }

 private:
  Snapshotting(const PlannedQueue& queue, std::string step) : queue_(&queue), step_(std::move(step)) {}

  const PlannedQueue* queue_;
  std::string step_;
  bool noted_ = false;  // in the journal: complete
  PackedMessages messages_;
  std::future<Result<SnapshotInfo>> writing_;
};

// Of every queue, before anything is removed from any.
Result<std::vector<PackedMessages>> snapshot_all(const Plan& plan, Ledger& ledger, Surroundings& around) {
  std::vector<PackedMessages> snapshots;
  std::unique_ptr<Snapshotting> before;
  for (std::size_t q = 0; q <= plan.queues.size(); ++q) {
    std::unique_ptr<Snapshotting> next;
    if (q < plan.queues.size()) {
      CLAW_TRY_ASSIGN(Snapshotting read, Snapshotting::read(plan, q, ledger, around));
      next = std::make_unique<Snapshotting>(std::move(read));
    }
    if (before != nullptr) {
      CLAW_TRY_ASSIGN(PackedMessages messages, before->finish(ledger));
      snapshots.push_back(std::move(messages));
    }
    if (next != nullptr) next->store(ledger, around);
    before = std::move(next);
  }
  return snapshots;
}

// A removal that may or may not have happened is made again: by its numbers it finds what it moved before.
Result<std::vector<Removal>> remove_surely(RemoveRequest request, Surroundings& around) {
  for (int tries = 1;; ++tries) {
    CLAW_TRY(check_brake(around));
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(request.queue.queue.broker));
    Result<std::vector<Removal>> removals = broker->remove(request, deadline_of(request.queue, around));
    const bool passing = !removals.ok() && (removals.error().code == Code::unavailable || removals.error().code == Code::timed_out ||
                                            removals.error().code == Code::throttled || removals.error().code == Code::outcome_unknown);
    if (!passing || tries == kRemoveTries) return removals;
    request.again = true;
    around.clock.sleep(kRemovePause * tries);
  }
}

// "0-99 101 105-200": which messages of a queue, by number.
std::string ranges_of(std::span<const std::size_t> numbers) {
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    out += fmt::format("{}{}", out.empty() ? "" : " ", numbers[i]);
    if (last > i) out += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return out;
}

void add_ranges(std::set<std::size_t>& numbers, const std::string& ranges, std::size_t limit) {
  std::istringstream words(ranges);
  for (std::string word; words >> word;) {
    const std::size_t dash = word.find('-');
    const std::size_t first = std::stoull(word), last = dash == std::string::npos ? first : std::stoull(word.substr(dash + 1));
    for (std::size_t n = first; n <= last && n < limit; ++n) numbers.insert(n);
  }
}

// What the finished waves removed of one queue, by number.
std::set<std::size_t> removed_of(const Plan& plan, std::size_t q, const Ledger& ledger) {
  std::set<std::size_t> numbers;
  const std::size_t waves = waves_of(plan).size();
  for (std::size_t w = 0; w < waves; ++w) {
    if (!ledger.has(step_name("result", w))) continue;
    const json queues = json::parse(ledger.data(step_name("result", w))).value("numbers", json::object());
    add_ranges(numbers, queues.value(std::to_string(q), ""), plan.queues[q].messages.size());
  }
  return numbers;
}

Status remove_slice(const Plan& plan, const Slice& slice, const PackedMessages& snapshot, const std::string& execution_id, bool again,
                    Surroundings& around, Totals& totals, json& numbers) {
  const PlannedQueue& queue = plan.queues[slice.queue];
  std::vector<std::size_t> removed;
  for (std::size_t done = 0; done < slice.count;) {
    const std::size_t first = slice.first + done, count = part_of(queue, slice.count - done);
    CLAW_TRY_ASSIGN(const std::vector<Message> messages, snapshot.slice(first, count));
    CLAW_TRY_ASSIGN(const std::vector<Removal> removals,
                    remove_surely({.queue = queue, .messages = messages, .execution_id = execution_id, .first_number = first, .block_budget = plan.limits.block_budget, .again = again}, around));
    if (removals.size() != count)
      return make_error(Code::corrupt, "remove " + queue.queue.text(), fmt::format("{} answers for {} messages", removals.size(), count));
    totals.planned += count;
    for (const Removal& removal : removals) {
      switch (removal.fate) {
        case Fate::removed:
          ++totals.removed;
          removed.push_back(first + removal.index);
          break;
        case Fate::gone: ++totals.gone; break;
        case Fate::too_deep: ++totals.too_deep; [[fallthrough]];
        case Fate::not_found: ++totals.failed; break;
      }
    }
    done += count;
  }
  std::sort(removed.begin(), removed.end());
  numbers[std::to_string(slice.queue)] = ranges_of(removed);
  return {};
}

// Every message that is called removed is in quarantine, once, with the bytes of the snapshot; nothing else is.
Status check_conservation(const Plan& plan, const std::vector<PackedMessages>& snapshots, std::uint64_t removed, Ledger& ledger,
                          Surroundings& around) {
  std::uint64_t found = 0;
  for (std::size_t q = 0; q < plan.queues.size(); ++q) {
    const PlannedQueue& queue = plan.queues[q];
    CLAW_TRY(check_brake(around));
    CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
    CLAW_TRY_ASSIGN(const auto held, broker->quarantined_digests(queue.queue, queue.quarantine, ledger.execution_id(), deadline_of(queue, around)));
    const std::vector<Digest>& planned = snapshots[q].digests();
    std::vector<bool> seen(planned.size(), false);
    for (const QuarantinedDigest& one : held) {
      const bool known = one.number < seen.size() && !seen[one.number];
      if (!known || one.digest != planned[one.number])
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

// `totals` grows from the wave before to this one's.
Status remove_wave(const Plan& plan, const Wave& wave, std::size_t w, const std::vector<PackedMessages>& snapshots, Ledger& ledger,
                   Surroundings& around, Totals& totals) {
  const std::string intent = step_name("intent", w), result = step_name("result", w);
  if (ledger.has(result)) {  // an earlier process finished it
    totals = totals_of(ledger.data(result));
    return {};
  }
  std::uint64_t count = 0;
  for (const Slice& slice : wave) count += slice.count;
  const bool again = ledger.has(intent);  // an earlier process may have carried it out in part
  CLAW_TRY(ledger.record("intent", json{{"wave", w}, {"messages", count}, {"to", "quarantine"}}.dump()));
  CLAW_TRY(ledger.journal(intent, "{}"));
  json numbers = json::object();
  for (const Slice& slice : wave) {
    CLAW_TRY(remove_slice(plan, slice, snapshots[slice.queue], ledger.execution_id(), again, around, totals, numbers));
    if (around.progress) around.progress(totals.planned, plan.total());
  }
  CLAW_CHECK(totals.adds_up());
  json done = totals_json(totals);
  done["wave"] = w;
  CLAW_TRY(ledger.record("result", done.dump()));
  done["numbers"] = std::move(numbers);
  return ledger.journal(result, done.dump());
}

// The next wave goes only when everything so far is accounted for and the skill's own guards hold.
Result<Check> check_wave(const Plan& plan, std::size_t w, const std::vector<PackedMessages>& snapshots, const Totals& totals, Ledger& ledger,
                         Surroundings& around) {
  const std::string guard = step_name("guard", w);
  if (ledger.has(guard)) {
    const json known = json::parse(ledger.data(guard));
    return Check{.passed = known.value("passed", true), .words = known.value("words", "")};
  }
  Check check;
  if (around.check) {
    CLAW_TRY_ASSIGN(check, around.check(w));
  }
  CLAW_TRY(check_conservation(plan, snapshots, totals.removed, ledger, around));
  CLAW_TRY(ledger.record("guard", json{{"guard", "conservation"}, {"wave", w}, {"in_quarantine", totals.removed}, {"verdict", "pass"}}.dump()));
  if (!check.words.empty()) {
    CLAW_TRY(ledger.record("guard", json{{"guard", "skill"}, {"wave", w}, {"seen", check.words}, {"verdict", check.passed ? "pass" : "fail"}}.dump()));
  }
  CLAW_TRY(ledger.journal(guard, json{{"passed", check.passed}, {"words", check.words}}.dump()));
  return check;
}

}  // namespace

Status check_brake(Surroundings& around) {
  if (around.brake_on()) return make_error(Code::refused, "brake", "the brake is on: nothing more is touched");
  return {};
}

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
  CLAW_TRY_ASSIGN(const std::vector<PackedMessages> snapshots, snapshot_all(plan, ledger, around));
  Totals totals;
  const std::vector<Wave> waves = waves_of(plan);
  for (std::size_t w = 0; w < waves.size(); ++w) {
    CLAW_TRY(remove_wave(plan, waves[w], w, snapshots, ledger, around, totals));
    CLAW_TRY_ASSIGN(const Check check, check_wave(plan, w, snapshots, totals, ledger, around));
    if (check.passed) continue;
    totals.stopped = fmt::format("after wave {} of {}: {}", w + 1, waves.size(), check.words);
    break;
  }
  return totals;
}

namespace {

// Whatever was removed and is not in quarantine was deleted there by somebody, as long as nothing was put back yet: it is
// written there again from the vault. Answers how many, and how many the broker could not take.
Result<json> refill(const PlannedQueue& queue, std::size_t q, const RestoreRequest& request, const std::set<std::size_t>& removed, Broker& broker, Ledger& ledger, Surroundings& around) {
  const std::string step = step_name("rollback-held", q);
  if (ledger.has(step)) return json::parse(ledger.data(step));
  if (ledger.has(kRedriveStep)) return json{{"from_vault", 0}, {"failed", 0}};
  CLAW_TRY_ASSIGN(const auto held, broker.quarantined(request.queue, request.quarantine, request.execution_id, deadline_of(queue, around)));
  std::set<std::size_t> lost = removed;
  for (const Quarantined* one : genuine(held, request.messages)) lost.erase(one->number);
  const std::vector<std::size_t> numbers(lost.begin(), lost.end());
  json done = {{"from_vault", numbers.size()}, {"failed", 0}};
  if (!numbers.empty()) {
    const Status again = broker.quarantine_again(request, numbers, deadline_of(queue, around));
    if (!again && again.error().code != Code::unsupported) return again.error();
    if (!again) done = {{"from_vault", 0}, {"failed", numbers.size()}};
  }
  CLAW_TRY(ledger.journal(step, done.dump()));
  return done;
}

Result<RestoreOutcome> restore_queue(const Plan& plan, std::size_t q, RestoreOrder wanted, Ledger& ledger, Surroundings& around) {
  const PlannedQueue& queue = plan.queues[q];
  CLAW_TRY(check_brake(around));
  CLAW_TRY_ASSIGN(const std::vector<Message> messages, around.vault.read(ledger.execution_id(), queue.queue));
  const std::string queue_hex = hex(queue.queue.text());
  CLAW_TRY(ledger.record("rollback", json{{"phase", "intent"}, {"queue_hex", queue_hex}}.dump()));
  CLAW_TRY(ledger.journal(step_name("rollback-intent", q), "{}"));
  CLAW_TRY_ASSIGN(Broker * broker, around.broker(queue.queue.broker));
  const auto before = [&](std::string_view step) -> Status {
    CLAW_TRY(check_brake(around));
    return ledger.journal(step_name(fmt::format("rollback-{}", step), q), "{}");
  };
  const RestoreRequest request{.queue = queue.queue, .type = queue.type, .execution_id = ledger.execution_id(), .quarantine = queue.quarantine,
                               .messages = messages, .takes_from = queue.takes_from, .wanted = wanted, .block_budget = plan.limits.block_budget,
                               .before = before};
  const std::set<std::size_t> removed = removed_of(plan, q, ledger);
  CLAW_TRY_ASSIGN(const json refilled, refill(queue, q, request, removed, *broker, ledger, around));
  CLAW_TRY_ASSIGN(RestoreOutcome outcome, broker->restore(request, Deadline::in(around.clock, kRestoreTimeout)));
  outcome.failed += refilled.at("failed").get<std::uint64_t>();
  outcome.from_vault = refilled.at("from_vault").get<std::uint64_t>();
  if (!removed.empty()) outcome.already_present = removed.size() - std::min<std::uint64_t>(removed.size(), outcome.restored + outcome.failed);
  const json fields = {{"phase", "result"}, {"queue_hex", queue_hex}, {"restored", outcome.restored}, {"in_place", outcome.in_place},
                       {"already_present", outcome.already_present}, {"failed", outcome.failed}, {"from_vault", outcome.from_vault},
                       {"foreign", outcome.foreign}, {"order", std::string(name(outcome.achieved))}};
  CLAW_TRY(ledger.record("rollback", fields.dump()));
  CLAW_TRY(ledger.journal(step_name("rollback-result", q), "{}"));
  return outcome;
}

}  // namespace

Result<std::vector<QueueRestore>> roll_back(const Plan& plan, Ledger& ledger, Surroundings& around, RestoreOrder wanted) {
  std::vector<QueueRestore> restores;
  for (std::size_t q = 0; q < plan.queues.size(); ++q) {
    CLAW_TRY_ASSIGN(const bool there, around.vault.has(ledger.execution_id(), plan.queues[q].queue));
    if (!there) continue;  // cut off before its snapshot was complete: nothing was removed
    CLAW_TRY_ASSIGN(RestoreOutcome outcome, restore_queue(plan, q, wanted, ledger, around));
    restores.push_back({plan.queues[q].queue, std::move(outcome)});
  }
  return restores;
}

}  // namespace claw::remedy
