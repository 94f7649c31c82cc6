// A RabbitMQ queue held, examined and given back, beside the same client consuming it; its poison set aside with a snapshot, beside
// a shovel that moves messages; and a queue of the mission's length looked at and drained within the hold's bound on memory.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/pass.h"
#include "rabbitmq/adapter.h"
#include "rabbitmq/connection.h"
#include "rabbitmq/properties.h"
#include "testing/rabbit_server.h"
#include "vault/vault.h"

namespace claw::bench {
namespace {

using nlohmann::json;
using rabbitmq::Connection;

constexpr int kTurns = 3, kPoisonEvery = 50;
constexpr std::uint16_t kPrefetch = 1'000;

std::unique_ptr<Connection> client(const testing::RabbitServer& server) { return sure(Connection::open(sure(rabbitmq::parse_url(server.url())), "bench", system_clock(), soon())); }

std::unique_ptr<Broker> adapter(const testing::RabbitServer& server) {
  return sure(rabbitmq::open_rabbitmq({.name = "r", .url = server.url(), .management_url = server.management_url()}, system_clock(), soon()));
}

void publish(const testing::RabbitServer& server, const std::string& queue, int count, int poison_every = kPoisonEvery) {
  const auto connection = client(server);
  rabbitmq::Properties properties;
  properties.set(rabbitmq::Property::delivery_mode, "\x02");
  const std::string encoded = properties.encode();
  for (int i = 0; i < count; ++i) {
    const bool poison = i % poison_every == 0;
    const std::string id = poison ? fmt::format(R"(bad_{})", i) : fmt::format(R"("tx_{}")", i);
    const std::string body = fmt::format(R"({{"version":2,"transaction_id":{},"amount":{{"value":{}.{:02},"currency":"EUR"}},"customer":{{"id":"c_{}","country":"DE","segments":["a","b"]}},"items":[{{"sku":"sku-{}","quantity":{}}},{{"sku":"sku-{}","quantity":1}}],"note":""}})",
                                         id, i % 900 + 1, i % 100, i * 7919 % 100'000, i % 512, i % 5 + 1, i * 31 % 512);
    sure(connection->publish(queue, encoded, body, soon()));
  }
  sure(connection->confirmed(soon()));
}

// The answer to a close follows the acknowledgements.
void end(Connection& connection) {
  sure(connection.stop());
  while (sure(connection.next(soon(), soon())).kind != rabbitmq::Event::Kind::stopped) {
  }
  sure(connection.close_channels(soon()));
}

// The same client with the prefetch of a look, bytes discarded, all acknowledged in the end.
Pass taken(const testing::RabbitServer& server, const std::string& queue, int count) {
  const auto connection = client(server);
  Pass pass;
  const MonoTime start = system_clock().mono();
  std::vector<std::uint64_t> last;
  for (int left = count; left > 0;) {
    const int part = std::min(left, 16'384);
    if (last.empty()) sure(connection->consume(queue, static_cast<std::uint16_t>(part), std::nullopt, soon()));
    else sure(connection->consume_more(queue, static_cast<std::uint16_t>(part)));
    last.push_back(0);
    for (int i = 0; i < part; ++i) {
      const auto event = sure(connection->next(soon(), soon()));
      if (event.kind != rabbitmq::Event::Kind::delivery) std::exit(1);
      last.back() = event.delivery.tag;
      ++pass.messages;
    }
    left -= part;
  }
  for (const std::uint64_t tag : last) sure(connection->credit(tag));
  end(*connection);
  pass.seconds = since(start);
  return pass;
}

// As a consumer does it: a small prefetch, acknowledged as it goes.
Pass consumed(const testing::RabbitServer& server, const std::string& queue, int count) {
  const auto connection = client(server);
  Pass pass;
  const MonoTime start = system_clock().mono();
  sure(connection->consume(queue, kPrefetch, std::nullopt, soon()));
  while (pass.messages < static_cast<std::uint64_t>(count)) {
    const auto event = sure(connection->next(soon(), soon()));
    if (event.kind != rabbitmq::Event::Kind::delivery) std::exit(1);
    if (++pass.messages % (kPrefetch / 2) == 0 || pass.messages == static_cast<std::uint64_t>(count)) sure(connection->credit(event.delivery.tag));
  }
  end(*connection);
  pass.seconds = since(start);
  return pass;
}

std::vector<QueueView> views(Broker& broker, const std::string& queue) {
  const std::vector<Claim> claims = {{.tenant = "t", .match = {.broker = "r", .match = queue}}};
  return sure(broker.discover(claims, soon()));
}

// From a plan to the quarantine and everything else back in the queue: snapshot, its copy in the vault, and the removal. `once`: as
// the agent does it by itself, with the hold of its look; else as after an approval, with a hold of its own.
Pass drained(Broker& broker, const QueueView& queue, const std::string& execution, bool once = true) {
  auto window = sure(broker.look(queue, soon()));
  PlannedQueue plan{.queue = queue.id, .type = queue.type, .entries = queue.entries, .quarantine = broker.quarantine_name(queue.id), .messages = {}};
  ContentByKey content;
  std::vector<MessageKey> keep;
  for (Batch page; sure(window->next(page, soon()));)
    for (const Batch::Entry& entry : page.entries()) {
      const auto fields = page.fields(entry);
      if (fields.front().value.find("\"transaction_id\":bad_") == std::string_view::npos) continue;
      plan.messages.push_back({.id = std::to_string(entry.key.high), .key = entry.key, .digest = short_digest(fields)});
      keep.push_back(entry.key);
      for (const Field& f : fields) content[entry.key].fields.push_back({std::string(f.name), std::string(f.value)});
    }
  if (once) sure(window->settle(keep, soon()));
  window.reset();
  std::string dir = "/tmp/claw-bench-XXXXXX";
  if (::mkdtemp(dir.data()) == nullptr) std::exit(1);
  const auto vault = sure(Vault::open(system_disk(), system_random(), dir));
  Pass pass;
  const MonoTime start = system_clock().mono();
  const auto messages = sure(broker.read(plan, plan.messages, content, soon()));
  sure(vault->write(execution, queue.id, messages));
  for (const Removal& removal : sure(broker.remove({.queue = plan, .messages = messages, .execution_id = execution}, soon()))) pass.messages += removal.fate == Fate::removed;
  pass.seconds = since(start);
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  return pass;
}

// Every message of one queue to another, by the broker's own tool.
Pass shovelled(const testing::RabbitServer& server, const std::string& from, const std::string& to, int count) {
  const auto connection = client(server);
  const json shovel = {{"value", {{"src-protocol", "amqp091"}, {"src-uri", server.url()}, {"src-queue", from}, {"src-delete-after", "queue-length"},
                                  {"dest-protocol", "amqp091"}, {"dest-uri", server.url()}, {"dest-queue", to}, {"ack-mode", "on-confirm"}}}};
  Pass pass;
  const MonoTime start = system_clock().mono();
  server.api("PUT", "/parameters/shovel/%2F/move", shovel.dump());
  while (sure(connection->depth(to, soon())).ready < static_cast<std::uint64_t>(count) && since(start) < 300) system_clock().sleep(Millis(5));
  pass = {.messages = sure(connection->depth(to, soon())).ready, .seconds = since(start)};
  return pass;
}

// The most memory the broker had while something ran.
class Watcher {
 public:
  explicit Watcher(const testing::RabbitServer& server)
      : thread_([this, &server] {
          while (!over_) {
            most_ = std::max<std::uint64_t>(most_, server.memory_mib());
            system_clock().sleep(Millis(200));
          }
        }) {}
  ~Watcher() { stop(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  std::uint64_t stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
    return most_;
  }

 private:
  std::atomic<bool> over_ = false;
  std::uint64_t most_ = 0;
  std::thread thread_;
};

struct Options {
  int scanned, moved, whole;
};

json run(const Options& options) {
  const testing::RabbitServer server("rabbitmq_shovel,rabbitmq_shovel_management");
  server.declare("scan");
  Pass raw, acked, looked;
  Observation seen;
  for (int turn = 0; turn < kTurns; ++turn) {
    publish(server, "scan", options.scanned);
    const auto broker = adapter(server);
    faster(looked, examined(*broker, views(*broker, "scan"), seen));
    faster(raw, taken(server, "scan", options.scanned));
    publish(server, "scan", options.scanned);
    faster(acked, consumed(server, "scan", options.scanned));
    fmt::print(stderr, "turn {}: {:.0f} messages/s consumed, {:.0f} with acknowledgements as it goes, {:.0f} examined\n", turn + 1, raw.per_s(), acked.per_s(), looked.per_s());
  }
  const std::size_t findings = seen.findings.size();

  // The same messages, all of them poison: by us with a snapshot, and by a shovel.
  Pass drain, anew, shovel;
  for (int turn = 0; turn < kTurns; ++turn) {
    const std::string queue = fmt::format("drain-{}", turn), from = fmt::format("shovel-{}", turn), to = from + "-to";
    for (const std::string& name : {queue, from, to}) server.declare(name);
    publish(server, queue, options.moved, 1);
    publish(server, from, options.moved, 1);
    const auto broker = adapter(server);
    faster(drain, drained(*broker, views(*broker, queue).front(), fmt::format("bench-{}", turn)));
    const std::string again = queue + "-again";
    server.declare(again);
    publish(server, again, options.moved, 1);
    faster(anew, drained(*broker, views(*broker, again).front(), fmt::format("bench-anew-{}", turn), false));
    for (const std::string& name : {again, again + ".quarantine"}) server.remove_queue(name);
    faster(shovel, shovelled(server, from, to, options.moved));
    fmt::print(stderr, "turn {}: {:.0f} messages/s set aside, {:.0f} with a hold of its own, {:.0f} by shovel\n", turn + 1, drain.per_s(), anew.per_s(), shovel.per_s());
    for (const std::string& name : {queue, queue + ".quarantine", from, to}) server.remove_queue(name);
  }

  server.declare("whole");
  publish(server, "whole", options.whole);
  const auto broker = adapter(server);
  const auto queues = views(*broker, "whole");
  const std::uint64_t before = server.memory_mib();
  Watcher watcher(server);
  const Pass whole = examined(*broker, queues, seen);
  const Pass out = drained(*broker, queues.front(), "bench-whole");
  const std::uint64_t most = watcher.stop();
  const auto round = [](double x) { return std::round(x * 100) / 100; };
  return {{"scan_per_s", std::round(looked.per_s())}, {"raw_consume_per_s", std::round(raw.per_s())}, {"acknowledging_consume_per_s", std::round(acked.per_s())}, {"ratio", round(looked.per_s() / raw.per_s())},
          {"drain_per_s", std::round(drain.per_s())}, {"drain_after_approval_per_s", std::round(anew.per_s())}, {"shovel_per_s", std::round(shovel.per_s())}, {"broker_rss_mib", most},
          {"messages", looked.messages}, {"findings", findings},
          {"whole", {{"messages", whole.messages}, {"caveat", queues.front().look.caveat}, {"scan_s", round(whole.seconds)}, {"drained", out.messages}, {"drain_s", round(out.seconds)}, {"broker_rss_mib_before", before}}}};
}

}  // namespace
}  // namespace claw::bench

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  fmt::print("{}\n", claw::bench::run({.scanned = std::atoi(argv[1]), .moved = std::atoi(argv[2]), .whole = std::atoi(argv[3])}).dump());
  return 0;
}
