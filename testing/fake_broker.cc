#include "testing/fake_broker.h"

#include <algorithm>

#include "broker/claims.h"

namespace claw::testing {
namespace {

QueueView view_of(const BrokerName& broker, const std::string& name, const FakeWorld::Queue& queue) {
  QueueView view;
  view.id = {broker, name};
  view.tenant = queue.tenant;
  view.type = queue.type;
  view.entries = view.backlog = queue.entries.size();
  view.groups = queue.groups;
  view.consumers = queue.consumers;
  for (const GroupView& group : queue.groups) view.held += group.pending;
  return view;
}

// Hands out a copy in pages of 100, so that page borders are crossed in small tests.
class FakeWindow final : public Window {
 public:
  explicit FakeWindow(std::deque<FakeWorld::Entry> entries) : entries_(std::move(entries)) {}
  Result<bool> next(Batch& page, Deadline) override {
    page.clear();
    if (at_ == entries_.size()) return false;
    RawBytes buffer;
    const std::size_t end = std::min(entries_.size(), at_ + 100);
    std::size_t bytes = 0;
    for (std::size_t i = at_; i < end; ++i)
      for (const OwnedField& field : entries_[i].message.fields) bytes += field.name.size() + field.value.size();
    buffer.reserve(bytes + Batch::kPadding);
    const auto put = [&buffer](const std::string& text) {
      const char* start = buffer.data() + buffer.size();
      buffer.insert(buffer.end(), text.begin(), text.end());
      return std::string_view(start, text.size());
    };
    for (; at_ < end; ++at_) {
      std::vector<Field> fields;
      for (const OwnedField& field : entries_[at_].message.fields) fields.push_back({put(field.name), put(field.value)});
      page.add(entries_[at_].message.key, fields, entries_[at_].evidence);
    }
    buffer.resize(buffer.size() + Batch::kPadding);
    page.adopt(std::move(buffer));
    return true;
  }

 private:
  std::deque<FakeWorld::Entry> entries_;
  std::size_t at_ = 0;
};

Error no_queue(const std::string& name) { return make_error(Code::not_found, "fake " + name, "no such queue"); }

}  // namespace

std::string FakeWorld::add(const std::string& queue, std::string body, const Evidence& evidence) {
  Message message;
  message.key = {next_key, 0};
  message.id = std::to_string(next_key++) + "-0";
  message.fields = {{"", std::move(body)}};
  queues[queue].entries.push_back({message, evidence});
  return message.id;
}

Result<Pong> FakeBroker::check(Deadline) {
  CLAW_TRY(before("check"));
  return Pong{.server = "fake 1", .round_trip = Millis(0), .warnings = {}};
}

Result<std::vector<QueueView>> FakeBroker::discover(std::span<const Claim> claims, Deadline) {
  CLAW_TRY(before("discover"));
  return world_->with([&](FakeWorld& world) -> Result<std::vector<QueueView>> {
    const Claims index(name_, claims);
    std::vector<QueueView> views;
    for (auto& [name, queue] : world.queues) {
      CLAW_TRY_ASSIGN(const std::optional<Owner> owner, index.owner_of(name));
      queue.tenant = owner ? owner->tenant : TenantId();
      if (owner) views.push_back(view_of(name_, name, queue));
    }
    return views;
  });
}

Result<std::vector<QueueView>> FakeBroker::measure(std::span<const QueueView> queues, Deadline) {
  CLAW_TRY(before("measure"));
  return world_->with([&](FakeWorld& world) -> Result<std::vector<QueueView>> {
    std::vector<QueueView> views;
    for (const QueueView& known : queues) {
      const auto found = world.queues.find(known.id.name);
      views.push_back(found == world.queues.end() ? QueueView{.id = known.id, .tenant = known.tenant} : view_of(name_, found->first, found->second));
    }
    return views;
  });
}

Result<std::unique_ptr<Window>> FakeBroker::look(const QueueView& queue, Deadline) {
  CLAW_TRY(before("look"));
  return world_->with([&](FakeWorld& world) -> Result<std::unique_ptr<Window>> {
    const auto found = world.queues.find(queue.id.name);
    if (found == world.queues.end()) return no_queue(queue.id.name);
    return std::unique_ptr<Window>(std::make_unique<FakeWindow>(found->second.entries));
  });
}

Result<std::vector<Message>> FakeBroker::read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey&, Deadline) {
  CLAW_TRY(before("read"));
  return world_->with([&](FakeWorld& world) -> Result<std::vector<Message>> {
    const auto found = world.queues.find(queue.queue.name);
    if (found == world.queues.end()) return no_queue(queue.queue.name);
    std::map<std::string_view, const Message*> by_id;
    for (const FakeWorld::Entry& entry : found->second.entries) by_id.emplace(entry.message.id, &entry.message);
    std::vector<Message> out;
    for (const PlannedMessage& planned : messages) {
      const auto hit = by_id.find(planned.id);
      if (hit != by_id.end()) out.push_back(*hit->second);
      else out.push_back({.id = planned.id, .key = planned.key, .fields = {}, .groups = {}});
    }
    return out;
  });
}

