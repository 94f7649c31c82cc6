// An SQS queue received, examined and released, beside the same client doing the same without looking at a message.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "bench/pass.h"
#include "sqs/adapter.h"
#include "testing/sqs_server.h"

namespace claw::bench {
namespace {

constexpr int kTurns = 3, kPoisonEvery = 50;

std::string variable(const char* name) {
  return std::string_view(name) == "AWS_ACCESS_KEY_ID" ? "AKIDTEST" : std::string_view(name) == "AWS_SECRET_ACCESS_KEY" ? "test-secret" : "";
}

// A broker that has nothing left from an earlier look.
std::unique_ptr<Broker> connect(const testing::SqsServer& server) {
  return sure(sqs::open_sqs({.name = "q", .region = "us-east-1", .endpoint_url = server.url(), .hold = std::chrono::minutes(5), .environment = variable}, system_disk(), system_clock(), system_random(), soon()));
}

std::vector<QueueView> queues_of(Broker& broker) {
  const std::vector<Claim> claims = {{.tenant = "t", .match = {.broker = "q", .match = "orders"}}};
  return sure(broker.discover(claims, soon()));
}

Pass raw(Broker& broker, const QueueView& queue) {
  Pass pass;
  const MonoTime start = system_clock().mono();
  auto window = sure(broker.look(queue, soon()));
  for (Batch page; sure(window->next(page, soon()));) pass.messages += page.entries().size();
  sure(window->settle({}, soon()));
  pass.seconds = since(start);
  return pass;
}

// The poison of one look goes to quarantine.
Pass drained(Broker& broker, const QueueView& queue) {
  auto window = sure(broker.look(queue, soon()));
  PlannedQueue plan{.queue = queue.id, .type = queue.type, .entries = queue.entries, .quarantine = broker.quarantine_name(queue.id), .messages = {}};
  std::vector<MessageKey> keep;
  for (Batch page; sure(window->next(page, soon()));)
    for (const Batch::Entry& entry : page.entries()) {
      if (page.fields(entry).front().value.find("\"transaction_id\": ") == std::string_view::npos) continue;
      plan.messages.push_back({.id = uuid_text(entry.key), .key = entry.key, .digest = short_digest(page.fields(entry))});
      keep.push_back(entry.key);
    }
  sure(window->settle(keep, soon()));
  const auto messages = sure(broker.read(plan, plan.messages, {}, soon()));
  Pass pass;
  const MonoTime start = system_clock().mono();
  for (const Removal& removal : sure(broker.remove({.queue = plan, .messages = messages, .execution_id = "bench"}, soon()))) pass.messages += removal.fate == Fate::removed;
  pass.seconds = since(start);
  return pass;
}

int run(int count) {
  const testing::SqsServer server;
  server.stage(nlohmann::json{{"queue", "orders"}, {"generate", {{"count", count}, {"poison_every", kPoisonEvery}, {"receives", 3}}}}.dump());
  Pass plain, looked;
  Observation seen;
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto broker = connect(server);
    const auto queues = queues_of(*broker);
    faster(plain, raw(*broker, queues.front()));
    faster(looked, examined(*broker, queues, seen));
    fmt::print(stderr, "turn {}: {:.0f} messages/s raw, {:.0f} examined\n", turn + 1, plain.per_s(), looked.per_s());
  }
  const auto broker = connect(server);
  const Pass removed = drained(*broker, queues_of(*broker).front());
  const auto whole = [](double x) { return std::round(x); };
  fmt::print("{}\n", nlohmann::json{{"rate_per_s", whole(looked.per_s())}, {"raw_rate_per_s", whole(plain.per_s())}, {"ratio", std::round(looked.per_s() / plain.per_s() * 100) / 100},
                                    {"messages", looked.messages}, {"raw_messages", plain.messages}, {"findings", seen.findings.size()}, {"drained", removed.messages}, {"drain_per_s", whole(removed.per_s())}}.dump());
  return 0;
}

}  // namespace
}  // namespace claw::bench

int main(int argc, char** argv) { return argc == 2 ? claw::bench::run(std::atoi(argv[1])) : 2; }
