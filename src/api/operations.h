// What was asked of the agent and what became of it. The agent's facade is used by one thread at a time: whoever asks
// puts his wish in a bounded queue, the agent's thread takes them in order, everybody may watch.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "api/events.h"

namespace claw::api {

struct Operation {
  std::string id;      // "op-17"
  std::string kind;    // "scan", "plan", "apply", …
  TenantId tenant;     // empty when it is about none or about all
  std::string subject; // of the wish, in words: a plan's hash, a rollback key
  std::string actor;
  std::string state;   // "queued", "running", "asking", "done", "failed", "cancelled"
  WallTime created;
  std::optional<WallTime> ended;
  std::string execution_id;          // once there is one
  std::string stage;                 // running now
  std::uint64_t done = 0, total = 0; // of the stage
  std::vector<StageRecord> stages;   // finished
  std::vector<std::string> notes;    // at most 100
  std::optional<Error> error;        // of a failed one
};

std::string operation_json(const Operation& operation);

// Thread-safe; run_next() and agent_progress() belong to the agent's thread.
class Operations {
 public:
  static constexpr std::size_t kWaiting = 64;       // more are refused
  static constexpr std::size_t kRemembered = 200;   // ended ones
  static constexpr std::size_t kResults = 16;       // whose results are kept
  static constexpr Millis kAnswerWithin{60'000};    // to a question; after it the answer is no

  class Task;
  // Runs on the agent's thread; the value is the result as JSON.
  using Work = std::function<Result<std::string>(Agent& agent, Task& task)>;

  Operations(Clock& clock, Events& events);
  ~Operations();

  // `wish` says kind, tenant, subject and actor. The same non-empty `key` of the same actor gives the same operation
  // again: Code::conflict when it stood for another wish. Code::throttled when kWaiting wait already.
  Result<Operation> submit(Operation wish, Work work, const std::string& key = {});
  Result<Operation> find(const std::string& id) const;
  std::vector<Operation> list() const;  // newest first
  // Code::not_found when there is none (any more).
  Result<std::string> result(const std::string& id) const;
  // The answer to a question. Code::conflict when it asks nothing.
  Status answer(const std::string& id, bool yes);
  // Takes a waiting one back. Code::conflict when it runs or has ended: the brake stops what runs.
  Status cancel(const std::string& id);

  // Waits at most `patience` for a wish and carries it out; false when there was none.
  bool run_next(Agent& agent, Millis patience);
  // For what the agent does by itself: becomes an operation when an execution begins.
  Progress& agent_progress();
  void agent_done();

 private:
  struct Entry;
  std::shared_ptr<Entry> take(Millis patience);
  void change(const std::shared_ptr<Entry>& entry, const std::function<void(Operation&)>& how, bool tell);
  std::shared_ptr<Entry> enter(Operation wish);
  void forget_old();

  Clock& clock_;
  Events& events_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Entry>> all_;      // oldest first
  std::deque<std::shared_ptr<Entry>> waiting_;
  std::map<std::string, std::pair<std::string, std::string>> keys_;  // actor and key → wish, operation
  std::uint64_t next_ = 1;
  std::unique_ptr<Task> own_;
};

// One operation being carried out: its progress is what everybody watches.
class Operations::Task final : public Progress {
 public:
  Task(Operations& operations, std::shared_ptr<Entry> entry) : operations_(operations), entry_(std::move(entry)) {}
  // Asks whoever wished it; false as well when nobody answers in time.
  bool ask(std::string json);

  void stage(std::string_view stage) override;
  void advance(std::uint64_t done, std::uint64_t total) override;
  void finish(const StageRecord& stage) override;
  void note(std::string_view text) override;
  void execution(std::string_view id, const TenantId& tenant) override;

 private:
  friend class Operations;
  Operations& operations_;
  std::shared_ptr<Entry> entry_;  // null: the agent by itself, before an execution
  MonoTime told_{};
};

}  // namespace claw::api
