#include <algorithm>
#include <unordered_set>

#include "base/text.h"
#include "sqs/look_policy.h"
#include "sqs/operations.h"
#include "sqs/sweep.h"

namespace claw::sqs {
namespace {

constexpr Millis kReleaseTimeout = std::chrono::minutes(2);
constexpr Millis kLongestWait{30'000};  // for what consumers hold

class SqsWindow final : public Window {
 public:
  SqsWindow(std::shared_ptr<State> state, Queue queue, const LookRuling& ruling, std::uint64_t look)
      : state_(std::move(state)),
        queue_(std::move(queue)),
        look_(look),
        holds_(std::make_unique<Holds>(queue_, state_->options.hold)),
        sweep_(state_->client, queue_, *holds_,
               {.hold = state_->options.hold, .most_held = ruling.most_held, .most_seen = ruling.most_seen, .most_of_each = ruling.most_of_each,
                .rolling = state_->options.look == LookMode::stream, .wait_for_others = std::min(kLongestWait, queue_.visibility + Millis(1'000))}) {}
  ~SqsWindow() override {
    if (holds_) static_cast<void>(settle({}, Deadline::in(state_->client.clock(), kReleaseTimeout)).ok());
  }

  Result<bool> next(Batch& page, Deadline deadline) override {
    CLAW_TRY_ASSIGN(const std::vector<Received> messages, sweep_.next(deadline));
    if (messages.empty()) return false;
    fill(page, messages, attempts_of, this);
    return true;
  }

  // Not where it has a dead-letter queue: what went there would be taken for what passed.
  bool tells_what_left() const override { return sweep_.complete() && queue_.dead_letter.empty(); }
  bool holds() const override { return holds_ != nullptr; }

  Status settle(std::span<const MessageKey> keep, Deadline deadline) override {
    if (!holds_) return {};
    sweep_.stop();
    const std::unordered_set<MessageKey, KeyHash> kept(keep.begin(), keep.end());
    holds_->release(state_->client, [&](const MessageKey& key) { return !kept.contains(key); }, deadline);
    if (holds_->size() > 0) state_->kept[queue_.name] = std::move(holds_);
    holds_.reset();
    return state_->looks.end(look_, state_->client.clock().now());
  }

 private:
  // Receives by others: without this one, and without as many of our earlier looks as may have met the message.
  static std::uint32_t attempts_of(const Received& message, const void* self) {
    const auto& window = *static_cast<const SqsWindow*>(self);
    const std::uint32_t ours = 1 + window.state_->looks.since(window.queue_.name, message.sent, window.look_);
    return message.receives - std::min(message.receives, ours);
  }

  std::shared_ptr<State> state_;
  Queue queue_;
  std::uint64_t look_;
  std::unique_ptr<Holds> holds_;
  Sweep sweep_;
};

Error refused(const Queue& queue, const LookRuling& ruling) { return make_error(Code::refused, "look at " + escape(queue.name, 90), ruling.refusal); }

Result<std::uint64_t> begin_look(State& state, const Queue& queue) { return state.looks.begin(queue.name, state.client.clock().now()); }

std::uint32_t own_looks(State& state, const Queue& queue) { return state.looks.since(queue.name, state.client.clock().now() - queue.retention); }

}  // namespace

Result<std::unique_ptr<Window>> look_at(std::shared_ptr<State> state, const QueueView& view, Deadline deadline) {
  if (const auto kept = state->kept.find(view.id.name); kept != state->kept.end()) {  // of an earlier look that nothing followed
    kept->second->release_all(state->client, deadline);
    state->kept.erase(kept);
  }
  CLAW_TRY_ASSIGN(const Queue queue, described(state->client, view.id.name, deadline));
  const LookRuling ruling = rule({.queue = queue, .own_looks = own_looks(*state, queue), .wanted = state->options.look});
  if (!ruling.allowed()) return refused(queue, ruling);
  CLAW_TRY_ASSIGN(const std::uint64_t look, begin_look(*state, queue));
  return std::unique_ptr<Window>(std::make_unique<SqsWindow>(std::move(state), queue, ruling, look));
}

Result<std::uint64_t> search(State& state, const Queue& source, const std::set<MessageKey>& planned, Millis wait, std::vector<Received>* found,
                             Deadline deadline) {
  // How often it may be received was decided for the plan's look; how it is held follows from its size now.
  const LookMode mode = source.visible > kMostHeld ? LookMode::stream : LookMode::hold_all;
  const LookRuling ruling = rule({.queue = source, .own_looks = own_looks(state, source), .wanted = mode, .search = true});
  if (!ruling.allowed()) return refused(source, ruling);
  CLAW_TRY_ASSIGN(const std::uint64_t look, begin_look(state, source));
  auto& holds = state.kept[source.name];
  if (!holds) holds = std::make_unique<Holds>(source, state.options.hold);
  std::set<MessageKey> missing;
  for (const MessageKey& key : planned)
    if (holds->find(key) == nullptr) missing.insert(key);
  const auto is_planned = [&](const MessageKey& key) { return planned.contains(key); };
  Sweep sweep(state.client, source, *holds,
              {.hold = state.options.hold, .most_held = ruling.most_held, .most_seen = ruling.most_seen, .most_of_each = ruling.most_of_each,
               .rolling = mode == LookMode::stream, .wait_for_others = wait, .pinned = is_planned});
  Status trouble;
  while (!missing.empty()) {
    Result<std::vector<Received>> messages = sweep.next(deadline);
    if (!messages) trouble = messages.error();
    if (!messages || messages->empty()) break;
    for (Received& message : *messages)
      if (missing.erase(message.key) > 0 && found != nullptr) found->push_back(std::move(message));
  }
  sweep.stop();
  holds->release(state.client, [&](const MessageKey& key) { return !is_planned(key); }, Deadline::in(state.client.clock(), kReleaseTimeout));
  CLAW_TRY(state.looks.end(look, state.client.clock().now()));
  CLAW_TRY(std::move(trouble));
  if (missing.empty()) return std::uint64_t{0};
  return sweep.complete() ? sweep.elsewhere() : std::max<std::uint64_t>(1, sweep.elsewhere());  // cut short: they may be there
}

}  // namespace claw::sqs
