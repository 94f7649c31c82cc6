// The conformance suite on the broker in memory, which is stricter than life.
#include "testing/conformance.h"
#include "testing/fake_broker.h"

namespace claw::testing {
namespace {

class FakeBench final : public Bench {
 public:
  explicit FakeBench(QueueType type) {
    world_->with([&](FakeWorld& world) { world.queues["q"].type = type; });
  }
  std::unique_ptr<Broker> connect() override { return std::make_unique<FakeBroker>("fake", world_); }
  Claim claim() const override { return {"t", {.broker = "fake", .match = "q", .processing = "", .dead = ""}}; }
  void publish(const std::vector<std::string>& bodies) override {
    world_->with([&](FakeWorld& world) {
      for (const std::string& body : bodies) {
        world.add("q", body);
        Message& message = world.queues["q"].entries.back().message;
        if (world.queues["q"].type == QueueType::list) message.id = "list:" + std::to_string(message.key.high) + "@" + hex16(body);
      }
    });
  }
  std::vector<std::string> ready() override {
    return world_->with([](FakeWorld& world) {
      std::vector<std::string> out;
      for (const FakeWorld::Entry& entry : world.queues["q"].entries) out.push_back(entry.message.fields[0].value);
      return out;
    });
  }
  void consume(const std::string& body) override {
    world_->with([&](FakeWorld& world) { std::erase_if(world.queues["q"].entries, [&](const FakeWorld::Entry& e) { return e.message.fields[0].value == body; }); });
  }
  void lose_quarantine(const std::string&) override {
    world_->with([](FakeWorld& world) { world.queues["q"].quarantine.clear(); });
  }

 private:
  static std::string hex16(const std::string& body) {
    const Field field{"", body};
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(short_digest(std::span(&field, 1))));
    return text;
  }
  std::shared_ptr<Guarded<FakeWorld>> world_ = std::make_shared<Guarded<FakeWorld>>();
};

INSTANTIATE_TEST_SUITE_P(Fake, Conformance, ::testing::Values(bench_of<FakeBench>("stream", QueueType::stream), bench_of<FakeBench>("list", QueueType::list)), bench_name);

}  // namespace
}  // namespace claw::testing
