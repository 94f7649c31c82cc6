// From the queue to its quarantine: copy, compare MD5s, and only then delete, with the message hidden all the while.
//
// A message is in the queue, in both, or in quarantine, never in neither. Killed between copy and delete it is in both:
// the next try finds its number in quarantine and only deletes.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "sqs/operations.h"
#include "sqs/queue.h"
#include "sqs/sweep.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::size_t kMoveAtOnce = 80;  // copies before their originals are deleted: what a crash may leave in both

Holds* kept_of(State& state, const std::string& queue) {
  const auto found = state.kept.find(queue);
  return found == state.kept.end() ? nullptr : found->second.get();
}

std::uint64_t digest_of_message(const Message& message) { return digest_of(message.fields); }

std::set<MessageKey> planned_keys(const PlannedQueue& queue) {
  std::set<MessageKey> keys;
  for (const PlannedMessage& message : queue.messages) keys.insert(message.key);
  return keys;
}

// Opens the quarantine and learns which numbers are there already, once an execution.
Status learn(State& state, const RemoveRequest& request, const Queue& source, Moved& moved, Deadline deadline) {
  if (moved.known) return {};
  CLAW_TRY_ASSIGN(moved.quarantine, open_quarantine(state.client, source, request.queue.quarantine, deadline));
  Holds holds(*moved.quarantine, state.options.hold);
  const auto copies = take_quarantine(state, *moved.quarantine, request.execution_id, 0, holds, deadline);
  holds.release_all(state.client, Deadline::in(state.client.clock(), std::chrono::minutes(1)));
  if (!copies) return copies.error();
  for (const Origin& copy : *copies) moved.copied.insert(copy.number);
  moved.known = true;
  return {};
}

