#include "sqs/sweep.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::size_t kReceivesAtOnce = static_cast<std::size_t>(kConnections);
constexpr std::size_t kLongPolls = 4;
constexpr Millis kClocksDiffer{2'000};
constexpr Millis kReserve{5'000};  // of a deadline, for ending in order
constexpr std::uint64_t kMostRepeats = 20;
constexpr int kRepeatsMean = 8;    // answers in a row without anything new: a rolling sweep has been round

}  // namespace

Status Sweep::ask(Deadline deadline) {
  CLAW_TRY(holds_.keep_alive(client_, deadline));
  if (holds_.lost_a_last()) {
    end(false);
    return {};
  }
  const std::size_t room = options_.most_held - std::min(options_.most_held, holds_.size());
  const std::size_t calls = std::min(wait_s_ > 0 ? kLongPolls : kReceivesAtOnce, (room + kBatchEntries - 1) / kBatchEntries);
  const std::string body = json{{"QueueUrl", queue_.url}, {"MaxNumberOfMessages", kBatchEntries}, {"WaitTimeSeconds", wait_s_},
                                {"VisibilityTimeout", std::chrono::ceil<std::chrono::seconds>(options_.hold).count()},
                                {"MessageAttributeNames", {"All"}}, {"AttributeNames", {"All"}}, {"MessageSystemAttributeNames", {"All"}}}.dump();
  asked_at_ = client_.clock().mono();
  CLAW_TRY_ASSIGN(flight_, client_.begin(std::vector<Client::Call>(calls, {.action = "ReceiveMessage", .body = body}), deadline));
  return {};
}

// Everything that came is in holds_, also when one answer is an error.
Result<std::vector<Received>> Sweep::take(bool& dry) {
  auto answers = client_.finish(*std::exchange(flight_, std::nullopt));
  std::vector<Received> fresh;
  std::optional<Error> trouble;
  dry = true;
  for (const auto& answer : answers) {
    if (!answer && answer.error().code == Code::full) at_limit_ = true;  // OverLimit: SQS's own count of what is in flight
    if (!answer) {
      if (answer.error().code != Code::full) trouble = answer.error();
      continue;
    }
    Result<std::vector<Received>> messages = parse_received(*answer);
    if (!messages) {
      trouble = messages.error();
      continue;
    }
    for (Received& message : *messages) {
      holds_.add(message, asked_at_);
      dry &= message.sent > started_ + kClocksDiffer;  // what arrives meanwhile does not keep a look going for ever
      std::uint32_t& receives = seen_[message.key];
      if (++receives > options_.most_of_each) at_limit_ = true;
      // SQS may deliver twice once in a while; more means that holds run out, and going on would spend receives for nothing.
      if (receives > 1 && !options_.rolling && ++repeats_ > kMostRepeats) at_limit_ = true;
      if (receives == 1) fresh.push_back(std::move(message));
    }
  }
  const bool some_answered = std::any_of(answers.begin(), answers.end(), [](const auto& answer) { return answer.ok(); });
  if (trouble && trouble->code == Code::not_found) end(true);
  else if (trouble && !(trouble->code == Code::throttled && some_answered)) return *trouble;  // throttled: slower, not broken
  return fresh;
}

Status Sweep::after_dry(Deadline deadline) {
  if (wait_s_ == 0) {  // a short poll asks some of SQS's servers only: ask all
    wait_s_ = 1;
    return {};
  }
  const MonoTime now = client_.clock().mono();
  if (!dry_since_) dry_since_ = now;
  std::vector<Queue> one = {queue_};
  CLAW_TRY(describe(client_, one, deadline));
  elsewhere_ = one[0].held - std::min<std::uint64_t>(one[0].held, holds_.size());
  const bool wait = elsewhere_ > 0 && now - *dry_since_ < options_.wait_for_others && deadline.remaining(client_.clock()) > kReserve;
  if (!wait) end(true);
  return {};
}

void Sweep::make_room(Deadline deadline) {
  if (holds_.size() + kBatchEntries <= options_.most_held && !at_limit_) return;
  if (!options_.rolling || at_limit_) return end(false);
  std::size_t left = options_.most_held / 4;
  // One that would be dead-lettered by the next receive is not shown while we go on receiving.
  const auto may_go = [&](const MessageKey& key) { return !(options_.pinned && options_.pinned(key)) && !holds_.find(key)->last; };
  holds_.release(client_, [&](const MessageKey& key) { return may_go(key) && left > 0 && left-- > 0; }, deadline);
  if (holds_.size() + kBatchEntries > options_.most_held) end(false);  // nothing may go
}

Result<std::vector<Received>> Sweep::next(Deadline deadline) {
  while (!ended_) {
    CLAW_TRY(holds_.keep_alive(client_, deadline));
    if (!flight_) CLAW_TRY(ask(deadline));
    if (!flight_) break;
    bool dry = false;
    CLAW_TRY_ASSIGN(std::vector<Received> fresh, take(dry));
    if (!dry) {
      wait_s_ = 0;
      dry_since_.reset();
    } else if (!ended_) {
      CLAW_TRY(after_dry(deadline));
    }
    only_repeats_ = dry || !fresh.empty() ? 0 : only_repeats_ + 1;
    if (!ended_ && only_repeats_ >= kRepeatsMean) end(true);
    if (!ended_) make_room(deadline);
    if (!ended_ && seen_.size() >= options_.most_seen) end(false);
    if (!ended_) CLAW_TRY(ask(deadline));  // the server works while the caller does
    if (!fresh.empty()) return fresh;
    if (!ended_ && deadline.remaining(client_.clock()) <= kReserve / 2) return make_error(Code::timed_out, "receive from " + queue_.name, "no answer in time");
  }
  return std::vector<Received>();
}

void Sweep::stop() {
  if (!flight_) return;
  bool dry = false;
  static_cast<void>(take(dry).ok());  // an answer that did not come hides nothing that we could show again
  ended_ = true;
}

}  // namespace claw::sqs
