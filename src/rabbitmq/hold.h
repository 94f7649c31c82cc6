// The head of a queue, taken within bounds and given back in order by closing its channels.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rabbitmq/message.h"
#include "rabbitmq/session.h"

namespace claw::rabbitmq {

// One held message. The body lives until the next call of its hold.
struct Held {
  std::uint64_t tag = 0;
  bool redelivered = false;
  std::string_view body;
  Seen seen;
};

// A long hold is made of parts, one after another: a consumer each, on a channel of its own.
// Messages are taken once, in order, until the bound or the end of what was ready at the start. A message that stands at the
// queue's delivery limit would be dropped or dead-lettered on its return: it is put at the tail instead (published with confirm,
// then acknowledged), at once. A quorum queue puts what comes back behind all that came back before, and both before what was never
// given out (measured): a hold of it reaches past the first of the latter, else the rest of an earlier hold would overtake its messages,
// and its parts are given back one by one. The destructor returns everything; if it cannot even do that, it drops the connection, and the
// broker does.
class Hold {
 public:
  static Result<std::unique_ptr<Hold>> open(Session& session, std::string queue, const HoldLimits& limits, std::optional<std::int64_t> delivery_limit, Deadline deadline);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  // False at the end.
  Result<bool> next(Held& out, Deadline deadline);
  // True when the end was that of the queue, not a bound of ours.
  bool exhausted() const { return exhausted_; }
  // Everything was taken that was ready when it began.
  bool took_all() const { return exhausted_ || (whole_ && taken_ >= expected_); }
  std::uint64_t taken() const { return taken_; }
  std::uint64_t expected() const { return expected_; }  // of messages, by the queue's depth and our bound
  std::uint64_t rescued() const { return rescues_; }  // put at the tail instead

  // Ends the taking: next() gives nothing after it.
  Status stop(Deadline deadline);
  // Removes these from the queue for good, all or none. Call stop() first, so that nothing more is delivered for them.
  Status remove(std::span<const std::uint64_t> tags, Deadline deadline);
  // Gives the rest back, and waits until the queue shows it (or live consumers may have taken it): close-ok comes before that.
  Status release(Deadline deadline);

 private:
  Hold(Session& session, std::string queue, const HoldLimits& limits, std::optional<std::int64_t> delivery_limit);
  Status rescue(const Delivery& delivery, const Seen& seen, Deadline deadline);
  Result<bool> take(Held& out, const Delivery& delivery, Deadline deadline);
  Result<bool> nothing_more(Deadline deadline);
  Status pass_returned(Deadline deadline);
  Status end_where_empty(Deadline deadline);  // asks, and ends deliveries where there is nothing more
  Status take_more(Deadline deadline);  // adds a consumer
  Result<bool> memory_is_short(Deadline deadline);
  Status give_back(Deadline deadline);
  Status await_return(std::uint64_t ready, Millis patience, Deadline deadline);

  Session& session_;
  std::string queue_;
  bool doubtful(const Depth& depth) const { return limits_.quorum && depth.nothing_at_all(); }

  HoldLimits limits_;
  std::optional<std::int64_t> delivery_limit_;
  std::unique_ptr<Connection> connection_;
  MonoTime opened_;
  std::uint64_t expected_ = 0, asked_for_ = 0, taken_ = 0, bytes_ = 0, rescues_ = 0, removed_ = 0;
  bool exhausted_ = false, stopped_ = false, whole_ = false, ending_ = false;
  bool last_came_back_ = false;  // the message that was taken last had been given out before
  bool guessed_ = false;  // how many there are was not known when it began: expected_ is the bound
  MonoTime asked_{};  // for the depth
  std::vector<std::uint64_t> rescued_;  // tags to acknowledge once nothing more is delivered
};

}  // namespace claw::rabbitmq
