#include "api/operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace claw::api {
namespace {

using nlohmann::json;

constexpr Millis kTellEvery{250};
constexpr std::size_t kNotes = 100;

json json_of(const Operation& o) {
  json stages = json::array(), notes = json::array();
  for (const StageRecord& s : o.stages)
    stages.push_back({{"stage", s.stage}, {"duration_ms", s.duration.count()}, {"status", std::string(name(s.status))}, {"output", escape(s.output)}});
  for (const std::string& note : o.notes) notes.push_back(escape(note));
  return {{"id", o.id}, {"kind", o.kind}, {"tenant", o.tenant}, {"subject", escape(o.subject)}, {"actor", o.actor}, {"state", o.state},
          {"created", rfc3339(o.created)}, {"ended", o.ended ? json(rfc3339(*o.ended)) : json(nullptr)}, {"execution_id", o.execution_id},
          {"stage", o.stage}, {"done", o.done}, {"total", o.total}, {"stages", stages}, {"notes", notes},
          {"error", o.error ? json{{"code", std::string(name(o.error->code))}, {"op", escape(o.error->op)}, {"detail", escape(o.error->detail)}} : json(nullptr)}};
}

bool ended(const Operation& o) { return o.ended.has_value(); }

}  // namespace

std::string operation_json(const Operation& operation) { return json_of(operation).dump(); }

struct Operations::Entry {
  Operation operation;
  Work work;
  std::string result;
  std::string question;
  std::optional<bool> answer;
};

Operations::Operations(Clock& clock, Events& events) : clock_(clock), events_(events), own_(std::make_unique<Task>(*this, nullptr)) {}
Operations::~Operations() = default;

std::shared_ptr<Operations::Entry> Operations::enter(Operation wish) {
  auto entry = std::make_shared<Entry>();
  wish.id = fmt::format("op-{}", next_++);
  wish.created = clock_.now();
  entry->operation = std::move(wish);
  all_.push_back(entry);
  forget_old();
  return entry;
}

Result<Operation> Operations::submit(Operation wish, Work work, const std::string& key) {
  const std::string words = fmt::format("{}\n{}\n{}", wish.kind, wish.tenant, wish.subject);
  std::shared_ptr<Entry> entry;
  Operation accepted;
  {
    const std::lock_guard lock(mutex_);
    const std::string name = wish.actor + "\n" + key;
    if (const auto known = keys_.find(name); !key.empty() && known != keys_.end()) {
      if (known->second.first != words) return make_error(Code::conflict, "Idempotency-Key", "stood for another request before");
      for (const auto& e : all_)
        if (e->operation.id == known->second.second) return e->operation;
    }
    if (waiting_.size() >= kWaiting) return make_error(Code::throttled, wish.kind, fmt::format("{} requests wait already; try again later", kWaiting));
    wish.state = "queued";
    entry = enter(std::move(wish));
    entry->work = std::move(work);
    waiting_.push_back(entry);
    if (!key.empty()) keys_[name] = {words, entry->operation.id};
    accepted = entry->operation;
  }
  events_.publish("operation", operation_json(accepted));
  changed_.notify_all();
  return accepted;
}

// Ended ones go, oldest first; with them the keys that named them.
void Operations::forget_old() {
  std::size_t results = 0;
  for (auto it = all_.rbegin(); it != all_.rend(); ++it)
    if (!(*it)->result.empty() && ++results > kResults) (*it)->result.clear();
  while (all_.size() > kRemembered + kWaiting && ended(all_.front()->operation)) {
    std::erase_if(keys_, [&](const auto& key) { return key.second.second == all_.front()->operation.id; });
    all_.pop_front();
  }
}

Result<Operation> Operations::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : all_)
    if (entry->operation.id == id) return entry->operation;
  return make_error(Code::not_found, "operation " + id, "no such operation; those that ended long ago are forgotten");
}

std::vector<Operation> Operations::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Operation> out;
  for (auto it = all_.rbegin(); it != all_.rend(); ++it) out.push_back((*it)->operation);
  return out;
}

Result<std::string> Operations::result(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : all_)
    if (entry->operation.id == id && entry->operation.state == "asking") return entry->question;
    else if (entry->operation.id == id && !entry->result.empty()) return entry->result;
  return make_error(Code::not_found, "result of " + id, "there is none, or it was dropped to make room");
}

