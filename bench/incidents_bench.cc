// Scripted incidents on a real Redis, all at once, each on a tenant of its own, with an agent that watches and may act: how soon
// each is told, whether anything was done or told that should not have been; beside two baselines on the same samples.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <thread>

#include "agent/agent.h"
#include "bench/pass.h"
#include "policy/alerts.h"
#include "redis/adapter.h"
#include "testing/redis_server.h"

namespace claw::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kBegins = 30;        // s, when everything that goes wrong begins to
constexpr double kEnds = 14 * 60;     // s
constexpr double kRestart = 300, kRestartTakes = 5;
constexpr std::uint64_t kMaxBacklog = 5'000;
constexpr double kStep = 0.25;        // s, of every producer and consumer

// How one tenant's traffic behaves at a second of the script.
struct Behaviour {
  double produced_per_s = 20;
  double consumed_per_s = 40;    // read and acknowledged; 0: nobody is there
  bool polls = true;             // the consumer asks at all
  bool acknowledges = true;
  std::uint64_t reads = 0;       // a read takes so many, whatever is acknowledged; 0: what is consumed
  std::uint64_t burst = 0;       // at kBegins, at once
  double poison = 0;             // share of the produced; the consumer never acknowledges it and gets it again
};
struct Script {
  std::string name;
  bool trouble;                  // it is one
  bool may_act;                  // removing from it is right
  std::function<Behaviour(double s)> behaves;
};

