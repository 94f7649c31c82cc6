#include "rabbitmq/hold.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

constexpr Millis kAsk{250};       // between questions for the depth, while messages come
constexpr Millis kQuiet{150};     // after so long without a delivery the depth is asked
constexpr Millis kPatience{10'000};  // ready messages that are not given to us for so long are somebody else's, or the broker is too busy
constexpr Millis kReturn{60'000};  // measured: 10 s for 847,000
constexpr Millis kPartReturn{2'000};  // of a part, where consumers take what comes back
constexpr std::uint64_t kStep = 256;  // of a hold that goes on past what came back before

}  // namespace

Hold::Hold(Session& session, std::string queue, const HoldLimits& limits, std::optional<std::int64_t> delivery_limit)
    : session_(session), queue_(std::move(queue)), limits_(limits), delivery_limit_(delivery_limit), opened_(session.clock.mono()) {}

Result<std::unique_ptr<Hold>> Hold::open(Session& session, std::string queue, const HoldLimits& limits, std::optional<std::int64_t> delivery_limit, Deadline deadline) {
  std::unique_ptr<Hold> hold(new Hold(session, std::move(queue), limits, delivery_limit));
  CLAW_TRY_ASSIGN(hold->connection_, session.holder(limits.leader, deadline));
  CLAW_TRY_ASSIGN(const Depth depth, hold->connection_->depth(hold->queue_, deadline));
  // Where it cannot be believed that there is nothing, what is delivered tells.
  hold->guessed_ = hold->doubtful(depth);
  // The queue itself knows its consumers; the management API knows those of some seconds ago.
  std::uint64_t bound = limits.messages;
  if (limits.quorum) bound = std::max(depth.consumers > 0 ? std::min(bound, limits.part) : bound, session.returned[hold->queue_]);
  hold->expected_ = hold->guessed_ ? bound : std::min(depth.ready, bound);
  hold->exhausted_ = depth.ready == 0 && !hold->guessed_;
  hold->whole_ = hold->expected_ == depth.ready;
  hold->stopped_ = hold->expected_ == 0;
  hold->asked_ = session.clock.mono();
  if (hold->stopped_) return hold;
  CLAW_TRY(session.holds.add(hold->queue_));
  CLAW_TRY(hold->take_more(deadline));
  return hold;
}

Status Hold::take_more(Deadline deadline) {
  const std::uint64_t part = std::min<std::uint64_t>({expected_ - asked_for_, limits_.part, session_.prefetch});
  const bool first = asked_for_ == 0;
  asked_for_ += part;
  if (!first) return connection_->consume_more(queue_, static_cast<std::uint16_t>(part));
  return connection_->consume(queue_, static_cast<std::uint16_t>(part), std::nullopt, deadline);
}

// Asked before each further part. A broker that does not tell its memory is not given more than one.
Result<bool> Hold::memory_is_short(Deadline deadline) {
  CLAW_TRY_ASSIGN(const BrokerFacts facts, session_.broker(deadline));
  return !facts.alarms.empty() || limits_.memory_floor == 0 || facts.memory_free < limits_.memory_floor;
}

Hold::~Hold() {
  if (connection_ != nullptr) static_cast<void>(release(Deadline::in(session_.clock, kReturn)).ok());
}

Result<bool> Hold::next(Held& out, Deadline deadline) {
  const Deadline end(opened_ + limits_.time);
  MonoTime last = session_.clock.mono();
  while (!stopped_ && taken_ < expected_ && bytes_ < limits_.bytes && !end.expired(session_.clock)) {
    if (deadline.expired(session_.clock)) return make_error(Code::timed_out, "hold " + escape(queue_, 120), "no message before the deadline");
    // At the queue's end what is published now would come to us one by one, until the time is up: so deliveries are ended there.
    if (!ending_ && elapsed(asked_, session_.clock.mono()) >= kAsk) CLAW_TRY(end_where_empty(deadline));
    const std::uint64_t ahead = limits_.in_order ? 0 : limits_.part;
    if (asked_for_ < expected_ && asked_for_ - taken_ <= ahead && !ending_) {
      CLAW_TRY_ASSIGN(const bool is_short, memory_is_short(deadline));
      if (is_short && asked_for_ == taken_) return false;
      if (!is_short) CLAW_TRY(take_more(deadline));
    }
    CLAW_TRY_ASSIGN(const Event event, connection_->next(Deadline::in(session_.clock, kQuiet).or_sooner(deadline), deadline));
    switch (event.kind) {
      case Event::Kind::delivery: return take(out, event.delivery, deadline);
      case Event::Kind::stopped:  // by us at the queue's end, or the queue was deleted
        stopped_ = exhausted_ = true;
        if (guessed_) expected_ = taken_;
        break;
      case Event::Kind::none: {
        if (ending_) break;
        // What is no longer ready may be on its way to us: only the consumer's end, which follows it, is the end.
        CLAW_TRY(end_where_empty(deadline));
        if (!ending_ && session_.clock.mono() - last > kPatience) return false;
        break;
      }
    }
  }
  // A bound of ours: what was still on its way has not been seen.
  if (!stopped_ && taken_ < expected_) exhausted_ = false;
  return false;
}

// The queue's end: nothing is ready although we would get it.
Result<bool> Hold::nothing_more(Deadline deadline) {
  asked_ = session_.clock.mono();
  CLAW_TRY_ASSIGN(Connection * control, session_.control(deadline));
  const Result<Depth> depth = control->depth(queue_, deadline);
  if (!depth && depth.error().code != Code::not_found) return depth.error();
  return !depth || (depth->ready == 0 && !doubtful(*depth));
}

Status Hold::end_where_empty(Deadline deadline) {
  CLAW_TRY_ASSIGN(exhausted_, nothing_more(deadline));
  ending_ = exhausted_;
  return ending_ ? connection_->stop() : Status{};
}

// Goes on to the first message that was never given out, and takes all that was asked for: what is on its way to a consumer that is
// cancelled comes back at once. The memory is not asked for: what came back was held before.
Status Hold::pass_returned(Deadline deadline) {
  for (MonoTime last = session_.clock.mono(); limits_.quorum && !stopped_ && !ending_ && (last_came_back_ || taken_ < asked_for_);) {
    if (asked_for_ <= taken_) {
      const std::uint64_t step = std::min<std::uint64_t>(kStep, session_.prefetch);
      asked_for_ += step;
      CLAW_TRY(connection_->consume_more(queue_, static_cast<std::uint16_t>(step)));
    }
    CLAW_TRY_ASSIGN(const Event event, connection_->next(Deadline::in(session_.clock, kQuiet).or_sooner(deadline), deadline));
    switch (event.kind) {
      case Event::Kind::delivery: {
        Held unread;
        CLAW_TRY(take(unread, event.delivery, deadline));
        last = session_.clock.mono();
        break;
      }
      case Event::Kind::stopped: stopped_ = true; break;
      case Event::Kind::none: {
        CLAW_TRY_ASSIGN(const bool end, nothing_more(deadline));
        if (end || session_.clock.mono() - last > kPatience) return {};
        break;
      }
    }
  }
  return {};
}

Result<bool> Hold::take(Held& out, const Delivery& delivery, Deadline deadline) {
  CLAW_TRY_ASSIGN(Seen seen, see(delivery, queue_));
  ++taken_;
  last_came_back_ = delivery.redelivered;
  bytes_ += delivery.body.size() + delivery.properties.size();
  if (delivery_limit_ && seen.delivery_count >= *delivery_limit_) CLAW_TRY(rescue(delivery, seen, deadline));
  if (taken_ == expected_ && !exhausted_ && !ending_) {
    CLAW_TRY_ASSIGN(exhausted_, nothing_more(deadline));
  }
  out = {.tag = delivery.tag, .redelivered = delivery.redelivered, .body = delivery.body, .seen = std::move(seen)};
  return true;
}

Status Hold::rescue(const Delivery& delivery, const Seen& seen, Deadline deadline) {
  const auto fields = fields_of(delivery.body, seen.envelope);
  CLAW_TRY_ASSIGN(const Publishing copy, for_queue(fields, session_.endpoint.user));
  CLAW_TRY_ASSIGN(Connection * publisher, session_.publisher(deadline));
  CLAW_TRY(publisher->publish(queue_, copy.properties, copy.body, deadline));
  CLAW_TRY(publisher->confirmed(deadline));
  rescued_.push_back(delivery.tag);
  ++rescues_;
  return {};
}

// Ends deliveries; what was still under way is held too, and is rescued where it must be.
Status Hold::stop(Deadline deadline) {
  CLAW_TRY(pass_returned(deadline));
  if (!stopped_) {
    if (!ending_) CLAW_TRY(connection_->stop());
    for (;;) {
      CLAW_TRY_ASSIGN(const Event event, connection_->next(deadline, deadline));
      if (event.kind == Event::Kind::none) return make_error(Code::timed_out, "hold " + escape(queue_, 120), "the consumer did not end before the deadline");
      if (event.kind == Event::Kind::stopped) break;
      Held unread;
      CLAW_TRY(take(unread, event.delivery, deadline));
    }
    stopped_ = true;
  }
  CLAW_TRY(remove(rescued_, deadline));
  rescued_.clear();
  return {};
}

Status Hold::remove(std::span<const std::uint64_t> tags, Deadline deadline) {
  CLAW_TRY(connection_->acknowledge(tags, deadline));
  removed_ += tags.size();
  return {};
}

Status Hold::release(Deadline deadline) {
  if (connection_ == nullptr) return {};
  Status done = stop(deadline);
  if (done.ok()) done = give_back(deadline);
  if (done.ok()) session_.give_back(std::move(connection_));
  connection_.reset();  // after an error: the broker returns what a dropped connection held
  if (!done.ok()) return done;
  const std::uint64_t returned = taken_ - removed_;
  if (limits_.quorum) session_.returned[queue_] = returned;
  return await_return(returned, kQuiet, deadline);
}

// Of a quorum queue the oldest part first, and the next when that one is ready again.
Status Hold::give_back(Deadline deadline) {
  for (std::uint64_t left = taken_ - removed_; limits_.quorum && left > 0;) {
    CLAW_TRY_ASSIGN(Connection * control, session_.control(deadline));
    const Result<Depth> before = control->depth(queue_, deadline);
    if (!before && before.error().code != Code::not_found) return before.error();
    CLAW_TRY_ASSIGN(const std::optional<std::uint64_t> held, connection_->close_oldest(deadline));
    if (!held) break;
    left -= std::min(left, *held);
    // It comes back as one. Consumers take of it at once, never as much as half.
    if (before && left > 0) CLAW_TRY(await_return(before->ready + (*held + 1) / 2, kPartReturn, deadline));
  }
  return connection_->close_channels(deadline);
}

// Waits until so many are ready; where consumers may have taken them, no longer than `patience`.
Status Hold::await_return(std::uint64_t ready, Millis patience, Deadline deadline) {
  const MonoTime start = session_.clock.mono();
  while (ready > 0) {
    CLAW_TRY_ASSIGN(Connection * control, session_.control(deadline));
    const Result<Depth> depth = control->depth(queue_, deadline);
    if (!depth && depth.error().code == Code::not_found) return {};
    if (!depth) return depth.error();
    const Millis waited = elapsed(start, session_.clock.mono());
    if (depth->ready >= ready || (depth->consumers > 0 && waited > patience) || waited > kReturn) return {};
    session_.clock.sleep(Millis(5));
  }
  return {};
}

}  // namespace claw::rabbitmq
