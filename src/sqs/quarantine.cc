#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"
#include "sqs/operations.h"
#include "sqs/queue.h"
#include "sqs/sweep.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr Millis kReleaseTimeout = std::chrono::minutes(1);
constexpr std::uint64_t kMostQuarantined = 1'000'000;

Quarantined quarantined_of(Origin origin) {
  Quarantined out;
  out.number = origin.number;
  out.quarantine_id = origin.message.id;
  out.message = {.id = std::move(origin.message.id), .key = origin.message.key, .fields = std::move(origin.message.fields), .groups = {}};
  return out;
}

// Every copy of one number; more than one after a send whose answer was lost.
struct Copies {
  Received first;
  std::vector<std::string> receipts;
};

std::string text_in(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Sends ten back, then deletes their copies: a crash between the two may leave those ten in both.
Status put_back(State& state, const Queue& source, const Queue& quarantine, const std::string& execution_id,
                std::span<const std::pair<std::size_t, const Copies*>> some, RestoreOutcome& out, Deadline deadline) {
  std::vector<std::string> entries;
  std::vector<Outgoing> outgoing;
  for (const auto& [number, copies] : some) {
    outgoing.push_back(to_source(copies->first.fields, source.fifo, hex(sha256(fmt::format("restore {} {} {}", execution_id, number, copies->first.id)))));
    entries.push_back(outgoing.back().entry);
  }
  const auto answers = call_batches(state.client, "SendMessageBatch", source.url, std::move(entries), Repeat::never, deadline);
  std::vector<std::string> receipts;
  Status trouble;
  for (std::size_t i = 0; i < some.size(); ++i) {
    const json value = answers[i].ok() ? json::parse(*answers[i], nullptr, false) : json();
    const bool same = value.is_object() && text_in(value, "MD5OfMessageBody") == outgoing[i].body_md5 && text_in(value, "MD5OfMessageAttributes") == outgoing[i].attributes_md5;
    if (same) {
      ++out.restored;
      for (const std::string& receipt : some[i].second->receipts) receipts.push_back(json{{"ReceiptHandle", receipt}}.dump());
    } else if (trouble.ok()) {
      trouble = answers[i].ok() ? make_error(Code::corrupt, "restore to " + escape(source.name, 90), "SQS kept other bytes than were sent (MD5 differs); the copy stays in quarantine") : answers[i].error();
    }
  }
  for (const auto& answer : call_batches(state.client, "DeleteMessageBatch", quarantine.url, std::move(receipts), Repeat::harmless, deadline))
    if (trouble.ok() && !answer.ok()) trouble = answer.error();
  return trouble;
}

}  // namespace

