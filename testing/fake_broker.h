// A broker in memory, stricter than life: it refuses what a real one would let through silently.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "broker/broker.h"

namespace claw::testing {

// What survives a crash of the agent: the queues and their quarantines.
struct FakeWorld {
  struct Entry {
    Message message;
    Evidence evidence;
  };
  struct Quarantine {
    std::string execution_id;
    std::size_t number = 0;
    Message message;
    Evidence evidence;
  };
  struct Queue {
    TenantId tenant;
    QueueType type = QueueType::stream;
    std::vector<GroupView> groups;
    std::vector<ConsumerView> consumers;
    std::deque<Entry> entries;
    std::vector<Quarantine> quarantine;
  };
  std::map<std::string, Queue> queues;
  std::uint64_t next_key = 1;

  // Adds a message with one unnamed field; returns its id.
  std::string add(const std::string& queue, std::string body, const Evidence& evidence = {});
};

// A connection to a world. `before` runs first in every call with its name ("remove"); an error from it is the
// call's answer and nothing happened; `after` likewise when the effect has happened (outcome unknown).
class FakeBroker final : public Broker {
 public:
  using Hook = std::function<Status(std::string_view call)>;
  FakeBroker(BrokerName name, std::shared_ptr<Guarded<FakeWorld>> world, Hook before = {}, Hook after = {})
      : name_(std::move(name)), world_(std::move(world)), before_(std::move(before)), after_(std::move(after)) {}

  Result<Pong> check(Deadline deadline) override;
  Result<std::vector<QueueView>> discover(std::span<const Claim> claims, Deadline deadline) override;
  Result<std::vector<QueueView>> measure(std::span<const QueueView> queues, Deadline deadline) override;
  Result<std::unique_ptr<Window>> look(const QueueView& queue, Deadline deadline) override;
  Result<std::vector<Message>> read(const PlannedQueue& queue, std::span<const PlannedMessage> messages, const ContentByKey&, Deadline deadline) override;
  Result<std::vector<Removal>> remove(const RemoveRequest& request, Deadline deadline) override;
  Result<std::vector<Quarantined>> quarantined(const QueueId& queue, const std::string& quarantine, const std::string& execution_id,
                                               Deadline deadline) override;
  Result<RestoreOutcome> restore(const RestoreRequest& request, Deadline deadline) override;
  Status quarantine_again(const RestoreRequest& request, std::span<const std::size_t> numbers, Deadline deadline) override;
  std::string quarantine_name(const QueueId& queue) const override { return queue.name + ":quarantine"; }

 private:
  Status before(std::string_view call) { return before_ ? before_(call) : Status{}; }
  Status after(std::string_view call) { return after_ ? after_(call) : Status{}; }

  BrokerName name_;
  std::shared_ptr<Guarded<FakeWorld>> world_;
  Hook before_;
  Hook after_;
};

}  // namespace claw::testing
