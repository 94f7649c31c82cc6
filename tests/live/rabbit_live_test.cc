// A RabbitMQ tenant from the first look to an empty bill: producers and consumers in another language work all the while. Nothing but
// what RabbitMQ itself shows tells the agent what is poison: refusals, dead letters, and what left between two looks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "agent/agent.h"
#include "rabbitmq/adapter.h"
#include "rabbitmq/connection.h"
#include "rabbitmq/message.h"
#include "rabbitmq/properties.h"
#include "testing/rabbit_server.h"
#include "testing/traffic.h"

namespace claw {
namespace {

using rabbitmq::Connection;
using rabbitmq::Properties;
using rabbitmq::Property;

testing::RabbitServer& server() {
  static testing::RabbitServer one;
  return one;
}
Deadline soon() { return Deadline::in(system_clock(), Millis(60'000)); }

// Messages that wait at the start; CLAW_RABBIT_MESSAGES for more than a test can wait for.
int backlog() {
  const char* set = std::getenv("CLAW_RABBIT_MESSAGES");
  return set == nullptr ? 4'000 : std::atoi(set);
}

bool is_poison(int number) { return number % 50 == 7; }
std::string body(int i) { return (is_poison(i) ? R"({"v":1,"transaction_id": broken_)" : R"({"v":1,"transaction_id":"ok_)") + std::to_string(i) + "\"}"; }
int number_of(std::string_view text) {
  const std::size_t at = text.rfind('_');
  return at == std::string_view::npos ? -1 : std::atoi(std::string(text.substr(at + 1)).c_str());
}

std::unique_ptr<Connection> client() {
  auto connection = Connection::open(*rabbitmq::parse_url(server().url()), "test", system_clock(), soon());
  EXPECT_TRUE(connection.ok()) << connection.error().message();
  return std::move(*connection);
}

struct Got {
  int number;
  std::uint32_t delivery_count;
};
// Takes everything out: the oracle.
std::vector<Got> drain(const std::string& queue) {
  const auto connection = client();
  std::vector<Got> out;
  for (;;) {
    const auto depth = connection->depth(queue, soon());
    if (!depth.ok() || depth->ready == 0) return out;
    std::vector<std::uint64_t> tags;
    EXPECT_TRUE(connection->consume(queue, 50'000, std::nullopt, soon()).ok());
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(depth->ready, 50'000); ++i) {
      const auto event = connection->next(soon(), soon());
      if (!event.ok() || event->kind != rabbitmq::Event::Kind::delivery) break;
      const auto seen = rabbitmq::see(event->delivery, queue);
      out.push_back({number_of(event->delivery.body), seen.ok() ? seen->delivery_count : 0});
      tags.push_back(event->delivery.tag);
    }
    EXPECT_TRUE(connection->stop().ok());
    while (connection->next(soon(), soon())->kind == rabbitmq::Event::Kind::delivery) {
    }
    EXPECT_TRUE(connection->acknowledge(tags, soon()).ok());
  }
}

constexpr std::size_t kPrefetch = 100;  // of the consumer

// Length of the longest increasing subsequence: all others are out of order.
std::size_t longest_rise(const std::vector<int>& numbers) {
  std::vector<int> ends;
  for (const int n : numbers) {
    const auto at = std::lower_bound(ends.begin(), ends.end(), n);
    if (at == ends.end()) ends.push_back(n);
    else *at = n;
  }
  return ends.size();
}

struct Kind {
  const char* name;
  const char* arguments;  // besides the dead-letter exchange
  int priorities;
  const char* refuses;    // what the consumer does with what it cannot read
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

struct Loud final : Progress {
  void stage(std::string_view) override {}
  void advance(std::uint64_t, std::uint64_t) override {}
  void finish(const StageRecord&) override {}
  void note(std::string_view text) override { std::printf("note: %.*s\n", static_cast<int>(text.size()), text.data()); }
};

class RabbitLive : public ::testing::TestWithParam<Kind> {};

TEST_P(RabbitLive, every_message_is_in_one_place_and_all_that_was_taken_is_poison) {
  const Kind& kind = GetParam();
  const std::string queue = std::string("orders.") + kind.name, dead = queue + ".dead", quarantine_of = queue + ".quarantine", dir = server().dir() + "/" + kind.name;
  const std::string extra = kind.arguments;
  server().declare(dead);
  server().declare(queue, R"({"x-dead-letter-exchange":"","x-dead-letter-routing-key":")" + dead + "\"" + (extra.empty() ? "" : "," + extra) + "}");
  const int waiting = backlog();
  {
    const auto connection = client();
    for (int i = 0; i < waiting; ++i) {
      Properties properties;
      const std::string id = rabbitmq::wire_short("m-" + std::to_string(i)), priority(1, static_cast<char>(kind.priorities > 0 ? i % kind.priorities : 0));
      properties.set(Property::delivery_mode, "\x02");
      properties.set(Property::message_id, id);
      if (kind.priorities > 0) properties.set(Property::priority, priority);
      ASSERT_TRUE(connection->publish(queue, properties.encode(), body(i), soon()).ok());
    }
    ASSERT_TRUE(connection->confirmed(soon()).ok());
  }
  ASSERT_EQ(::mkdir(dir.c_str(), 0700), 0);
  const int rate = std::max(200, waiting / 60);
  const std::string script = "rabbit_traffic.py", port = std::to_string(server().port());
  testing::Traffic producer({script, port, "produce", queue, dir + "/produced", std::to_string(waiting), "200", std::to_string(kind.priorities)});
  testing::Traffic consumer({script, port, "consume", queue, dir + "/consumed", std::to_string(rate), kind.refuses});

  const std::string text = "agent: {data_dir: \"" + dir + "/data\"}\nbrokers: {rabbit: {kind: rabbitmq, url: \"" + server().url() + "\", management_url: \"" + server().management_url() + "\"}}\n" +
                           "tenants: {t: {tier: critical, queues: [{broker: rabbit, match: " + queue + "}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
  Result<Config> config = parse_config(text, "test.yaml");
  ASSERT_TRUE(config.ok()) << config.error().message();
  const AgentDeps deps{.disk = system_disk(), .clock = system_clock(), .random = system_random(), .open_broker = [](const BrokerConfig& b, Deadline deadline) {
                         return rabbitmq::open_rabbitmq({.name = b.name, .url = b.url, .management_url = b.management_url, .state_dir = b.state_dir, .disk = &system_disk()}, system_clock(), deadline);
                       }};
  auto agent = Agent::open(*config, deps, silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();

  // Until it is sure: what left between looks, while what is poison stayed or was refused.
  const MonoTime start = system_clock().mono();
  std::uint32_t looks = 0;
  Loud loud;
  std::string said;
  for (double sure = 0; sure < 0.95; ++looks) {
    ASSERT_LT(looks, 20u) << said;
    if (looks > 0) system_clock().sleep(Millis(2'500));
    const auto seen = (*agent)->detect_poison_messages({.tenant = "t", .queue = {}}, loud);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    for (const Finding& f : seen->findings) {
      sure = std::max(sure, f.lower_bound);
      said = f.explanation;
    }
    if (std::getenv("CLAW_RABBIT_MESSAGES") != nullptr) std::printf("look %u after %lld ms: %llu seen, at least %.2f. %s\n", looks, static_cast<long long>(elapsed(start, system_clock().mono()).count()), static_cast<unsigned long long>(seen->messages_seen), sure, said.c_str());
  }
  const Millis until_sure = elapsed(start, system_clock().mono());
  std::uint64_t removed = 0;
  producer.stop();
  for (int round = 0; round < 10; ++round) {
    ++looks;
    const auto done = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(done.ok()) << done.error().message();
    ASSERT_EQ(done->state, "completed") << done->reason;
    removed += done->record.messages_removed;
    const auto depth = client()->depth(queue, soon());
    if (done->record.messages_removed == 0 && depth.ok() && depth->ready <= 50'000) break;  // longer than one hold: consumers move it forward
    system_clock().sleep(Millis(500));
  }
  consumer.stop();
  std::printf("%s: %d messages waiting, sure after %u looks in %lld ms, %llu removed\n", kind.name, waiting, looks, static_cast<long long>(until_sure.count()), static_cast<unsigned long long>(removed));
  EXPECT_GT(removed, 0u);

  std::multiset<int> produced, placed;
  for (int i = 0; i < waiting; ++i) produced.insert(i);
  for (std::ifstream in(dir + "/produced"); int i : std::vector<int>(std::istream_iterator<int>(in), {})) produced.insert(i);
  std::set<int> refused;
  {
    std::ifstream in(dir + "/consumed");
    std::string what;
    for (int i = 0; in >> what >> i;) {
      if (what == "a") placed.insert(i);
      else refused.insert(i);
      EXPECT_EQ(what == "r", is_poison(i));
    }
  }
  std::vector<int> left;
  std::uint32_t most_deliveries = 0;
  std::size_t poison_left = 0;
  for (const Got& got : drain(queue)) {
    placed.insert(got.number);
    left.push_back(got.number);
    poison_left += is_poison(got.number);
    if (!is_poison(got.number)) most_deliveries = std::max(most_deliveries, got.delivery_count);
  }
  for (const Got& got : drain(dead)) {
    placed.insert(got.number);
    EXPECT_TRUE(refused.contains(got.number)) << got.number << " was dead-lettered, and no consumer refused it";
  }
  std::size_t quarantined = 0;
  for (const Got& got : drain(quarantine_of)) {
    placed.insert(got.number);
    ++quarantined;
    EXPECT_TRUE(is_poison(got.number)) << got.number << " is valid, and was taken out";
  }
  EXPECT_EQ(quarantined, removed);
  EXPECT_EQ(placed, produced) << "lost or doubled";
  EXPECT_LE(poison_left, kPrefetch) << "what the consumer held while we looked";
  // Every look and every removal is one delivery, and so is one that the consumer had in its hands when it stopped.
  EXPECT_LE(most_deliveries, 2 * looks + 2);
  if (kind.priorities == 0) {
    std::erase_if(left, [](int i) { return is_poison(i); });
    // A quorum queue puts what a consumer gives back when it stops behind everything; its channel held up to 32 more than the prefetch.
    const std::size_t out_of_order = left.size() - longest_rise(left);
    EXPECT_LE(out_of_order, extra.find("quorum") == std::string::npos ? 0u : kPrefetch + 40) << "the order of what stayed";
    if (out_of_order > 0) std::printf("%s: %zu of %zu out of order\n", kind.name, out_of_order, left.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RabbitLive,
                         ::testing::Values(Kind{"classic1", R"("x-queue-version":1)", 0, "reject"}, Kind{"classic2", R"("x-queue-version":2)", 0, "reject"},
                                           Kind{"lazy", R"("x-queue-mode":"lazy")", 0, "reject"}, Kind{"quorum", R"("x-queue-type":"quorum")", 0, "reject"},
                                           Kind{"limited", R"("x-queue-type":"quorum","x-delivery-limit":60)", 0, "reject"}, Kind{"priority", R"("x-max-priority":3)", 3, "reject"}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace claw