Result<std::vector<Origin>> take_quarantine(State& state, const Queue& quarantine, const std::string& execution_id, std::size_t expected, Holds& holds,
                                            Deadline deadline) {
  std::vector<Origin> out;
  if (expected == 0 && quarantine.visible + quarantine.held + quarantine.delayed == 0) return out;
  Sweep sweep(state.client, quarantine, holds,
              {.hold = state.options.hold, .most_held = 100'000, .most_seen = kMostQuarantined, .most_of_each = 1'000, .wait_for_others = state.options.hold + Millis(1'000)});
  std::set<std::size_t> numbers;
  for (;;) {
    CLAW_TRY_ASSIGN(std::vector<Received> messages, sweep.next(deadline));
    if (messages.empty()) break;
    for (Received& message : messages) {
      const MessageKey key = message.key;
      CLAW_TRY_ASSIGN(std::optional<Origin> origin, from_quarantine(std::move(message)));
      if (!origin || origin->execution_id != execution_id) continue;
      numbers.insert(origin->number);
      origin->message.receipt = holds.find(key)->receipt;
      out.push_back(std::move(*origin));
    }
    if (expected > 0 && numbers.size() >= expected) break;
  }
  sweep.stop();
  const bool all = expected > 0 && numbers.size() >= expected;
  if (!all && (sweep.elsewhere() > 0 || !sweep.complete()))
    return make_error(Code::unavailable, "read quarantine " + quarantine.name, fmt::format("{} of its messages are hidden by others or out of reach; run it again when they are back", sweep.elsewhere()));
  return out;
}

Result<std::vector<Quarantined>> read_quarantine(State& state, const std::string& name, const std::string& execution_id, Deadline deadline) {
  std::vector<Quarantined> out;
  const Result<Queue> quarantine = described(state.client, name, deadline);
  if (!quarantine && quarantine.error().code == Code::not_found) return out;
  if (!quarantine) return quarantine.error();
  std::size_t expected = 0;
  for (const auto& [which, moved] : state.moved)
    if (which.first == execution_id && quarantine_of(which.second) == name) expected = moved.copied.size();
  Holds holds(*quarantine, state.options.hold);
  Result<std::vector<Origin>> copies = take_quarantine(state, *quarantine, execution_id, expected, holds, deadline);
  holds.release_all(state.client, Deadline::in(state.client.clock(), kReleaseTimeout));
  if (!copies) return copies.error();
  std::sort(copies->begin(), copies->end(), [](const Origin& a, const Origin& b) { return a.number < b.number; });
  for (Origin& copy : *copies) {
    const bool again = !out.empty() && out.back().number == copy.number && out.back().message.fields == copy.message.fields;
    if (!again) out.push_back(quarantined_of(std::move(copy)));
  }
  return out;
}

Result<RestoreOutcome> restore_messages(State& state, const RestoreRequest& request, Deadline deadline) {
  RestoreOutcome out;
  out.achieved = RestoreOrder::tail;
  out.why_not_exact = "SQS gives what is sent again a new id, send time and receive count, and puts it at the end; the sender is us";
  std::uint64_t removable = 0;
  for (const Message& message : request.messages) removable += message.fields.empty() ? 0 : 1;
  const Result<Queue> quarantine = described(state.client, request.quarantine, deadline);
  if (!quarantine && quarantine.error().code != Code::not_found) return quarantine.error();
  if (quarantine) {
    CLAW_TRY_ASSIGN(const Queue source, described(state.client, request.queue.name, deadline));
    Holds holds(*quarantine, state.options.hold);
    const auto give_up = [&](const Error& error) {
      holds.release_all(state.client, Deadline::in(state.client.clock(), kReleaseTimeout));
      return error;
    };
    Result<std::vector<Origin>> copies = take_quarantine(state, *quarantine, request.execution_id, 0, holds, deadline);
    if (!copies) return give_up(copies.error());
    std::map<std::size_t, Copies> by_number;
    for (Origin& copy : *copies) {
      const std::size_t number = copy.number;
      Copies& place = by_number[number];
      place.receipts.push_back(copy.message.receipt);
      if (place.receipts.size() == 1) place.first = std::move(copy.message);
    }
    std::vector<std::pair<std::size_t, const Copies*>> some;
    const auto flush = [&]() -> Status {
      CLAW_TRY(holds.keep_alive(state.client, deadline));
      if (some.empty()) return {};
      const auto part = std::exchange(some, {});
      return put_back(state, source, *quarantine, request.execution_id, part, out, deadline);
    };
    for (const auto& [number, copies_of] : by_number) {
      // Only what the vault knows to be the same goes back by itself.
      if (number >= request.messages.size() || request.messages[number].fields != copies_of.first.fields) {
        ++out.failed;
        continue;
      }
      some.emplace_back(number, &copies_of);
      if (some.size() == kBatchEntries)
        if (const Status back = flush(); !back.ok()) return give_up(back.error());
    }
    if (const Status back = flush(); !back.ok()) return give_up(back.error());
    holds.release_all(state.client, Deadline::in(state.client.clock(), kReleaseTimeout));
    state.moved.erase({request.execution_id, request.queue.name});
  }
  out.already_present = removable - std::min(removable, out.restored + out.failed);
  if (out.already_present > 0)
    out.why_not_exact += fmt::format("; {} are not in quarantine: consumed before the removal, restored earlier, or older than its 14 days (the vault has them)", out.already_present);
  return out;
}

}  // namespace claw::sqs
