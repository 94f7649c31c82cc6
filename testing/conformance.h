// What every broker must do, in one suite that is steered by what the broker promises. A program that includes this and
// has an implementation of Bench registers it with
//
//   INSTANTIATE_TEST_SUITE_P(Redis, Conformance, ::testing::Values(bench_of<RedisStreamBench>("stream")), bench_name);
//
// and links claw_testing, which holds the tests.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace claw::testing {

// One empty queue on one broker, and a view of it that does not go through the adapter under test.
class Bench {
 public:
  virtual ~Bench() = default;
  // A fresh connection each time.
  virtual std::unique_ptr<Broker> connect() = 0;
  virtual Claim claim() const = 0;  // matches the queue and nothing else
  // Publishes in this order.
  virtual void publish(const std::vector<std::string>& bodies) = 0;
  // The bodies of the ready messages, in the order in which consumers would get them.
  virtual std::vector<std::string> ready() = 0;
  // Takes one message as a consumer does, and is done with it.
  virtual void consume(const std::string& body) = 0;
  // Whether restore() in exact order gives back the old order on a queue that nobody touches.
  virtual bool restores_order() const { return true; }
  // Whether quarantine_again() works.
  virtual bool refills_quarantine() const { return true; }
  // Deletes the whole quarantine behind the adapter's back.
  virtual void lose_quarantine(const std::string& quarantine) = 0;
};

struct BenchMaker {
  std::string name;
  std::function<std::unique_ptr<Bench>()> make;
};
template <class B, class... Args>
BenchMaker bench_of(std::string name, Args... args) {
  return {std::move(name), [args...] { return std::unique_ptr<Bench>(std::make_unique<B>(args...)); }};
}
// Whoever names its benches by it takes the suite along: a linker drops what nobody refers to.
std::string bench_name(const ::testing::TestParamInfo<BenchMaker>& info);

class Conformance : public ::testing::TestWithParam<BenchMaker> {
 protected:
  void SetUp() override;

  QueueView view();
  // Looks at all, plans those whose number is in `chosen` (their place in the look), reads and keeps them.
  void plan(const std::set<std::size_t>& chosen);
  std::vector<Removal> remove(std::size_t first, std::size_t count);
  RestoreRequest restoring(RestoreOrder wanted = RestoreOrder::exact) const;

  std::unique_ptr<Bench> bench_;
  std::unique_ptr<Broker> broker_;
  PlannedQueue planned_;
  std::vector<Message> messages_;
};

}  // namespace claw::testing