// Holds the originals of the request that are to be deleted; searches the queue once an execution, for all of the plan.
Status hold_originals(State& state, const RemoveRequest& request, const Queue& source, Moved& moved, Deadline deadline) {
  if (Holds* holds = kept_of(state, source.name)) CLAW_TRY(holds->keep_alive(state.client, deadline));
  bool missing = false, unfinished = false;
  const Holds* holds = kept_of(state, source.name);
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const std::size_t number = request.first_number + i;
    if (request.messages[i].fields.empty() || moved.deleted.contains(number)) continue;
    const bool held = holds != nullptr && holds->find(request.messages[i].key) != nullptr;
    missing |= !held;
    unfinished |= !held && moved.copied.contains(number);
  }
  if (!missing || moved.searched) return {};
  const Millis wait = unfinished ? std::max(source.visibility, state.options.hold) : std::min(source.visibility, Millis(30'000));
  CLAW_TRY_ASSIGN(moved.elsewhere, search(state, source, planned_keys(request.queue), wait + Millis(1'000), nullptr, deadline));
  moved.searched = true;
  return {};
}

// An original that is held and whose bytes are those of the snapshot.
struct Target {
  std::size_t index = 0;  // into RemoveRequest::messages
  Outgoing copy;
};

struct Sorted {
  std::vector<Removal> removals;
  std::vector<Target> to_copy;
  std::vector<std::size_t> to_delete;  // copied by an earlier try
};

Result<Sorted> sort_out(State& state, const RemoveRequest& request, const Queue& source, const Moved& moved) {
  Sorted out;
  const Holds* holds = kept_of(state, source.name);
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    const std::size_t number = request.first_number + i;
    Removal removal{.index = i, .fate = Fate::gone, .groups = {}};
    const Held* held = holds == nullptr ? nullptr : holds->find(message.key);
    const bool copied = moved.copied.contains(number);
    if (message.fields.empty()) {
      removal.fate = Fate::gone;
    } else if (copied && (moved.deleted.contains(number) || held == nullptr)) {
      // Nothing tells a deleted original from one that an earlier process still hides.
      if (!moved.deleted.contains(number) && moved.elsewhere > 0)
        return make_error(Code::outcome_unknown, "remove from " + escape(source.name, 90),
                          fmt::format("message {} is in quarantine, and {} messages of the queue are hidden by others: it may be one of them. Run it again when they are back", message.id, moved.elsewhere));
      removal.fate = Fate::removed;
    } else if (held == nullptr) {
      removal.fate = moved.elsewhere > 0 ? Fate::not_found : Fate::gone;
    } else if (held->digest != digest_of_message(message)) {
      removal.fate = Fate::not_found;
    } else if (copied) {
      removal.fate = Fate::removed;
      out.to_delete.push_back(i);
    } else {
      Target target{.index = i, .copy = to_quarantine(message, request.execution_id, number, source.fifo)};
      // With its mark it may be larger than a message can be: then it stays where it is.
      const bool fits = target.copy.bytes <= moved.quarantine->largest_message;
      removal.fate = fits ? Fate::removed : Fate::not_found;
      if (fits) out.to_copy.push_back(std::move(target));
    }
    out.removals.push_back(std::move(removal));
  }
  return out;
}

std::string text_in(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The answer's MD5s are those of the bytes that were meant.
Status same_bytes(const Result<std::string>& answer, const Outgoing& sent, const std::string& what) {
  CLAW_TRY(answer);
  const json value = json::parse(*answer, nullptr, false);
  if (!value.is_object() || text_in(value, "MD5OfMessageBody") != sent.body_md5 || text_in(value, "MD5OfMessageAttributes") != sent.attributes_md5)
    return make_error(Code::corrupt, what, "SQS kept other bytes than were sent (MD5 differs); the original was not touched");
  return {};
}

Status copy_some(State& state, const RemoveRequest& request, std::span<const Target> targets, Moved& moved, Deadline deadline) {
  std::vector<std::string> entries;
  for (const Target& target : targets) entries.push_back(target.copy.entry);
  const auto answers = call_batches(state.client, "SendMessageBatch", moved.quarantine->url, std::move(entries), Repeat::never, deadline);
  Status trouble;
  for (std::size_t k = 0; k < targets.size(); ++k) {
    const std::size_t number = request.first_number + targets[k].index;
    const Status good = same_bytes(answers[k], targets[k].copy, "copy to " + request.queue.quarantine);
    if (good.ok()) moved.copied.insert(number);
    else if (trouble.ok()) trouble = good;
    if (!good.ok() && good.error().code == Code::outcome_unknown) moved.known = false;  // read the quarantine before the next try
  }
  return trouble;
}

Status delete_some(State& state, const RemoveRequest& request, const Queue& source, std::span<const std::size_t> indexes, Moved& moved, Deadline deadline) {
  Holds& holds = *kept_of(state, source.name);
  // A receipt whose time is nearly up could delete what somebody else just received.
  CLAW_TRY(holds.keep_alive(state.client, deadline));
  std::vector<std::string> entries;
  std::vector<std::size_t> asked;
  Status trouble;
  const MonoTime now = state.client.clock().mono();
  for (const std::size_t i : indexes) {
    const Held* held = holds.find(request.messages[i].key);
    if (held != nullptr && held->until - now > state.options.hold / 4) {
      entries.push_back(json{{"ReceiptHandle", held->receipt}}.dump());
      asked.push_back(i);
    } else if (trouble.ok()) {
      trouble = make_error(Code::lease_lost, "delete from " + escape(source.name, 90), "message " + request.messages[i].id + " is no longer hidden by us; its copy is in quarantine, run it again");
    }
  }
  const auto answers = call_batches(state.client, "DeleteMessageBatch", source.url, std::move(entries), Repeat::harmless, deadline);
  for (std::size_t k = 0; k < asked.size(); ++k) {
    if (answers[k].ok()) {
      moved.deleted.insert(request.first_number + asked[k]);
      holds.forget(request.messages[asked[k]].key);
    } else if (trouble.ok()) {
      trouble = answers[k].error();
    }
  }
  if (!trouble.ok()) moved.searched = false;  // the next try looks again
  return trouble;
}

}  // namespace

Result<std::vector<Message>> read_messages(State& state, const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey& known,
                                           Deadline deadline) {
  std::map<MessageKey, std::vector<OwnedField>> content;
  std::set<MessageKey> unknown;
  for (const PlannedMessage& message : messages) {
    const auto seen = known.find(message.key);  // content never changes under an id
    if (seen != known.end()) content[message.key] = seen->second.fields;
    else unknown.insert(message.key);
  }
  if (!unknown.empty()) {
    CLAW_TRY_ASSIGN(const Queue source, described(state.client, queue.queue.name, deadline));
    std::vector<Received> found;
    // What an earlier look left hidden is received again, so that its content is read.
    if (Holds* holds = kept_of(state, source.name)) holds->release(state.client, [&](const MessageKey& key) { return unknown.contains(key); }, deadline);
    CLAW_TRY(search(state, source, planned_keys(queue), std::min(source.visibility, Millis(30'000)) + Millis(1'000), &found, deadline));
    for (Received& message : found) content[message.key] = std::move(message.fields);
  }
  std::vector<Message> out;
  for (const PlannedMessage& message : messages) out.push_back({.id = message.id, .key = message.key, .fields = content[message.key], .groups = {}});
  return out;
}

Result<std::vector<Removal>> remove_messages(State& state, const RemoveRequest& request, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Queue source, described(state.client, request.queue.queue.name, deadline));
  Moved& moved = state.moved[{request.execution_id, source.name}];
  CLAW_TRY(learn(state, request, source, moved, deadline));
  CLAW_TRY(hold_originals(state, request, source, moved, deadline));
  CLAW_TRY_ASSIGN(Sorted sorted, sort_out(state, request, source, moved));
  if (Holds* holds = kept_of(state, source.name)) {  // what will not be touched goes back at once
    std::set<MessageKey> left;
    for (const Removal& removal : sorted.removals)
      if (removal.fate == Fate::not_found) left.insert(request.messages[removal.index].key);
    if (!left.empty()) holds->release(state.client, [&](const MessageKey& key) { return left.contains(key); }, deadline);
  }
  if (!sorted.to_delete.empty()) CLAW_TRY(delete_some(state, request, source, sorted.to_delete, moved, deadline));
  for (std::size_t first = 0; first < sorted.to_copy.size(); first += kMoveAtOnce) {
    if (deadline.expired(state.client.clock())) return make_error(Code::timed_out, "remove from " + escape(source.name, 90), "not done in time; run it again to go on");
    const auto some = std::span(sorted.to_copy).subspan(first, std::min(kMoveAtOnce, sorted.to_copy.size() - first));
    const Status copied = copy_some(state, request, some, moved, deadline);
    std::vector<std::size_t> indexes;
    for (const Target& target : some)
      if (moved.copied.contains(request.first_number + target.index)) indexes.push_back(target.index);
    if (!indexes.empty()) CLAW_TRY(delete_some(state, request, source, indexes, moved, deadline));
    CLAW_TRY(copied);
  }
  return std::move(sorted.removals);
}

}  // namespace claw::sqs
