// What we hold hidden of one queue, and until when.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>

#include "sqs/client.h"
#include "sqs/message.h"
#include "sqs/queue.h"

namespace claw::sqs {

struct KeyHash {
  std::size_t operator()(const MessageKey& key) const { return key.high ^ key.low * 0x9e3779b97f4a7c15ull; }
};

struct Held {
  std::string receipt;
  std::uint64_t digest = 0;  // of the content
  MonoTime until;            // visible again at the earliest
  bool last = false;         // one more receive, by whomever, and its RedrivePolicy moves it
};

// Bounded by the caller. Destroying it without release() leaves the messages to come back by themselves.
class Holds {
 public:
  Holds(const Queue& queue, Millis hold) : url_(queue.url), hold_(hold), most_receives_(queue.most_receives) {}

  // `asked_at`: when the receive was sent; the hold is counted from there.
  void add(const Received& message, MonoTime asked_at);
  const Held* find(const MessageKey& key) const;
  void forget(const MessageKey& key) { held_.erase(key); }
  std::size_t size() const { return held_.size(); }
  // A message that one more receive would dead-letter came back before its time: receiving on could be that receive.
  bool lost_a_last() const { return lost_a_last_; }

  // Prolongs what has less than half of its time left. One that is no longer ours is forgotten.
  Status keep_alive(Client& client, Deadline deadline);
  // Makes visible again what `which` names. What cannot be told to SQS comes back by itself.
  void release(Client& client, const std::function<bool(const MessageKey&)>& which, Deadline deadline);
  void release_all(Client& client, Deadline deadline) {
    release(client, [](const MessageKey&) { return true; }, deadline);
  }

 private:
  std::vector<Result<std::string>> change(Client& client, const std::vector<MessageKey>& keys, Millis timeout, Deadline deadline);

  void lose(const MessageKey& key);

  std::string url_;
  Millis hold_;
  std::optional<std::uint32_t> most_receives_;
  bool lost_a_last_ = false;
  std::unordered_map<MessageKey, Held, KeyHash> held_;
  std::deque<MessageKey> by_time_;  // oldest hold first; may name what was forgotten
};

}  // namespace claw::sqs
