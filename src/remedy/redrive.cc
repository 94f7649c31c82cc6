#include "remedy/redrive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/digest.h"

namespace claw::remedy {
namespace {

using nlohmann::json;

constexpr Millis kCallTimeout = std::chrono::minutes(5);
constexpr std::size_t kMostAtOnce = 100;

class Redrive {
 public:
  Redrive(const Plan& plan, const RedriveOptions& options, const CountFailures& count_failures, Ledger& ledger, Surroundings& around)
      : queue_(plan.queues.front()), plan_(plan), options_(options), count_failures_(count_failures), ledger_(ledger), around_(around) {}

  Result<RedriveOutcome> run() {
    CLAW_TRY_ASSIGN(const Totals totals, drain(plan_, ledger_, around_));
    out_.taken = totals.removed;
    CLAW_TRY_ASSIGN(messages_, around_.vault.read(ledger_.execution_id(), queue_.queue));
    CLAW_TRY(ledger_.journal(kRedriveStep, json{{"to_hex", hex(options_.target.text())}}.dump()));
    CLAW_TRY(ledger_.record("redrive", json{{"phase", "open"}, {"to_hex", hex(options_.target.text())}, {"messages", totals.removed}}.dump()));
    for (std::size_t next = 0; next < messages_.size() && out_.failed_again == 0;) {
      const bool canary = next == 0;
      const double batch = std::max(1.0, std::floor(options_.rate_per_s));
      const std::size_t count = std::min<std::size_t>(messages_.size() - next, canary ? std::max<std::size_t>(1, options_.canary) : std::min<std::size_t>(kMostAtOnce, static_cast<std::size_t>(batch)));
      CLAW_TRY(send(next, count));
      next += count;
      if (canary) around_.clock.sleep(options_.wait);
      else around_.clock.sleep(Millis(static_cast<std::int64_t>(1'000.0 * static_cast<double>(count) / options_.rate_per_s)));
      if (canary || next == messages_.size() || next % (kMostAtOnce * 10) < count) CLAW_TRY(check());
    }
    if (out_.failed_again > 0) CLAW_TRY(give_back());
    CLAW_TRY(ledger_.record("redrive", json{{"phase", out_.failed_again > 0 ? "stopped" : "done"}, {"sent", out_.sent}, {"failed_again", out_.failed_again}, {"returned", out_.returned}}.dump()));
    return out_;
  }

 private:
  // Out of quarantine into `queue`: only [first, first + count). What is blank is left where it is.
  Result<RestoreOutcome> restore(std::size_t first, std::size_t count, const QueueId& queue, QueueType type) {
    CLAW_TRY(check_brake(around_));
    CLAW_TRY_ASSIGN(Broker * broker, around_.broker(queue.broker));
    blanked_.resize(messages_.size());
    std::copy_n(messages_.begin() + static_cast<std::ptrdiff_t>(first), count, blanked_.begin() + static_cast<std::ptrdiff_t>(first));
    auto outcome = broker->restore({.queue = queue, .type = type, .execution_id = ledger_.execution_id(), .quarantine = queue_.quarantine, .messages = blanked_,
                                    .takes_from = options_.takes_from, .wanted = RestoreOrder::tail, .block_budget = plan_.limits.block_budget},
                                   Deadline::in(around_.clock, kCallTimeout));
    std::fill_n(blanked_.begin() + static_cast<std::ptrdiff_t>(first), count, Message{});
    return outcome;
  }

  Status send(std::size_t first, std::size_t count) {
    CLAW_TRY(ledger_.record("redrive", json{{"phase", "intent"}, {"first", first}, {"messages", count}}.dump()));
    CLAW_TRY_ASSIGN(const RestoreOutcome sent, restore(first, count, options_.target, options_.target_type));
    out_.sent += sent.restored;
    for (std::size_t i = first; i < first + count; ++i)
      if (!messages_[i].fields.empty()) identities_.insert(identity_of(queue_.type, views_of(messages_[i].fields)));
    sent_to_ = first + count;
    if (around_.progress) around_.progress(sent_to_, messages_.size());
    return {};
  }

  Status check() {
    CLAW_TRY_ASSIGN(out_.failed_again, count_failures_(identities_));
    return {};
  }

  Status give_back() {
    CLAW_TRY_ASSIGN(const RestoreOutcome back, restore(sent_to_, messages_.size() - sent_to_, queue_.queue, queue_.type));
    out_.returned = back.restored;
    return {};
  }

  const PlannedQueue& queue_;
  const Plan& plan_;
  const RedriveOptions& options_;
  const CountFailures& count_failures_;
  Ledger& ledger_;
  Surroundings& around_;
  std::vector<Message> messages_;       // as in the snapshot
  std::vector<Message> blanked_;        // as many, all blank between two calls
  std::set<std::uint64_t> identities_;  // of what was sent
  std::size_t sent_to_ = 0;
  RedriveOutcome out_;
};

}  // namespace

std::uint64_t identity_of(QueueType type, std::span<const Field> fields) {
  const bool whole = type == QueueType::stream || type == QueueType::list;
  return short_digest(whole || fields.empty() ? fields : fields.first(1));
}

Result<RedriveOutcome> redrive(const Plan& plan, const RedriveOptions& options, const CountFailures& count_failures, Ledger& ledger, Surroundings& around) {
  CLAW_CHECK(plan.queues.size() == 1);
  return Redrive(plan, options, count_failures, ledger, around).run();
}

}  // namespace claw::remedy
