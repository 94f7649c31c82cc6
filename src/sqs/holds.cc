#include "sqs/holds.h"

#include <nlohmann/json.hpp>

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::size_t kProlongAtOnce = 160;

}  // namespace

void Holds::add(const Received& message, MonoTime asked_at) {
  held_[message.key] = {.receipt = message.receipt, .digest = digest_of(message.fields), .until = asked_at + hold_, .last = most_receives_ && message.receives >= *most_receives_};
  by_time_.push_back(message.key);
}

const Held* Holds::find(const MessageKey& key) const {
  const auto found = held_.find(key);
  return found == held_.end() ? nullptr : &found->second;
}

void Holds::lose(const MessageKey& key) {
  const auto found = held_.find(key);
  if (found == held_.end()) return;
  lost_a_last_ |= found->second.last;
  held_.erase(found);
}

std::vector<Result<std::string>> Holds::change(Client& client, const std::vector<MessageKey>& keys, Millis timeout, Deadline deadline) {
  std::vector<std::string> entries;
  for (const MessageKey& key : keys)
    entries.push_back(json{{"ReceiptHandle", held_.at(key).receipt}, {"VisibilityTimeout", std::chrono::ceil<std::chrono::seconds>(timeout).count()}}.dump());
  return call_batches(client, "ChangeMessageVisibilityBatch", url_, std::move(entries), Repeat::harmless, deadline);
}

Status Holds::keep_alive(Client& client, Deadline deadline) {
  for (;;) {
    const MonoTime now = client.clock().mono();
    std::vector<MessageKey> due;
    while (!by_time_.empty() && due.size() < kProlongAtOnce) {
      const auto found = held_.find(by_time_.front());
      if (found != held_.end() && found->second.until - now > hold_ / 2) break;
      // One whose time is up is visible, or somebody else's: it is not ours to prolong.
      if (found != held_.end() && found->second.until <= now) lose(by_time_.front());
      else if (found != held_.end()) due.push_back(by_time_.front());
      by_time_.pop_front();
    }
    if (due.empty()) return {};
    const auto answers = change(client, due, hold_, deadline);
    for (std::size_t i = 0; i < due.size(); ++i) {
      if (answers[i].ok()) {
        held_[due[i]].until = now + hold_;
        by_time_.push_back(due[i]);
      } else {
        lose(due[i]);
      }
    }
    for (const auto& answer : answers)
      if (!answer.ok() && answer.error().code == Code::denied) return answer.error();
  }
}

void Holds::release(Client& client, const std::function<bool(const MessageKey&)>& which, Deadline deadline) {
  constexpr std::size_t kAtOnce = 640;
  const MonoTime now = client.clock().mono();
  std::vector<MessageKey> keys;
  const auto flush = [&] {
    if (!keys.empty() && !deadline.expired(client.clock())) change(client, keys, Millis(0), deadline);
    for (const MessageKey& key : keys) held_.erase(key);
    keys.clear();
  };
  std::deque<MessageKey> kept;
  for (const MessageKey& key : by_time_) {  // oldest first: a FIFO group's messages go back in their order
    const auto found = held_.find(key);
    if (found == held_.end()) continue;
    if (!which(key)) {
      kept.push_back(key);
      continue;
    }
    if (found->second.until <= now) held_.erase(found);  // is back already; its receipt may be somebody else's
    else keys.push_back(key);
    if (keys.size() >= kAtOnce) flush();
  }
  flush();
  by_time_ = std::move(kept);
}

}  // namespace claw::sqs