Status Operations::answer(const std::string& id, bool yes) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(all_.begin(), all_.end(), [&](const auto& e) { return e->operation.id == id; });
    if (it == all_.end() || (*it)->operation.state != "asking") return make_error(Code::conflict, "operation " + id, "asks nothing");
    (*it)->answer = yes;
  }
  changed_.notify_all();
  return {};
}

Status Operations::cancel(const std::string& id) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& e) { return e->operation.id == id; });
    if (it == waiting_.end()) return make_error(Code::conflict, "operation " + id, "does not wait any more; the brake stops what runs");
    entry = *it;
    waiting_.erase(it);
  }
  change(entry, [&](Operation& o) { o.state = "cancelled"; o.ended = clock_.now(); }, true);
  return {};
}

std::shared_ptr<Operations::Entry> Operations::take(Millis patience) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, patience, [&] { return !waiting_.empty(); })) return nullptr;
  auto entry = waiting_.front();
  waiting_.pop_front();
  return entry;
}

bool Operations::run_next(Agent& agent, Millis patience) {
  const auto entry = take(patience);
  if (!entry) return false;
  change(entry, [](Operation& o) { o.state = "running"; }, true);
  Task task(*this, entry);
  Result<std::string> outcome = entry->work(agent, task);
  change(entry, [&](Operation& o) {
    o.state = outcome ? "done" : "failed";
    o.ended = clock_.now();
    o.stage.clear();
    if (outcome) entry->result = std::move(*outcome);
    else o.error = outcome.error();
    entry->work = {};
  }, true);
  return true;
}

Progress& Operations::agent_progress() { return *own_; }

void Operations::agent_done() {
  if (own_->entry_) change(own_->entry_, [&](Operation& o) { o.state = "done"; o.ended = clock_.now(); o.stage.clear(); }, true);
  own_->entry_.reset();
}

void Operations::change(const std::shared_ptr<Entry>& entry, const std::function<void(Operation&)>& how, bool tell) {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    how(entry->operation);
    if (tell) text = operation_json(entry->operation);
  }
  if (tell) events_.publish("operation", std::move(text));
}

bool Operations::Task::ask(std::string question) {
  operations_.change(entry_, [&](Operation& o) { o.state = "asking"; entry_->question = std::move(question); }, true);
  bool yes = false;
  {
    std::unique_lock lock(operations_.mutex_);
    operations_.changed_.wait_for(lock, kAnswerWithin, [&] { return entry_->answer.has_value(); });
    yes = entry_->answer.value_or(false);
  }
  operations_.change(entry_, [](Operation& o) { o.state = "running"; }, true);
  return yes;
}

void Operations::Task::stage(std::string_view stage) {
  if (!entry_) return;
  operations_.change(entry_, [&](Operation& o) { o.stage = stage; o.done = o.total = 0; }, true);
}

void Operations::Task::advance(std::uint64_t done, std::uint64_t total) {
  if (!entry_) return;
  const MonoTime now = operations_.clock_.mono();
  const bool tell = now - told_ >= kTellEvery;
  if (tell) told_ = now;
  operations_.change(entry_, [&](Operation& o) { o.done = done; o.total = total; }, tell);
}

void Operations::Task::finish(const StageRecord& stage) {
  if (!entry_) return;
  operations_.change(entry_, [&](Operation& o) { o.stages.push_back(stage); o.stage.clear(); }, true);
}

void Operations::Task::note(std::string_view text) {
  if (!entry_) return;
  operations_.change(entry_, [&](Operation& o) { if (o.notes.size() < kNotes) o.notes.emplace_back(text); }, true);
}

void Operations::Task::execution(std::string_view id, const TenantId& tenant) {
  if (!entry_ || (this == operations_.own_.get() && !entry_->operation.execution_id.empty())) {
    operations_.agent_done();
    const std::lock_guard lock(operations_.mutex_);
    entry_ = operations_.enter({.id = {}, .kind = "remediate", .tenant = tenant, .subject = {}, .actor = "agent", .state = "running", .created = {}, .ended = {}, .execution_id = {},
                                .stage = {}, .stages = {}, .notes = {}, .error = {}});
  }
  operations_.change(entry_, [&](Operation& o) { o.execution_id = id; o.tenant = tenant; }, true);
}

}  // namespace claw::api
