// How long one evaluation of a whole fleet takes, and what it holds in memory: 10,000 tenants on one real Redis and one real
// RabbitMQ; and 10,000 and 100,000 tenants on 100 and 1,000 brokers in memory that take a millisecond a call.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/agent.h"
#include "bench/pass.h"
#include "rabbitmq/adapter.h"
#include "redis/adapter.h"
#include "testing/fake_broker.h"
#include "testing/rabbit_server.h"
#include "testing/redis_server.h"

namespace claw::bench {
namespace {

constexpr int kTenants = 10'000, kOnRabbit = 1'000, kBusy = 100, kTurns = 7;

// Resident now, in MiB, after what is free was given back.
double rss_mib() {
  ::malloc_trim(0);
  std::ifstream in("/proc/self/statm");
  std::uint64_t pages = 0;
  in >> pages >> pages;
  return static_cast<double>(pages) * 4096 / (1 << 20);
}

struct Turn {
  double first_ms = 0, median_ms = 0, rss_mib = 0;
};

// A directory of its own, gone with the object.
struct Scratch {
  Scratch() : dir((std::filesystem::temp_directory_path() / "claw-fleet-XXXXXX").string()) {
    if (::mkdtemp(dir.data()) == nullptr) std::exit(1);
  }
  ~Scratch() { std::filesystem::remove_all(dir); }
  std::string dir;
};

// `between` changes the fleet before each turn.
Turn evaluate(const Config& config, const BrokerFactory& open, std::size_t tenants, const std::function<void()>& between) {
  const double before = rss_mib();
  std::size_t seen = 0;
  double most = 0;
  bool weigh = false;  // in a turn of its own: it costs time
  AgentDeps deps{.disk = system_disk(), .clock = system_clock(), .random = system_random(), .open_broker = open,
                 .evaluated = [&](const Topology&, const Health& health) {
                   seen = 0;
                   for (const TenantHealth& t : health.tenants) seen += t.backlog > 0 ? 1 : 0;
                   if (weigh) most = rss_mib();
                 }};
  const auto agent = sure(Agent::open(config, std::move(deps), silent()));
  Turn turn;
  std::vector<double> took;
  for (int i = 0; i < kTurns; ++i) {
    between();
    const MonoTime start = system_clock().mono();
    sure(agent->tick([](std::string_view line) { if (line.find("breach") == std::string_view::npos) fmt::print(stderr, "{}\n", line); }, silent()));
    took.push_back(std::chrono::duration<double, std::milli>(system_clock().mono() - start).count());
    fmt::print(stderr, "{} of {} tenants with messages evaluated in {:.0f} ms\n", seen, tenants, took.back());
  }
  weigh = true;
  sure(agent->tick([](std::string_view) {}, silent()));
  if (seen != tenants) {
    fmt::print(stderr, "{} of {} tenants were seen\n", seen, tenants);
    std::exit(1);
  }
  turn.first_ms = took.front();
  std::sort(took.begin(), took.end());
  turn.median_ms = took[took.size() / 2];
  turn.rss_mib = most - before;
  return turn;
}

Config config_of(const std::string& brokers, const std::string& tenants, const std::string& dir) {
  return sure(parse_config("agent: {data_dir: \"" + dir + "/data\"}\nbrokers:\n" + brokers + tenants, "fleet.yaml"));
}

std::string tenant(int i, const std::string& broker) {
  return fmt::format("  t{}: {{autonomy: observe, queues: [{{broker: {}, match: \"q{}\"}}], sla: {{max_backlog: 1000, max_age: 1h, drain_within: 1h, min_throughput: 1/s}}}}\n", i, broker, i);
}

Turn real_fleet() {
  const Scratch scratch;
  testing::RedisServer redis;
  testing::RabbitServer rabbit;
  const int on_redis = kTenants - kOnRabbit;
  std::vector<std::vector<std::string>> fill;
  for (int i = 0; i < on_redis; ++i) {
    const std::string queue = fmt::format("q{}", i);
    fill.push_back({"XADD", queue, "*", "body", "{}"});
    fill.push_back({"XGROUP", "CREATE", queue, "g", "0"});
  }
  redis.commands(fill);
  for (int i = on_redis; i < kTenants; ++i) rabbit.api("PUT", fmt::format("/queues/%2F/q{}", i), R"({"durable":true})");
  for (int i = on_redis; i < kTenants; ++i)
    rabbit.api("POST", "/exchanges/%2F/amq.default/publish", fmt::format("{{\"properties\":{{}},\"routing_key\":\"q{}\",\"payload\":\"{{}}\",\"payload_encoding\":\"string\"}}", i));
  std::this_thread::sleep_for(Millis(6'000));  // its statistics are up to 5 s old

  std::string tenants = "tenants:\n";
  for (int i = 0; i < kTenants; ++i) tenants += tenant(i, i < on_redis ? "r" : "m");
  const Config config = config_of("  r: {kind: redis, url: \"" + redis.url() + "\"}\n  m: {kind: rabbitmq, url: \"" + rabbit.url() + "\", management_url: \"" + rabbit.management_url() + "\"}\n", tenants, scratch.dir);
  const auto open = [](const BrokerConfig& broker, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
    if (broker.kind == BrokerConfig::Kind::redis) return redis::open_redis({.name = broker.name, .url = broker.url}, system_clock(), deadline);
    return rabbitmq::open_rabbitmq({.name = broker.name, .url = broker.url, .management_url = broker.management_url}, system_clock(), deadline);
  };
  return evaluate(config, open, kTenants, [&] {
    std::vector<std::vector<std::string>> traffic;
    for (int i = 0; i < kBusy; ++i) {
      const std::string queue = fmt::format("q{}", i * 90);
      for (int n = 0; n < 20; ++n) traffic.push_back({"XADD", queue, "*", "body", "{}"});
      traffic.push_back({"XREADGROUP", "GROUP", "g", "c", "COUNT", "5", "STREAMS", queue, ">"});
    }
    redis.commands(traffic);
  });
}

Turn fake_fleet(int tenants, int brokers) {
  const Scratch scratch;
  std::map<BrokerName, std::shared_ptr<Guarded<testing::FakeWorld>>> worlds;
  std::string broker_lines, patterns;
  for (int b = 0; b < brokers; ++b) {
    const std::string name = fmt::format("b{}", b);
    worlds[name] = std::make_shared<Guarded<testing::FakeWorld>>();
    broker_lines += fmt::format("  {}: {{kind: redis, url: \"redis://127.0.0.1:1/0\"}}\n", name);
    patterns += fmt::format("  - {{broker: {}, match: \"q{{tenant}}\", like: p}}\n", name);
  }
  for (int i = 0; i < tenants; ++i) {
    const std::string broker = fmt::format("b{}", i % brokers);
    worlds[broker]->with([&](testing::FakeWorld& world) { world.add(fmt::format("q{}", i), "{}"); });
  }
  const auto open = [&](const BrokerConfig& broker, Deadline) -> Result<std::unique_ptr<Broker>> {
    return std::unique_ptr<Broker>(std::make_unique<testing::FakeBroker>(broker.name, worlds.at(broker.name), [](std::string_view) {
      std::this_thread::sleep_for(Millis(1));
      return Status{};
    }));
  };
  return evaluate(config_of(broker_lines, "profiles:\n  p: {autonomy: observe, sla: {max_backlog: 1000, max_age: 1h, drain_within: 1h, min_throughput: 1/s}}\ntenant_patterns:\n" + patterns, scratch.dir), open, static_cast<std::size_t>(tenants), [] {});
}

int main() {
  const Turn small = fake_fleet(10'000, 100);
  const Turn large = fake_fleet(100'000, 1'000);
  const Turn real = real_fleet();
  fmt::print(R"({{"evaluation_ms_10000":{:.0f},"first_evaluation_ms_10000":{:.0f},"rss_mib":{:.0f},"growth_100000_to_10000":{:.2f},"fake_ms_10000":{:.0f},"fake_ms_100000":{:.0f}}})" "\n",
             real.median_ms, real.first_ms, real.rss_mib, large.median_ms / small.median_ms, small.median_ms, large.median_ms);
  return 0;
}

}  // namespace
}  // namespace claw::bench

int main() { return claw::bench::main(); }