std::vector<Script> scripts() {
  const auto from_then = [](Behaviour before, Behaviour after) { return [=](double s) { return s < kBegins ? before : after; }; };
  const Behaviour well;
  return {{"healthy", false, false, [=](double) { return well; }},
          {"stall", true, false, from_then(well, {.acknowledges = false, .reads = 5})},
          {"slow_leak", true, false, from_then(well, {.produced_per_s = 22, .consumed_per_s = 20})},
          {"self_healing_burst", false, false, from_then({.produced_per_s = 20, .consumed_per_s = 400}, {.produced_per_s = 20, .consumed_per_s = 400, .burst = 30'000})},
          {"dead_consumer", true, false, from_then(well, {.consumed_per_s = 0, .polls = false})},
          {"unacked_hoard", true, false, from_then(well, {.produced_per_s = 20, .consumed_per_s = 4, .reads = 400})},
          {"poison_storm", true, true, from_then(well, {.produced_per_s = 60, .consumed_per_s = 20, .burst = 6'000, .poison = 0.03})}};
}

// One tenant's producer and consumer.
class Traffic {
 public:
  Traffic(testing::RedisServer& server, const Script& script, const std::function<double()>& now, const std::atomic<bool>& stop, const std::atomic<bool>& down)
      : server_(server), script_(script), now_(now), stop_(stop), down_(down), thread_([this] { run(); }) {}
  ~Traffic() { thread_.join(); }

 private:
  void run() {
    double produce = 0, consume = 0;
    bool burst = false;
    for (double next = now_(); !stop_; next += kStep) {
      const Behaviour b = script_.behaves(now_());
      produce += b.produced_per_s * kStep;
      consume = std::min(consume + b.consumed_per_s * kStep, 4 * b.consumed_per_s);
      std::uint64_t count = static_cast<std::uint64_t>(produce);
      produce -= static_cast<double>(count);
      if (b.burst > 0 && !burst) count += b.burst, burst = true;
      if (!down_) {
        add(count, b.poison);
        if (b.polls) take(b, consume);
      }
      const double wait = next + kStep - now_();
      if (wait > 0) std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    }
  }

  void add(std::uint64_t count, double poison) {
    std::vector<std::vector<std::string>> words;
    for (std::uint64_t i = 0; i < count; ++i, ++number_) {
      due_ += poison;
      const bool bad = due_ >= 1;
      if (bad) due_ -= 1;
      words.push_back({"XADD", script_.name, "*", "body", bad ? fmt::format(R"({{"transaction_id": tx{}, "amount": {}}})", number_, number_ % 97) : fmt::format(R"({{"transaction_id": "tx{}", "amount": {}}})", number_, number_ % 97)});
    }
    server_.commands(words);
  }

  void take(const Behaviour& b, double& consume) {
    const auto can = static_cast<std::uint64_t>(consume);
    const std::uint64_t reads = b.reads > 0 ? b.reads : can;
    if (reads == 0) return;
    const std::string got = server_.command({"XREADGROUP", "GROUP", "g", "c1", "COUNT", std::to_string(reads), "STREAMS", script_.name, ">"});
    static const std::regex kEntry(R"((\d+-\d+)\r\n\*2\r\n\$4\r\nbody\r\n\$\d+\r\n([^\r]*)\r\n)");
    for (std::sregex_iterator entry(got.begin(), got.end(), kEntry), end; entry != end; ++entry) {
      const std::string body = (*entry)[2];
      (body.find("\": tx") == std::string::npos ? held_ : poison_).push_back((*entry)[1]);
    }
    if (!b.acknowledges) return;
    std::vector<std::string> words = {"XACK", script_.name, "g"};
    while (consume >= 1 && !held_.empty()) words.push_back(held_.front()), held_.erase(held_.begin()), consume -= 1;
    if (words.size() > 3) server_.command(words);
    // What it could not read it takes again, as a consumer that starts anew does.
    if (poison_.empty() || ++turns_ % 8 != 0) return;
    words = {"XCLAIM", script_.name, "g", "c1", "0"};
    words.insert(words.end(), poison_.begin(), poison_.end());
    server_.command(words);
  }

  testing::RedisServer& server_;
  const Script& script_;
  const std::function<double()>& now_;
  const std::atomic<bool>&stop_, &down_;
  std::vector<std::string> held_, poison_;
  std::uint64_t number_ = 0, turns_ = 0;
  double due_ = 0;
  std::thread thread_;
};

struct Measure {
  double s;
  std::uint64_t backlog, acknowledged;
};

// Backlog above a fixed limit.
bool depth_alert(std::span<const Measure> all) { return all.back().backlog > kMaxBacklog; }

// Burrow's rules over ten samples, ten seconds apart: some lag of the window is zero, all is well; offsets that stand are a
// stall; lag that never shrinks while offsets move is a warning.
bool burrow_alert(std::span<const Measure> all) {
  std::vector<Measure> window;
  for (double at = all.back().s; window.size() < 10; at -= 10) {
    const auto found = std::find_if(all.rbegin(), all.rend(), [&](const Measure& m) { return m.s <= at; });
    if (found == all.rend()) return false;
    window.insert(window.begin(), *found);
  }
  if (std::any_of(window.begin(), window.end(), [](const Measure& m) { return m.backlog == 0; })) return false;
  if (window.front().acknowledged == window.back().acknowledged) return true;
  return std::is_sorted(window.begin(), window.end(), [](const Measure& a, const Measure& b) { return a.backlog < b.backlog; });
}

struct Told {
  std::optional<double> first;
  std::string what;
  bool page = false;
};

int main() {
  const std::vector<Script> all = scripts();
  const std::string dir = (std::filesystem::temp_directory_path() / fmt::format("claw-incidents-{}", ::getpid())).string();
  std::filesystem::create_directory(dir);
  testing::RedisServer redis({"--appendonly", "yes", "--appendfsync", "everysec"});
  std::string tenants;
  for (const Script& script : all) {
    redis.command({"XGROUP", "CREATE", script.name, "g", "0", "MKSTREAM"});
    tenants += fmt::format("  {}: {{tier: critical, autonomy: act, skill: aggressive-drain, queues: [{{broker: r, match: {}}}], sla: {{max_backlog: {}}}}}\n", script.name, script.name, kMaxBacklog);
  }
  const Config config = sure(parse_config("agent: {data_dir: \"" + dir + "/data\"}\nbrokers: {r: {kind: redis, url: \"" + redis.url() + "\"}}\ntenants:\n" + tenants, "incidents.yaml"));

  const MonoTime start = system_clock().mono();
  const std::function<double()> now = [start] { return std::chrono::duration<double>(system_clock().mono() - start).count(); };
  std::map<std::string, std::vector<Measure>> measured;
  std::map<std::string, Told> ours, depth, burrow;
  int out_of_order = 0;
  Alerts pager;
  AgentDeps deps{.disk = system_disk(), .clock = system_clock(), .random = system_random(),
                 .open_broker = [](const BrokerConfig& broker, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
                   return redis::open_redis({.name = broker.name, .url = broker.url}, system_clock(), deadline);
                 },
                 .evaluated = [&](const Topology& topology, const Health& health) {
                   const double s = now();
                   for (const TenantTopology& t : topology.tenants)
                     for (const QueueView& q : t.queues) {
                       std::vector<Measure>& m = measured[t.tenant.id];
                       m.push_back({s, q.backlog, q.groups.empty() ? 0 : q.groups[0].acknowledged});
                       if (depth_alert(m) && !depth[t.tenant.id].first) depth[t.tenant.id].first = s;
                       if (burrow_alert(m) && !burrow[t.tenant.id].first) burrow[t.tenant.id].first = s;
                     }
                   std::int64_t before = INT64_MAX;
                   for (const TenantHealth& t : health.tenants) {
                     out_of_order += t.severity_bps > before ? 1 : 0;
                     before = t.severity_bps;
                     Told& told = ours[t.id];
                     if (told.first) continue;
                     if (!t.symptoms.empty()) told = {.first = s, .what = std::string(name(t.symptoms[0].kind))};
                   }
                   for (const Alert& alert : pager.update(health.tenants, {}, {}, system_clock().now()).opened) {
                     Told& told = ours[alert.tenant];
                     told.page = true;
                     if (!told.first) told.first = s, told.what = alert.details.front().substr(0, alert.details.front().find(' '));
                   }
                 }};
  const auto agent = sure(Agent::open(config, std::move(deps), silent()));

  std::atomic<bool> stop = false, down = false;
  std::map<std::string, int> actions;
  {
    std::vector<std::unique_ptr<Traffic>> traffic;
    for (const Script& script : all) traffic.push_back(std::make_unique<Traffic>(redis, script, now, stop, down));
    std::thread restart([&] {
      while (now() < kRestart) std::this_thread::sleep_for(Millis(50));
      down = true;
      redis.kill();
      std::this_thread::sleep_for(std::chrono::duration<double>(kRestartTakes));
      redis.start();
      down = false;
    });
    const auto event = [&](std::string_view line) { fmt::print(stderr, "{:6.1f} s  {}\n", now(), line); };
    while (now() < kEnds) {
      const auto done = agent->tick(event, silent());
      if (!done) event(done.error().message());
      else
        for (const ExecutionRecord& record : *done)
          if (record.record.messages_removed > 0) ++actions[record.tenant];
      std::this_thread::sleep_for(Millis(1'000));
    }
    stop = true;
    restart.join();
  }

  const auto after = [](const std::optional<double>& s) { return s ? Json(std::round((*s - kBegins) * 10) / 10) : Json(nullptr); };
  Json incidents = Json::array();
  int false_actions = 0, false_alarms = 0, false_pages = 0, false_depth = 0, false_burrow = 0, missed = 0, missed_depth = 0, missed_burrow = 0;
  for (const Script& script : all) {
    const Told& told = ours[script.name];
    if (!script.may_act) false_actions += actions[script.name];
    (script.trouble ? missed : false_alarms) += script.trouble != told.first.has_value() ? 1 : 0;
    false_pages += !script.trouble && told.page ? 1 : 0;
    (script.trouble ? missed_depth : false_depth) += script.trouble != depth[script.name].first.has_value() ? 1 : 0;
    (script.trouble ? missed_burrow : false_burrow) += script.trouble != burrow[script.name].first.has_value() ? 1 : 0;
    incidents.push_back({{"name", script.name}, {"is_trouble", script.trouble}, {"told_after_s", after(told.first)}, {"as", told.what}, {"paged", told.page}, {"actions", actions[script.name]},
                         {"depth_alert_after_s", after(depth[script.name].first)}, {"burrow_after_s", after(burrow[script.name].first)}});
  }
  const Json results = {{"incidents", incidents}, {"broker_restart", {{"at_s", kRestart}, {"took_s", kRestartTakes}}}, {"false_actions", false_actions}, {"false_alarms", false_alarms}, {"false_pages", false_pages}, {"missed", missed},
                        {"severity_out_of_order", out_of_order},
                        {"baselines", {{"depth", {{"false_alarms", false_depth}, {"missed", missed_depth}}}, {"burrow", {{"false_alarms", false_burrow}, {"missed", missed_burrow}}}}}};
  fmt::print("{}\n", results.dump());
  std::filesystem::remove_all(dir);
  return 0;
}

}  // namespace
}  // namespace claw::bench

int main() { return claw::bench::main(); }