Result<std::vector<Removal>> FakeBroker::remove(const RemoveRequest& request, Deadline) {
  CLAW_TRY(before("remove"));
  auto removals = world_->with([&](FakeWorld& world) -> Result<std::vector<Removal>> {
    const auto found = world.queues.find(request.queue.queue.name);
    if (found == world.queues.end()) return no_queue(request.queue.queue.name);
    FakeWorld::Queue& queue = found->second;
    std::vector<Removal> out;
    for (std::size_t i = 0; i < request.messages.size(); ++i) {
      const Message& message = request.messages[i];
      const std::size_t number = request.first_number + i;
      const auto earlier = std::find_if(queue.quarantine.begin(), queue.quarantine.end(), [&](const FakeWorld::Quarantine& q) {
        return q.execution_id == request.execution_id && q.number == number;
      });
      const auto entry = std::find_if(queue.entries.begin(), queue.entries.end(),
                                      [&](const FakeWorld::Entry& e) { return e.message.id == message.id; });
      Removal removal{.index = i, .fate = Fate::gone, .groups = {}};
      if (earlier != queue.quarantine.end()) {
        removal.fate = Fate::removed;
      } else if (entry != queue.entries.end()) {
        CLAW_CHECK(entry->message.fields == message.fields);  // remove what was seen, nothing else
        queue.quarantine.push_back({request.execution_id, number, entry->message, entry->evidence});
        queue.entries.erase(entry);
        removal.fate = Fate::removed;
      }
      out.push_back(removal);
    }
    return out;
  });
  CLAW_TRY(after("remove"));
  return removals;
}

Result<std::vector<Quarantined>> FakeBroker::quarantined(const QueueId& queue, const std::string&, const std::string& execution_id, Deadline) {
  CLAW_TRY(before("quarantined"));
  return world_->with([&](FakeWorld& world) -> Result<std::vector<Quarantined>> {
    std::vector<Quarantined> out;
    for (const FakeWorld::Quarantine& q : world.queues[queue.name].quarantine)
      if (q.execution_id == execution_id) out.push_back({.number = q.number, .quarantine_id = std::to_string(q.number), .message = q.message});
    std::sort(out.begin(), out.end(), [](const Quarantined& a, const Quarantined& b) { return a.number < b.number; });
    return out;
  });
}

// One message at a time, and asks before each: whoever calls must be able to stop anywhere.
Result<RestoreOutcome> FakeBroker::restore(const RestoreRequest& request, Deadline) {
  CLAW_TRY(before("restore"));
  RestoreOutcome out;
  for (std::size_t number = 0; number < request.messages.size(); ++number) {
    const auto token = [&](FakeWorld::Queue& queue) {
      return std::find_if(queue.quarantine.begin(), queue.quarantine.end(), [&](const FakeWorld::Quarantine& q) {
        return q.execution_id == request.execution_id && q.number == number && q.message.fields == request.messages[number].fields;
      });
    };
    const bool there = world_->with([&](FakeWorld& world) { return token(world.queues[request.queue.name]) != world.queues[request.queue.name].quarantine.end(); });
    if (!there) {
      out.already_present += request.messages[number].fields.empty() ? 0 : 1;
      continue;
    }
    if (request.before) CLAW_TRY(request.before("put back"));
    world_->with([&](FakeWorld& world) {
      FakeWorld::Queue& queue = world.queues[request.queue.name];
      const auto found = token(queue);
      FakeWorld::Entry entry{found->message, found->evidence};
      queue.quarantine.erase(found);
      if (request.wanted == RestoreOrder::tail) entry.message.key = {world.next_key++, 0};
      const auto place = std::lower_bound(queue.entries.begin(), queue.entries.end(), entry.message.key,
                                          [](const FakeWorld::Entry& e, const MessageKey& key) { return e.message.key < key; });
      queue.entries.insert(place, std::move(entry));
    });
    ++out.restored;
  }
  world_->with([&](FakeWorld& world) {
    for (const FakeWorld::Quarantine& q : world.queues[request.queue.name].quarantine) out.foreign += q.execution_id == request.execution_id ? 1 : 0;
  });
  out.in_place = request.wanted == RestoreOrder::exact ? out.restored : 0;
  out.achieved = out.restored > 0 && out.in_place == out.restored ? RestoreOrder::exact : RestoreOrder::tail;
  if (out.achieved == RestoreOrder::tail) out.why_not_exact = out.restored == 0 ? "nothing was in quarantine" : "order tail was asked for";
  CLAW_TRY(after("restore"));
  return out;
}

Status FakeBroker::quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline) {
  CLAW_TRY(before("quarantine_again"));
  world_->with([&](FakeWorld& world) {
    FakeWorld::Queue& queue = world.queues[request.queue.name];
    for (const std::size_t number : numbers) {
      const Message& message = request.messages[number];
      // Whoever asks for a message that is still somewhere would double it.
      CLAW_CHECK(std::none_of(queue.entries.begin(), queue.entries.end(), [&](const FakeWorld::Entry& e) { return e.message.id == message.id; }));
      CLAW_CHECK(std::none_of(queue.quarantine.begin(), queue.quarantine.end(), [&](const FakeWorld::Quarantine& q) { return q.execution_id == request.execution_id && q.number == number; }));
      queue.quarantine.push_back({request.execution_id, number, message, {}});
    }
  });
  return after("quarantine_again");
}

}  // namespace claw::testing
