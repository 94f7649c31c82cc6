// The RabbitMQ adapter on a real server: looks that leave no trace in order or number, removals that take exactly their messages,
// crashes at the dangerous points, and the traps that the obvious ways fall into.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "rabbitmq/adapter.h"
#include "rabbitmq/connection.h"
#include "rabbitmq/message.h"
#include "rabbitmq/properties.h"
#include "testing/rabbit_server.h"

namespace claw {
namespace {

using rabbitmq::Connection;
using rabbitmq::Properties;
using rabbitmq::Property;
using testing::RabbitServer;

RabbitServer& server() {
  static RabbitServer one;
  return one;
}

Deadline soon() { return Deadline::in(system_clock(), Millis(30'000)); }

std::unique_ptr<Connection> client() {
  Result<rabbitmq::Endpoint> endpoint = rabbitmq::parse_url(server().url());
  EXPECT_TRUE(endpoint.ok());
  Result<std::unique_ptr<Connection>> connection = Connection::open(*endpoint, "test", system_clock(), soon());
  EXPECT_TRUE(connection.ok()) << connection.error().message();
  return std::move(*connection);
}

std::unique_ptr<Broker> adapter(std::function<void(std::string_view)> after = {}) {
  Result<std::unique_ptr<Broker>> broker = rabbitmq::open_rabbitmq({.name = "rabbit", .url = server().url(), .management_url = server().management_url(), .after = std::move(after)}, system_clock(), soon());
  EXPECT_TRUE(broker.ok()) << broker.error().message();
  return std::move(*broker);
}

std::string body(int i, bool poison) { return (poison ? R"({"v":1,"transaction_id": broken_)" : R"({"v":1,"transaction_id":"ok_)") + std::to_string(i) + "\"}"; }
bool is_poison(std::string_view text) { return text.find("broken_") != std::string_view::npos; }
int number_of(std::string_view text) { return std::stoi(std::string(text.substr(is_poison(text) ? text.find("broken_") + 7 : text.find("ok_") + 3))); }

std::string properties(int i, int priorities, const std::string& headers = "") {
  Properties out;
  const std::string id = rabbitmq::wire_short("m-" + std::to_string(i)), priority(1, static_cast<char>(priorities > 0 ? i % priorities : 0)), table = rabbitmq::wire_table(headers);
  out.set(Property::delivery_mode, "\x02");
  out.set(Property::message_id, id);
  if (!headers.empty()) out.set(Property::headers, table);
  if (priorities > 0) out.set(Property::priority, priority);
  return out.encode();
}

void publish(const std::string& queue, int first, int count, int poison_every, int priorities = 0) {
  const auto connection = client();
  for (int i = first; i < first + count; ++i)
    ASSERT_TRUE(connection->publish(queue, properties(i, priorities), body(i, poison_every > 0 && i % poison_every == 7), soon()).ok());
  ASSERT_TRUE(connection->confirmed(soon()).ok());
}

struct Got {
  int number = 0;
  bool poison = false, redelivered = false;
  std::uint32_t delivery_count = 0;
};

// Takes everything out: the oracle.
std::vector<Got> drain(const std::string& queue) {
  const auto connection = client();
  std::vector<Got> out;
  std::vector<std::uint64_t> tags;
  const Result<rabbitmq::Depth> depth = connection->depth(queue, soon());
  if (!depth || depth->ready == 0) return out;
  EXPECT_TRUE(connection->consume(queue, 65'535, std::nullopt, soon()).ok());
  for (std::uint64_t i = 0; i < depth->ready; ++i) {
    const auto event = connection->next(soon(), soon());
    if (!event || event->kind != rabbitmq::Event::Kind::delivery) break;
    const auto seen = rabbitmq::see(event->delivery, queue);
    EXPECT_TRUE(seen.ok());
    out.push_back({number_of(event->delivery.body), is_poison(event->delivery.body), event->delivery.redelivered, seen->delivery_count});
    tags.push_back(event->delivery.tag);
  }
  EXPECT_TRUE(connection->acknowledge(tags, soon()).ok());
  return out;
}

std::uint64_t ready(const std::string& queue) {
  const Result<rabbitmq::Depth> depth = client()->depth(queue, soon());
  return depth ? depth->ready : 0;
}

QueueView view(Broker& broker, const std::string& queue) {
  const Claim claim{"t", {.broker = "rabbit", .match = queue}};
  Result<std::vector<QueueView>> views = broker.discover(std::span(&claim, 1), soon());
  EXPECT_TRUE(views.ok()) << views.error().message();
  EXPECT_EQ(views->size(), 1u);
  return views->empty() ? QueueView{} : views->front();
}

struct Looked {
  std::vector<int> order;
  PlannedQueue plan;
  ContentByKey content;
  std::vector<Evidence> evidence;
  std::vector<Evidence> dead;
  std::string remark;
};

Result<Looked> look(Broker& broker, const std::string& queue) {
  const QueueView seen = view(broker, queue);
  CLAW_TRY_ASSIGN(const auto window, broker.look(seen, soon()));
  Looked out;
  out.plan = {.queue = seen.id, .type = seen.type, .entries = seen.entries, .quarantine = broker.quarantine_name(seen.id), .messages = {}};
  for (Batch page;;) {
    CLAW_TRY_ASSIGN(const bool more, window->next(page, soon()));
    if (!more) break;
    for (const Batch::Entry& entry : page.entries()) {
      const auto fields = page.fields(entry);
      if (entry.evidence.dead_lettered) {
        out.dead.push_back(entry.evidence);
        continue;
      }
      out.order.push_back(number_of(fields[0].value));
      out.evidence.push_back(entry.evidence);
      if (!is_poison(fields[0].value)) continue;
      out.plan.messages.push_back({.id = "m" + std::to_string(entry.key.high), .key = entry.key});
      SeenContent& content = out.content[entry.key];
      for (const Field& f : fields) content.fields.push_back({std::string(f.name), std::string(f.value)});
    }
  }
  out.remark = window->remark();
  return out;
}

// Snapshot, removal in three waves, and what the quarantine holds afterwards.
struct Removed {
  std::vector<Message> snapshot;
  std::uint64_t removed = 0, gone = 0, not_found = 0;
  std::vector<Quarantined> quarantined;
};

Result<Removed> remove(Broker& broker, const Looked& looked, const std::string& execution, bool from_look = true) {
  Removed out;
  const ContentByKey nothing;
  CLAW_TRY_ASSIGN(out.snapshot, broker.read(looked.plan, looked.plan.messages, from_look ? looked.content : nothing, soon()));
  const std::size_t all = out.snapshot.size(), ends[] = {std::min<std::size_t>(1, all), all / 10, all};
  for (std::size_t first = 0, w = 0; w < 3; ++w) {
    if (ends[w] <= first) continue;
    const RemoveRequest request{.queue = looked.plan, .messages = std::span(out.snapshot).subspan(first, ends[w] - first), .execution_id = execution, .first_number = first};
    CLAW_TRY_ASSIGN(const auto removals, broker.remove(request, soon()));
    EXPECT_EQ(removals.size(), ends[w] - first);
    for (const Removal& r : removals) ++(r.fate == Fate::removed ? out.removed : r.fate == Fate::gone ? out.gone : out.not_found);
    first = ends[w];
  }
  CLAW_TRY_ASSIGN(out.quarantined, broker.quarantined(looked.plan.queue, looked.plan.quarantine, execution, soon()));
  return out;
}

std::vector<int> numbers(const std::vector<Got>& got) {
  std::vector<int> out;
  for (const Got& g : got) out.push_back(g.number);
  return out;
}

std::vector<int> range(int first, int count, int poison_every, bool poison) {
  std::vector<int> out;
  for (int i = first; i < first + count; ++i)
    if (poison_every == 0 || (i % poison_every == 7) == poison) out.push_back(i);
  return out;
}

struct Kind {
  const char* name;
  const char* arguments;
  int priorities;
};

class EveryKind : public ::testing::TestWithParam<Kind> {};

// The order in which a queue of this kind gives out messages of these numbers.
std::vector<int> given_out(std::vector<int> numbers, int priorities) {
  if (priorities > 0) std::stable_sort(numbers.begin(), numbers.end(), [&](int a, int b) { return a % priorities > b % priorities; });
  return numbers;
}

TEST_P(EveryKind, a_look_sees_every_message_once_and_leaves_number_and_order) {
  const std::string queue = std::string("look-") + GetParam().name;
  server().declare(queue, GetParam().arguments);
  publish(queue, 0, 2'500, 50, GetParam().priorities);
  const auto broker = adapter();
  for (int time = 0; time < 2; ++time) {
    const auto seen = look(*broker, queue);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_EQ(seen->order, given_out(range(0, 2'500, 0, false), GetParam().priorities));
    EXPECT_EQ(seen->remark, "");
  }
  EXPECT_EQ(ready(queue), 2'500u);
  EXPECT_EQ(numbers(drain(queue)), given_out(range(0, 2'500, 0, false), GetParam().priorities));
}

TEST_P(EveryKind, a_removal_takes_exactly_its_messages_and_a_restore_brings_them_back) {
  const std::string queue = std::string("remove-") + GetParam().name;
  server().remove_queue(queue + ".quarantine");
  server().declare(queue, GetParam().arguments);
  publish(queue, 0, 2'500, 50, GetParam().priorities);
  const auto broker = adapter();
  const auto seen = look(*broker, queue);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  publish(queue, 5'000, 100, 0, GetParam().priorities);  // meanwhile
  const bool from_look = GetParam().priorities == 0;       // else the snapshot needs a hold of its own
  const auto removed = remove(*broker, *seen, "exec-1", from_look);
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 50u);
  ASSERT_EQ(removed->quarantined.size(), 50u);
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(removed->quarantined[i].number, i);
    EXPECT_EQ(removed->quarantined[i].message.fields, removed->snapshot[i].fields);
    EXPECT_TRUE(is_poison(removed->snapshot[i].fields[0].value));
  }
  EXPECT_EQ(ready(queue), 2'550u);
  const RestoreRequest request{.queue = seen->plan.queue, .type = seen->plan.type, .execution_id = "exec-1", .quarantine = seen->plan.quarantine, .messages = removed->snapshot};
  const auto restored = broker->restore(request, soon());
  ASSERT_TRUE(restored.ok()) << restored.error().message();
  EXPECT_EQ(restored->restored, 50u);
  EXPECT_EQ(restored->failed, 0u);
  const auto twice = broker->restore(request, soon());
  ASSERT_TRUE(twice.ok()) << twice.error().message();
  EXPECT_EQ(twice->restored, 0u);
  EXPECT_EQ(twice->already_present, 50u);
  EXPECT_EQ(ready(seen->plan.quarantine), 0u);
  std::vector<int> expected = range(0, 2'500, 50, false);
  for (int i = 5'000; i < 5'100; ++i) expected.push_back(i);
  for (const int i : range(0, 2'500, 50, true)) expected.push_back(i);
  std::vector<Got> all = drain(queue);
  if (GetParam().priorities == 0) {
    EXPECT_EQ(numbers(all), expected);
  }
  std::vector<int> sorted = numbers(all);
  std::sort(sorted.begin(), sorted.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(sorted, expected);
}

INSTANTIATE_TEST_SUITE_P(Rabbit, EveryKind,
                         ::testing::Values(Kind{"v1", R"({"x-queue-version":1})", 0}, Kind{"v2", R"({"x-queue-version":2})", 0}, Kind{"lazy", R"({"x-queue-mode":"lazy"})", 0},
                                           Kind{"quorum", R"({"x-queue-type":"quorum"})", 0}, Kind{"limit", R"({"x-queue-type":"quorum","x-delivery-limit":20})", 0},
                                           Kind{"priority", R"({"x-max-priority":3})", 3}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace claw
