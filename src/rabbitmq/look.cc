#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "rabbitmq/gather.h"
#include "rabbitmq/operations.h"

namespace claw::rabbitmq {
namespace {

constexpr std::size_t kPageMessages = 1'000;
constexpr std::size_t kPageBytes = 1u << 20;
constexpr std::uint16_t kStreamPrefetch = 2'000;
constexpr Millis kStreamQuiet{1'000};
constexpr Millis kStreamTime{120'000};

// Collects messages into one buffer; views are made when it does not move any more.
class PageWriter {
 public:
  explicit PageWriter(Batch& page) : page_(page), buffer_(page.recycle()) {
    page_.clear();
    buffer_.clear();
  }
  bool full() const { return pieces_.size() >= kPageMessages || buffer_.size() >= kPageBytes; }
  bool empty() const { return pieces_.empty(); }
  void add(MessageKey key, std::string_view body, std::string_view envelope, const Evidence& evidence) {
    pieces_.push_back({key, buffer_.size(), body.size(), envelope.size(), evidence});
    buffer_.insert(buffer_.end(), body.begin(), body.end());
    buffer_.insert(buffer_.end(), envelope.begin(), envelope.end());
  }
  void finish() {
    buffer_.resize(buffer_.size() + Batch::kPadding);
    const char* const start = buffer_.data();
    for (const Piece& p : pieces_) {
      const Field fields[] = {{"", {start + p.at, p.body}}, {"amqp", {start + p.at + p.body, p.envelope}}};
      page_.add(p.key, fields, p.evidence);
    }
    page_.adopt(std::move(buffer_));
  }

 private:
  struct Piece {
    MessageKey key;
    std::size_t at, body, envelope;
    Evidence evidence;
  };
  Batch& page_;
  RawBytes buffer_;
  std::vector<Piece> pieces_;
};

// What deliveries tell. Our own holds raise x-delivery-count too, of everything up to where they reached, and only what is above our
// part is called a failure. At most as many as we made are ours; where some may not be known, the least count that was met so far
// from the head is taken for ours too.
class Witness {
 public:
  Witness(std::uint32_t our_holds, bool complete) : our_holds_(our_holds), complete_(complete) {}
  // Nothing in the queue was ever given out before.
  void nothing_was_held() { our_holds_ = 0; }
  Evidence evidence(const Held& held) {
    least_ = std::min(least_, held.seen.delivery_count);
    const std::uint32_t ours = std::max(complete_ ? 0 : least_, std::min(our_holds_, held.seen.delivery_count));
    Evidence out;
    out.attempts = held.seen.delivery_count - ours + held.seen.dead_lettered;
    // A classic queue says only that it was delivered before, which our own look does too.
    if (out.attempts == 0 && held.redelivered && our_holds_ == 0) out.attempts = 1;
    if (out.attempts > 0) out.pending = 1;  // was delivered, and came back instead of being acknowledged
    else out.waiting = 1;
    return out;
  }

 private:
  std::uint32_t our_holds_;
  bool complete_;
  std::uint32_t least_ = UINT32_MAX;
};

class TakeWindow final : public Window {
 public:
  // `dead`: the dead-letter queue to be read first, empty for none; `has_dead`: there is one.
  TakeWindow(Session& session, std::string queue, Permission may, std::string dead, Permission may_dead, bool has_dead)
      : session_(session), queue_(std::move(queue)), dead_(std::move(dead)), may_(std::move(may)), may_dead_(std::move(may_dead)), witness_(session.holds.of(queue_), session.holds.complete()), dead_known_(!has_dead) {}

  ~TakeWindow() override {
    if (holds()) session_.looked.reset();
  }
  TakeWindow(const TakeWindow&) = delete;
  TakeWindow& operator=(const TakeWindow&) = delete;

  Result<bool> next(Batch& page, Deadline deadline) override {
    PageWriter writer(page);
    while (writer.empty() && !dead_.empty()) CLAW_TRY(read_dead(writer, deadline));
    if (writer.empty() && !done_) CLAW_TRY(read_queue(writer, deadline));
    const bool more = !writer.empty();
    writer.finish();
    return more;
  }

  // Also when it was cut short: a queue without priorities keeps its order, and what an earlier look saw can only have moved up. What was
  // given up must be known, or it would be taken for what passed.
  bool tells_what_left() const override { return done_ && dead_known_ && (!cut_short_ || (!places_.empty() && !may_.priorities)) && rescued_ == 0; }
  bool holds() const override { return number_ != 0 && session_.looked != nullptr && session_.looked_number == number_; }
  // What is about to be removed stays held, and with it all else: only closing its channels gives messages back in order.
  Status settle(std::span<const MessageKey> keep, Deadline deadline) override {
    if (!holds()) return {};
    std::unique_ptr<Hold> hold = std::move(session_.looked);
    number_ = 0;
    if (keep.empty()) return hold->release(deadline);
    Kept kept{.hold = std::move(hold), .by_digest = {}, .content = {}, .exhausted = !cut_short_, .since = session_.clock.mono()};
    for (const MessageKey& key : keep)
      if (key.high < places_.size()) kept.by_digest[std::string(places_[key.high].digest.begin(), places_[key.high].digest.end())].push_back(places_[key.high].tag);
    session_.kept.insert_or_assign(queue_, std::move(kept));
    return {};
  }
  std::string remark() const override {
    std::string out;
    if (rescued_ > 0)
      out = fmt::format("{} messages stood at the delivery limit and were put at the tail of the queue, because their return would have ended them. ", grouped(rescued_));
    if (cut_short_ && places_.empty()) out += "Messages are ready, and none was given to us in time: the queue was not looked at. ";
    if (cut_short_ && !places_.empty()) out += fmt::format("Only the first {} messages were looked at: one hold takes no more.", grouped(places_.size()));
    return out;
  }

 private:
  Status read_dead(PageWriter& writer, Deadline deadline) {
    if (hold_ == nullptr) {
      CLAW_TRY_ASSIGN(hold_, Hold::open(session_, dead_, may_dead_.limits, may_dead_.delivery_limit, deadline));
    }
    for (Held held; !writer.full();) {
      CLAW_TRY_ASSIGN(const bool more, hold_->next(held, deadline));
      if (!more) return end_dead(deadline);
      CLAW_TRY_ASSIGN(const std::uint32_t failures, failures_of(held));
      if (failures == 0) continue;
      const std::uint64_t digest = short_digest(digest_of(held.body, held.seen.envelope));
      writer.add({kDeadBit | dead_place_++, digest}, held.body, held.seen.envelope, {.attempts = failures, .dead_lettered = true});
    }
    return {};
  }
  Status end_dead(Deadline deadline) {
    dead_known_ = hold_->took_all();
    CLAW_TRY(hold_->release(deadline));
    hold_.reset();
    dead_.clear();
    return {};
  }

  // Of a message in the dead-letter queue: how often it failed in ours.
  Result<std::uint32_t> failures_of(const Held& held) {
    CLAW_TRY_ASSIGN(const Envelope envelope, unpack(held.seen.envelope));
    CLAW_TRY_ASSIGN(const Seen seen, see({.exchange = envelope.exchange, .routing_key = envelope.routing_key, .properties = envelope.properties, .body = held.body}, queue_));
    return seen.dead_lettered;
  }

  Status read_queue(PageWriter& writer, Deadline deadline) {
    if (hold_ == nullptr) {
      CLAW_TRY_ASSIGN(hold_, Hold::open(session_, queue_, may_.limits, may_.delivery_limit, deadline));
    }
    for (Held held; !writer.full();) {
      CLAW_TRY_ASSIGN(const bool more, hold_->next(held, deadline));
      if (!more) return end(deadline);
      if (held.seen.expires_ms && *held.seen.expires_ms < may_.limits.time.count())
        return make_error(Code::refused, "look at " + session_.name + "/" + escape(queue_, 120),
                          fmt::format("a message expires {} ms after it was published: some would expire while they are held (at most {} ms)", *held.seen.expires_ms, may_.limits.time.count()));
      // What was held stands before what never was. (Not where messages overtake each other.)
      if (places_.empty() && !held.redelivered && !may_.priorities) {
        CLAW_TRY(session_.holds.restart(queue_));
        witness_.nothing_was_held();
      }
      const std::string digest = digest_of(held.body, held.seen.envelope);
      Place& place = places_.emplace_back(Place{.digest = {}, .tag = {held.tag, held.redelivered}});
      std::copy_n(digest.begin(), std::min(digest.size(), place.digest.size()), place.digest.begin());
      writer.add({places_.size() - 1, short_digest(digest)}, held.body, held.seen.envelope, witness_.evidence(held));
    }
    return {};
  }

  Status end(Deadline deadline) {
    done_ = true;
    cut_short_ = !hold_->exhausted();
    CLAW_TRY(hold_->stop(deadline));
    rescued_ = hold_->rescued();
    number_ = ++session_.looked_number;
    session_.looked = std::move(hold_);
    return {};
  }

  // Where each message of the look is held, by its place: 48 bytes each while the look lasts.
  struct Place {
    std::array<char, 32> digest;
    HeldTag tag;
  };

  Session& session_;
  std::string queue_, dead_;
  Permission may_, may_dead_;
  Witness witness_;
  std::unique_ptr<Hold> hold_;
  std::uint64_t number_ = 0;  // after the end, of its hold in the session
  std::vector<Place> places_;
  std::uint64_t dead_place_ = 0, rescued_ = 0;
  bool done_ = false, cut_short_ = false;
  bool dead_known_;  // all of what the dead-letter queue holds was seen, or there is none
};

// Reads a stream until it is quiet, which is its end; a stream's depth is not told reliably. Bounded in time, for the sake of one
// that is written to without a pause. An acknowledgement only lets the broker send more.
class StreamWindow final : public Window {
 public:
  StreamWindow(Session& session, std::unique_ptr<Connection> connection)
      : session_(session), connection_(std::move(connection)), until_(Deadline::in(session.clock, kStreamTime)) {}

  Result<bool> next(Batch& page, Deadline deadline) override {
    PageWriter writer(page);
    std::uint64_t last_tag = 0;
    while (!ended_ && !writer.full()) {
      CLAW_TRY_ASSIGN(const Event event, connection_->next(Deadline::in(session_.clock, kStreamQuiet).or_sooner(deadline), deadline));
      ended_ = event.kind != Event::Kind::delivery || until_.expired(session_.clock);
      if (event.kind != Event::Kind::delivery) break;
      CLAW_TRY_ASSIGN(const Seen seen, see(event.delivery, ""));
      if (!seen.offset) return make_error(Code::corrupt, "stream", "a message without x-stream-offset");
      writer.add({*seen.offset, 0}, event.delivery.body, seen.envelope, {.waiting = 1});
      last_tag = event.delivery.tag;
      ++read_;
    }
    if (last_tag != 0) CLAW_TRY(connection_->credit(last_tag));
    if (ended_ && connection_ != nullptr && writer.empty()) {
      CLAW_TRY(connection_->close_channels(deadline));
      session_.give_back(std::move(connection_));
    }
    const bool more = !writer.empty();
    writer.finish();
    return more;
  }

  bool tells_what_left() const override { return !until_.expired(session_.clock); }
  std::string remark() const override {
    return until_.expired(session_.clock) ? fmt::format("Only the first {} messages of the stream were read: the time was up.", grouped(read_)) : std::string();
  }

 private:
  Session& session_;
  std::unique_ptr<Connection> connection_;
  Deadline until_;
  std::uint64_t read_ = 0;
  bool ended_ = false;
};

}  // namespace

Result<std::unique_ptr<Window>> look_at(Session& session, const QueueView& queue, Deadline deadline) {
  CLAW_TRY_ASSIGN(Permission may, may_look(session, queue.id.name, deadline));
  if (queue.type == QueueType::stream) {
    CLAW_TRY_ASSIGN(auto connection, session.holder("", deadline));
    CLAW_TRY(connection->consume(queue.id.name, kStreamPrefetch, "first", deadline));
    return std::unique_ptr<Window>(std::make_unique<StreamWindow>(session, std::move(connection)));
  }
  // The dead-letter queue has rules of its own. Where it must not be looked at, its evidence is missing, which only lowers confidence.
  Permission may_dead;
  std::string dead = queue.dead_letter;
  if (!dead.empty()) {
    Result<Permission> allowed = may_look(session, dead, deadline);
    if (allowed && allowed->promise.no_removal.empty()) may_dead = std::move(*allowed);
    else dead.clear();
  }
  return std::unique_ptr<Window>(std::make_unique<TakeWindow>(session, queue.id.name, std::move(may), std::move(dead), std::move(may_dead), !queue.dead_letter.empty()));
}

}  // namespace claw::rabbitmq
