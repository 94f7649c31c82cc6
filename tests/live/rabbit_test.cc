// The RabbitMQ adapter on a real server: looks that leave no trace in order or number, removals that take exactly their messages,
// crashes at the dangerous points, and the traps that the obvious ways fall into.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "tests/live/rabbit_world.h"

namespace claw {
namespace {

using namespace live;

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
  publish(queue, 0, 1'200, 50, GetParam().priorities);
  const auto broker = adapter();
  for (int time = 0; time < 2; ++time) {
    const auto seen = look(*broker, queue);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_EQ(seen->order, given_out(range(0, 1'200, 0, false), GetParam().priorities));
    EXPECT_EQ(seen->remark, "");
  }
  EXPECT_EQ(ready(queue), 1'200u);
  EXPECT_EQ(numbers(drain(queue)), given_out(range(0, 1'200, 0, false), GetParam().priorities));
}

// A hold longer than one consumer's prefetch adds consumers to its channel: what they hold must come back as one.
TEST_P(EveryKind, a_look_and_a_removal_through_many_consumers_keep_the_order) {
  const std::string queue = std::string("parts-") + GetParam().name;
  server().remove_queue(queue + ".quarantine");
  server().declare(queue, GetParam().arguments);
  publish(queue, 0, 1'500, 50, GetParam().priorities);
  const auto broker = adapter({}, 100);
  const auto seen = look(*broker, queue);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->order, given_out(range(0, 1'500, 0, false), GetParam().priorities));
  EXPECT_EQ(seen->remark, "");
  publish(queue, 1'500, 100, 0, GetParam().priorities);  // meanwhile
  const auto removed = remove(*broker, *seen, "exec-1");
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 30u);
  EXPECT_EQ(removed->quarantined.size(), 30u);
  std::vector<int> left = range(0, 1'500, 50, false);
  for (const int n : range(1'500, 100, 0, false)) left.push_back(n);
  EXPECT_EQ(numbers(drain(queue)), given_out(left, GetParam().priorities));
}

TEST_P(EveryKind, a_removal_takes_exactly_its_messages_and_a_restore_brings_them_back) {
  const std::string queue = std::string("remove-") + GetParam().name;
  server().remove_queue(queue + ".quarantine");
  server().declare(queue, GetParam().arguments);
  publish(queue, 0, 1'200, 50, GetParam().priorities);
  const auto broker = adapter();
  const auto seen = look(*broker, queue);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  publish(queue, 5'000, 100, 0, GetParam().priorities);  // meanwhile
  const bool from_look = GetParam().priorities == 0;       // else the snapshot needs a hold of its own
  const auto removed = remove(*broker, *seen, "exec-1", from_look);
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 24u);
  ASSERT_EQ(removed->quarantined.size(), 24u);
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(removed->quarantined[i].number, i);
    EXPECT_EQ(removed->quarantined[i].message.fields, removed->snapshot[i].fields);
    EXPECT_TRUE(is_poison(removed->snapshot[i].fields[0].value));
  }
  EXPECT_EQ(ready(queue), 1'276u);
  const RestoreRequest request{.queue = seen->plan.queue, .type = seen->plan.type, .execution_id = "exec-1", .quarantine = seen->plan.quarantine, .messages = removed->snapshot};
  const auto restored = broker->restore(request, soon());
  ASSERT_TRUE(restored.ok()) << restored.error().message();
  EXPECT_EQ(restored->restored, 24u);
  EXPECT_EQ(restored->failed, 0u);
  const auto twice = broker->restore(request, soon());
  ASSERT_TRUE(twice.ok()) << twice.error().message();
  EXPECT_EQ(twice->restored, 0u);
  EXPECT_EQ(twice->already_present, 24u);
  EXPECT_EQ(ready(seen->plan.quarantine), 0u);
  std::vector<int> expected = range(0, 1'200, 50, false);
  for (int i = 5'000; i < 5'100; ++i) expected.push_back(i);
  for (const int i : range(0, 1'200, 50, true)) expected.push_back(i);
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


// Runs `work` in a child that kills itself when it comes to `step` for the `time`-th time.
void killed_at(const std::string& step, int time, const std::function<void(Broker&)>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto broker = adapter([&](std::string_view reached) {
      if (reached == step && --time == 0) ::kill(::getpid(), SIGKILL);
    });
    work(*broker);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "did not come to " << step;
}

class Kill : public ::testing::TestWithParam<Kind> {};

TEST_P(Kill, at_every_step_of_a_removal_loses_nothing_and_the_next_try_leaves_each_message_in_one_place) {
  const std::string queue = std::string("kill-") + GetParam().name;
  for (const std::string step : {"published", "confirmed", "acknowledged", "released"}) {
    server().remove_queue(queue + ".quarantine");
    server().declare(queue + ".quarantine");
    server().declare(queue, GetParam().arguments);
    publish(queue, 0, 600, 20);
    publish(queue, 7, 1, 0);              // not poison by its body, and its number appears twice
    publish(queue, 27, 1, 20);            // poison with the same bytes twice: two messages
    Looked seen;
    {
      const auto broker = adapter();
      auto looked = look(*broker, queue);
      ASSERT_TRUE(looked.ok()) << looked.error().message();
      seen = std::move(*looked);
      ASSERT_EQ(seen.plan.messages.size(), 31u);
    }
    killed_at(step, step == "released" ? 1 : 3, [&](Broker& broker) { static_cast<void>(remove(broker, seen, "exec-k").ok()); });
    await_ready(queue, 571);
    EXPECT_GE(ready(queue) + ready(queue + ".quarantine"), 602u) << step;
    const auto broker = adapter();
    const auto removed = remove(*broker, seen, "exec-k");
    ASSERT_TRUE(removed.ok()) << step << " " << removed.error().message();
    EXPECT_EQ(removed->removed, 31u) << step;
    EXPECT_EQ(removed->quarantined.size(), 31u) << step;
    for (const Quarantined& one : removed->quarantined) EXPECT_EQ(one.message.fields, removed->snapshot[one.number].fields) << step;
    EXPECT_EQ(ready(queue + ".quarantine"), 31u) << step;
    std::vector<int> expected = range(0, 600, 20, false);
    expected.push_back(7);
    EXPECT_EQ(numbers(drain(queue)), expected) << step;
  }
}

TEST_P(Kill, within_a_restore_loses_nothing_and_doubles_at_most_one_batch) {
  const std::string queue = std::string("killr-") + GetParam().name;
  server().remove_queue(queue + ".quarantine");
  server().declare(queue + ".quarantine");
  server().declare(queue, GetParam().arguments);
  publish(queue, 0, 1'600, 8);
  Removed removed;
  Looked seen;
  {
    const auto broker = adapter();
    auto looked = look(*broker, queue);
    ASSERT_TRUE(looked.ok()) << looked.error().message();
    seen = std::move(*looked);
    seen.plan.messages.resize(198);
    auto done = remove(*broker, seen, "exec-r");
    ASSERT_TRUE(done.ok()) << done.error().message();
    removed = std::move(*done);
    ASSERT_EQ(removed.removed, 198u);
  }
  const RestoreRequest request{.queue = seen.plan.queue, .type = seen.plan.type, .execution_id = "exec-r", .quarantine = seen.plan.quarantine, .messages = removed.snapshot};
  killed_at("restored", 1, [&](Broker& broker) { static_cast<void>(broker.restore(request, soon()).ok()); });
  await_ready(seen.plan.quarantine, 98);
  const auto broker = adapter();
  const auto restored = broker->restore(request, soon());
  ASSERT_TRUE(restored.ok()) << restored.error().message();
  EXPECT_EQ(ready(seen.plan.quarantine), 0u);
  std::map<int, int> copies;
  for (const Got& got : drain(queue)) ++copies[got.number];
  int doubles = 0;
  for (const int i : range(0, 1'600, 0, false)) {
    EXPECT_GE(copies[i], 1) << i;
    doubles += copies[i] - 1;
  }
  EXPECT_LE(doubles, 100);
}

INSTANTIATE_TEST_SUITE_P(Rabbit, Kill, ::testing::Values(Kind{"classic", "{}", 0}, Kind{"quorum", R"({"x-queue-type":"quorum"})", 0}), [](const auto& kind) { return kind.param.name; });

TEST(Rabbit, a_removal_finds_out_of_order_and_consumed_messages) {
  server().remove_queue("gone.quarantine");
  server().declare("gone");
  publish("gone", 0, 100, 10);
  const auto broker = adapter();
  const auto seen = look(*broker, "gone");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  drain("gone");
  publish("gone", 90, 10, 10);  // 97 came again, the others were consumed
  const auto removed = remove(*broker, *seen, "exec-g");
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 1u);
  EXPECT_EQ(removed->gone, 9u);
  EXPECT_EQ(ready("gone"), 9u);
}

// UI-style peeks at a delivery limit of 3 end all messages at the fourth; ours move them to the tail instead.
TEST(Rabbit, looks_at_a_delivery_limit_end_no_message) {
  const std::string arguments = R"({"x-queue-type":"quorum","x-delivery-limit":3,"x-dead-letter-exchange":"","x-dead-letter-routing-key":"limit3.dead"})";
  server().declare("limit3.dead");
  server().declare("limit3", arguments);
  publish("limit3", 0, 10, 0);
  for (int time = 0; time < 4; ++time) {  // the naive way: it must lose them, or this test shows nothing
    const auto naive = client();
    ASSERT_TRUE(naive->consume("limit3", 100, std::nullopt, soon()).ok());
    for (int i = 0; i < 10; ++i) ASSERT_EQ(naive->next(soon(), soon())->kind, rabbitmq::Event::Kind::delivery);
    ASSERT_TRUE(naive->close_channels(soon()).ok());
    if (time < 3) await_ready("limit3", 10);
  }
  await_ready("limit3.dead", 10);
  ASSERT_EQ(ready("limit3.dead"), 10u);

  drain("limit3.dead");
  publish("limit3", 0, 10, 0);
  const auto broker = adapter();
  bool told = false;
  for (int time = 0; time < 6; ++time) {
    const auto seen = look(*broker, "limit3");
    ASSERT_TRUE(seen.ok()) << time << " " << seen.error().message();
    EXPECT_EQ(seen->order.size(), 10u) << time;
    told |= seen->remark.find("put at the tail") != std::string::npos;
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(ready("limit3"), 10u);
  EXPECT_EQ(ready("limit3.dead"), 0u);
}

// A quorum queue assigns everything to us at once, and nothing is ready long before the first of it arrives.
TEST(Rabbit, what_is_on_its_way_to_us_is_not_taken_for_the_end) {
  server().declare("on-its-way", R"({"x-queue-type":"quorum"})");
  publish("on-its-way", 0, 50'000, 0);
  const auto broker = adapter();
  const auto seen = look(*broker, "on-its-way");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->order, range(0, 50'000, 0, false));
  server().remove_queue("on-its-way");
}

// The agent removes by itself what it just looked at: all of it costs one delivery.
TEST(Rabbit, a_removal_within_the_hold_of_its_look_is_no_second_delivery) {
  for (const char* type : {"classic", "quorum"}) {
    const std::string queue = std::string("once-") + type;
    server().declare(queue, fmt::format(R"({{"x-queue-type":"{}"}})", type));
    publish(queue, 0, 600, 50);
    const auto broker = adapter({}, 100);
    const QueueView seen = view(*broker, queue);
    const auto window = broker->look(seen, soon());
    ASSERT_TRUE(window.ok()) << window.error().message();
    Looked looked{.order = {}, .plan = {.queue = seen.id, .type = seen.type, .entries = seen.entries, .quarantine = broker->quarantine_name(seen.id), .messages = {}}, .content = {}, .evidence = {}, .dead = {}, .remark = {}};
    std::vector<MessageKey> keep;
    for (Batch page; *(*window)->next(page, soon());)
      for (const Batch::Entry& entry : page.entries()) {
        const auto fields = page.fields(entry);
        if (!is_poison(fields[0].value)) continue;
        keep.push_back(entry.key);
        looked.plan.messages.push_back({.id = "m" + std::to_string(entry.key.high), .key = entry.key});
        for (const Field& f : fields) looked.content[entry.key].fields.push_back({std::string(f.name), std::string(f.value)});
      }
    EXPECT_TRUE((*window)->holds());
    ASSERT_TRUE((*window)->settle(keep, soon()).ok());
    EXPECT_EQ(ready(queue), 0u);  // held until the removal is done
    const auto removed = remove(*broker, looked, "exec-1");
    ASSERT_TRUE(removed.ok()) << removed.error().message();
    EXPECT_EQ(removed->removed, 12u);
    EXPECT_EQ(removed->quarantined.size(), 12u);
    const std::vector<Got> left = drain(queue);
    EXPECT_EQ(numbers(left), range(0, 600, 50, false));
    for (const Got& got : left) EXPECT_EQ(got.delivery_count, queue == "once-quorum" ? 1u : 0u);
  }
}

// Only the last look of a connection goes on holding: the queues before it are not hidden while others are looked at.
TEST(Rabbit, the_next_look_gives_back_what_the_last_one_held) {
  const auto broker = adapter();
  const auto read_to_the_end = [&](const std::string& queue) {
    server().declare(queue);
    publish(queue, 0, 300, 50);
    auto window = broker->look(view(*broker, queue), soon());
    EXPECT_TRUE(window.ok());
    for (Batch page; *(*window)->next(page, soon());) {
    }
    EXPECT_TRUE((*window)->holds());
    return std::move(*window);
  };
  const auto first = read_to_the_end("next-a");
  EXPECT_EQ(ready("next-a"), 0u);
  const auto second = read_to_the_end("next-b");
  EXPECT_EQ(ready("next-a"), 300u);
  EXPECT_FALSE(first->holds());
  const std::vector<MessageKey> keep = {{7, 0}};
  ASSERT_TRUE(first->settle(keep, soon()).ok());  // keeps nothing, and nothing of the other's
  EXPECT_TRUE(second->holds());
  ASSERT_TRUE(second->settle({}, soon()).ok());
  EXPECT_EQ(numbers(drain("next-a")), range(0, 300, 0, false));
  EXPECT_EQ(numbers(drain("next-b")), range(0, 300, 0, false));
}

// A run at the head is acknowledged as one, and not one message more.
TEST(Rabbit, a_run_of_poison_at_the_head_and_one_further_on_leave_alone) {
  server().remove_queue("run.quarantine");
  server().declare("run");
  for (const int poison : {7, 17, 27}) publish("run", poison, 1, 10);
  publish("run", 100, 50, 0);
  publish("run", 37, 1, 10);
  publish("run", 150, 50, 0);
  const auto broker = adapter({}, 40);
  const auto seen = look(*broker, "run");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  const auto removed = remove(*broker, *seen, "exec-r");
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 4u);
  EXPECT_EQ(removed->quarantined.size(), 4u);
  EXPECT_EQ(numbers(drain("run")), range(100, 100, 0, false));
}

TEST(Rabbit, looks_are_refused_with_the_reason_on_real_queues) {
  const auto broker = adapter();
  const auto refused = [&](const std::string& queue, const std::string& reason) {
    const auto seen = look(*broker, queue);
    ASSERT_FALSE(seen.ok()) << queue;
    EXPECT_EQ(seen.error().code, Code::refused) << seen.error().message();
    EXPECT_NE(seen.error().detail.find(reason), std::string::npos) << seen.error().message();
  };
  server().declare("r-ttl", R"({"x-message-ttl":5000})");
  refused("r-ttl", "expire");
  server().declare("r-limit", R"({"x-queue-type":"quorum","x-delivery-limit":2})");
  refused("r-limit", "delivery limit is 2");
  server().declare("r-drop", R"({"x-max-length":100})");
  publish("r-drop", 0, 100, 0);
  await_told("r-drop", 100);
  refused("r-drop", "length limit");
  server().api("PUT", "/policies/%2F/r-policy", R"({"pattern":"^r-policy$","definition":{"message-ttl":1000},"apply-to":"queues"})");
  server().declare("r-policy");
  refused("r-policy", "expire");
  server().declare("r-single", R"({"x-single-active-consumer":true})");
  const auto consumer = client();
  ASSERT_TRUE(consumer->consume("r-single", 1, std::nullopt, soon()).ok());
  for (int i = 0; i < 100 && server().api("GET", "/queues/%2F/r-single?columns=consumers").find(":1") == std::string::npos; ++i) ::usleep(100'000);
  refused("r-single", "single active");
  server().api("PUT", "/queues/%2F/r-auto", R"({"durable":true,"auto_delete":true,"arguments":{}})");
  server().await_policy("r-auto");
  refused("r-auto", "auto-delete");
  server().declare("r-expiring");
  {
    const auto producer = client();
    Properties properties;
    const std::string expiration = rabbitmq::wire_short("20000");
    properties.set(Property::expiration, expiration);
    ASSERT_TRUE(producer->publish("r-expiring", properties.encode(), body(1, false), soon()).ok());
    ASSERT_TRUE(producer->confirmed(soon()).ok());
  }
  refused("r-expiring", "expires 20000 ms");
  EXPECT_EQ(ready("r-expiring"), 1u);
  server().declare("r-bytes", R"({"x-max-length-bytes":2000})");
  publish("r-bytes", 0, 100, 0);
  await_told("r-bytes", static_cast<int>(ready("r-bytes")));
  refused("r-bytes", "length limit");

  FILE* const owner = ::popen(("exec /usr/bin/python3 -c \"import pika, sys\nc = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', " + std::to_string(server().port()) +
                               "))\nc.channel().queue_declare('r-exclusive', exclusive=True)\nsys.stdin.read()\"").c_str(), "w");
  for (int i = 0; i < 100 && server().api("GET", "/queues?columns=name,effective_policy_definition").find("\"r-exclusive\"") == std::string::npos; ++i) ::usleep(100'000);
  server().await_policy("r-exclusive");
  refused("r-exclusive", "exclusive to one connection");
  ::pclose(owner);
}

// Twenty messages of 4 MiB, and 40 MiB that are left of the broker's memory: half of that holds five.
TEST(Rabbit, what_the_brokers_memory_could_not_hold_is_not_looked_at) {
  server().declare("r-memory", R"({"x-queue-mode":"lazy"})");
  {
    const auto producer = client();
    const std::string large(4u << 20, 'x');
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(producer->publish("r-memory", properties(i, 0), large, soon()).ok());
    ASSERT_TRUE(producer->confirmed(soon()).ok());
  }
  await_told("r-memory", 20);
  const std::string used = server().api("GET", "/nodes?columns=mem_used");
  const std::uint64_t bytes = std::stoull(used.substr(used.find(':') + 1));
  const std::string limit = std::to_string(bytes + (40u << 20));
  ASSERT_TRUE(server().control("set_vm_memory_high_watermark absolute " + limit));
  for (int i = 0; i < 100 && server().api("GET", "/nodes?columns=mem_limit").find(limit) == std::string::npos; ++i) ::usleep(100'000);
  const auto seen = look(*adapter(), "r-memory");
  ASSERT_TRUE(server().control("set_vm_memory_high_watermark 0.4"));
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(seen.error().code, Code::refused) << seen.error().message();
  EXPECT_NE(seen.error().detail.find("too little memory"), std::string::npos) << seen.error().message();
  EXPECT_EQ(ready("r-memory"), 20u);
  server().remove_queue("r-memory");
}

TEST(Rabbit, evidence_comes_from_dead_letters_and_delivery_counts_net_of_our_own_looks) {
  server().declare("ev.dead");
  server().declare("ev", R"({"x-queue-type":"quorum","x-delivery-limit":8,"x-dead-letter-exchange":"","x-dead-letter-routing-key":"ev.dead"})");
  publish("ev", 0, 40, 10);
  // A consumer that gives up its last message by dropping the connection three times, having taken the first 20 once for good.
  const std::string script = R"(
import pika, sys
for time in range(3):
  c = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', int(sys.argv[1]))); ch = c.channel(); ch.basic_qos(prefetch_count=20)
  got = []
  while len(got) < 8:
    m, p, b = ch.basic_get('ev')
    got.append((m, b))
  for m, b in got:
    if b'broken_7"' in b and time == 2: ch.basic_reject(m.delivery_tag, requeue=False)
  c.process_data_events(0.2)
  c.close()
)";
  ASSERT_EQ(std::system(("/usr/bin/python3 -c \"$(cat <<'EOF'\n" + script + "EOF\n)\" " + std::to_string(server().port())).c_str()), 0);
  await_ready("ev.dead", 1);
  await_ready("ev", 39);
  const auto broker = adapter();
  for (int time = 0; time < 2; ++time) {
    const auto seen = look(*broker, "ev");
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    ASSERT_EQ(seen->dead.size(), 1u);
    EXPECT_TRUE(seen->dead[0].dead_lettered);
    EXPECT_GE(seen->dead[0].attempts, 1u);
    ASSERT_EQ(seen->evidence.size(), 39u);
    // The counts at the head could be ours; that it was delivered before is known only until we looked.
    for (std::size_t i = 0; i < 39; ++i) EXPECT_LE(seen->evidence[i].attempts, time == 0 && i < 7 ? 1u : 0u) << time << " " << i;
  }
}

// What consumers gave back again and again stands at the head of a quorum queue, with nothing before it that would tell our part.
TEST(Rabbit, poison_at_the_head_of_a_quorum_queue_is_seen_to_fail_by_who_knows_its_own_looks) {
  server().declare("head", R"({"x-queue-type":"quorum"})");
  const auto fill = [] {
    publish("head", 0, 5, 0);
    for (int time = 0; time < 3; ++time) {
      const auto consumer = client();
      ASSERT_TRUE(consumer->consume("head", 5, std::nullopt, soon()).ok());
      for (int i = 0; i < 5; ++i) ASSERT_EQ(consumer->next(soon(), soon())->kind, rabbitmq::Event::Kind::delivery);
      ASSERT_TRUE(consumer->close_channels(soon()).ok());
      await_ready("head", 5);
    }
    publish("head", 5, 20, 0);
  };
  const auto remembering = [] {
    return *rabbitmq::open_rabbitmq({.name = "rabbit", .url = server().url(), .management_url = server().management_url(), .state_dir = server().dir() + "/state", .disk = &system_disk()}, system_clock(), soon());
  };
  fill();
  const auto attempts = [](Broker& broker) {
    std::vector<std::uint32_t> out;
    const auto seen = look(broker, "head");
    EXPECT_TRUE(seen.ok()) << seen.error().message();
    if (seen)
      for (const Evidence& e : seen->evidence) out.push_back(e.attempts);
    return out;
  };
  std::vector<std::uint32_t> expected(25, 0);
  std::fill_n(expected.begin(), 5, 1);
  EXPECT_EQ(attempts(*adapter()), expected) << "given out before; how often by us is not known";
  drain("head");

  fill();
  std::fill_n(expected.begin(), 5, 3);
  for (int restart = 0; restart < 3; ++restart) {
    const auto broker = remembering();
    EXPECT_EQ(attempts(*broker), expected);
    EXPECT_EQ(attempts(*broker), expected) << "our own look is no failure";
  }
  drain("head");
  publish("head", 0, 5, 0);
  EXPECT_EQ(attempts(*remembering()), std::vector<std::uint32_t>(5, 0)) << "new messages, never held";
}

// What pika, another client, reads before and after.
TEST(Rabbit, a_restored_message_is_read_unchanged_by_another_client_and_copied_and_dropped_by_nobody) {
  server().remove_queue("pika.quarantine");
  server().declare("pika");
  server().declare("pika.copy");
  const std::string script = R"(
import pika, sys, json
c = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', int(sys.argv[1]))); ch = c.channel()
def show():
  out = []
  while True:
    m, p, b = ch.basic_get('pika', auto_ack=True)
    if m is None: break
    d = {k: v for k, v in vars(p).items() if v is not None}
    d['headers'] = sorted((k, repr(v)) for k, v in (p.headers or {}).items() if k not in ('CC', 'x-death') and not k.startswith('x-first-death'))
    if sys.argv[2] == 'show-redriven': d.pop('expiration', None)  # the broker drops it with the first dead-lettering
    out.append((repr(b), d))
  return '\n'.join(sorted(json.dumps(one, sort_keys=True, default=repr) for one in out))
if sys.argv[2] == 'fill':
  ch.confirm_delivery()
  import datetime, decimal
  for i in range(20):
    h = {'str': 'x\u00e9', 'int': -5, 'big': 2**40, 'bool': True, 'none': None, 'list': [1, 'a', {'b': 2}], 'nested': {'k': {'deep': [True]}}, 'dec': decimal.Decimal('1.25'), 'bytes': b'\xff\x00'}
    if i == 7: h['CC'] = ['pika.copy']
    if i == 7: h['x-death'] = [{'count': 1, 'reason': 'expired', 'queue': 'pika'}]
    ch.basic_publish('', 'pika', (b'{"v":1,"transaction_id": broken_%d"}' if i == 7 else b'{"v":1,"transaction_id":"ok_%d"}') % i, pika.BasicProperties(content_type='application/json', content_encoding='utf-8', headers=h,
      delivery_mode=2, priority=3, correlation_id='c', reply_to='r', expiration='3600000', message_id='m%d' % i, timestamp=1700000000, type='t', user_id='guest', app_id='a', cluster_id='k'))
elif sys.argv[2] == 'reject':
  while (m := ch.basic_get('pika')[0]) is not None: ch.basic_reject(m.delivery_tag, requeue=False)
else: print(show())
)";
  const std::string file = server().dir() + "/client.py";
  std::ofstream(file) << script;
  const auto python = [&](const std::string& what) {
    std::string out;
    FILE* pipe = ::popen(("/usr/bin/python3 " + file + " " + std::to_string(server().port()) + " " + what).c_str(), "r");
    char buffer[4096];
    while (const std::size_t got = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
    EXPECT_EQ(::pclose(pipe), 0);
    return out;
  };
  python("fill");
  const std::string before = python("show");
  ASSERT_NE(before.find("broken_7"), std::string::npos);
  python("fill");
  drain("pika.copy");
  remove_and_restore("pika", 20);
  EXPECT_EQ(ready("pika.copy"), 0u);
  EXPECT_EQ(python("show"), before);

  // Refused for good, and put back from the dead-letter queue.
  python("fill");
  const std::string whole = python("show-redriven");
  server().declare("pika.dead");
  server().api("PUT", "/policies/%2F/pika", R"({"pattern":"^pika$","definition":{"dead-letter-exchange":"","dead-letter-routing-key":"pika.dead"},"apply-to":"queues"})");
  python("fill");
  python("reject");
  await_ready("pika.dead", 20);
  drain("pika.copy");
  remove_and_restore("pika.dead", 20, [] {}, "pika");
  const std::string redriven = python("show-redriven");
  EXPECT_NE(redriven.find("broken_7"), std::string::npos);
  EXPECT_NE(whole.find(redriven.substr(0, redriven.find('\n'))), std::string::npos) << redriven << "\n" << whole;
  EXPECT_EQ(ready("pika.copy"), 0u);
}


std::string error_of(rabbitmq::Options options) {
  const auto broker = rabbitmq::open_rabbitmq(std::move(options), system_clock(), Deadline::in(system_clock(), Millis(5'000)));
  return broker ? "" : broker.error().message();
}

TEST(Rabbit, logs_in_over_tls_and_says_what_is_wrong_when_it_cannot) {
  EXPECT_EQ(error_of({.name = "r", .url = server().tls_url("localhost"), .tls_ca = server().ca_file()}), "");
  EXPECT_NE(error_of({.name = "r", .url = server().tls_url("127.0.0.1"), .tls_ca = server().ca_file()}).find("certificate for this host name"), std::string::npos);
  EXPECT_NE(error_of({.name = "r", .url = server().tls_url("localhost")}).find("denied"), std::string::npos);  // signed by nobody the system knows
  EXPECT_NE(error_of({.name = "r", .url = server().url("guest", "nowhere")}).find("vhost nowhere"), std::string::npos);
  EXPECT_NE(error_of({.name = "r", .url = server().url(), .password = Secret("wrong")}).find("denied"), std::string::npos);
  EXPECT_NE(error_of({.name = "r", .url = "amqp://127.0.0.1:1"}).find("unavailable"), std::string::npos);
  EXPECT_NE(error_of({.name = "r", .url = server().management_url()}).find("expected amqp://"), std::string::npos);
  // The first host does not answer: the next one does.
  EXPECT_EQ(error_of({.name = "r", .url = "amqp://guest@127.0.0.1:1,127.0.0.1:" + std::to_string(server().port())}), "");
}

TEST(Rabbit, without_the_management_api_depths_are_told_and_nothing_is_looked_at) {
  server().declare("bare");
  publish("bare", 0, 10, 0);
  auto broker = rabbitmq::open_rabbitmq({.name = "rabbit", .url = server().url()}, system_clock(), soon());
  ASSERT_TRUE(broker.ok());
  const QueueView seen = view(**broker, "bare");
  EXPECT_EQ(seen.backlog, 10u);
  EXPECT_NE(seen.look.refusal.find("management_url"), std::string::npos);
  EXPECT_FALSE((*broker)->look(seen, soon()).ok());
  const Claim glob{"t", {.broker = "rabbit", .match = "ba*"}};
  const auto views = (*broker)->discover(std::span(&glob, 1), soon());
  ASSERT_FALSE(views.ok());
  EXPECT_EQ(views.error().code, Code::unsupported);
}

TEST(Rabbit, a_right_that_is_missing_stops_before_anything_is_taken) {
  server().remove_queue("rights.quarantine");
  server().declare("rights");
  publish("rights", 0, 40, 10);
  const auto with_rights = [&](const std::string& read, const std::string& write) {
    server().api("PUT", "/users/limited", R"({"password":"p","tags":"monitoring"})");
    server().api("PUT", "/permissions/%2F/limited", R"({"configure":"^$","write":")" + write + R"(","read":")" + read + "\"}");
    auto broker = rabbitmq::open_rabbitmq({.name = "rabbit", .url = server().url("limited"), .management_url = server().management_url(), .password = Secret("p")}, system_clock(), soon());
    EXPECT_TRUE(broker.ok()) << broker.error().message();
    return std::move(*broker);
  };
  {
    const auto blind = with_rights("^$", "^$");
    const auto seen = look(*blind, "rights");
    ASSERT_FALSE(seen.ok());
    EXPECT_EQ(seen.error().code, Code::denied) << seen.error().message();
  }
  const auto reader = with_rights("^rights.*", "^$");
  const auto seen = look(*reader, "rights");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  const auto undeclared = remove(*reader, *seen, "exec-d");
  ASSERT_FALSE(undeclared.ok());
  EXPECT_EQ(undeclared.error().code, Code::denied) << undeclared.error().message();
  server().declare("rights.quarantine");
  const auto unwritable = remove(*reader, *seen, "exec-d");
  ASSERT_FALSE(unwritable.ok());
  EXPECT_EQ(unwritable.error().code, Code::denied) << unwritable.error().message();
  await_ready("rights", 40);
  EXPECT_EQ(ready("rights"), 40u);
  // The rights that operations documents: read the queue, read and write its quarantine through the default exchange.
  const auto allowed = with_rights("^rights.*", "^amq\\\\.default$");
  const auto removed = remove(*allowed, *look(*allowed, "rights"), "exec-d");
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->removed, 4u);
}

// A shovel into such a target lost 4,000 of 5,000 messages without a word.
TEST(Rabbit, nothing_is_set_aside_in_a_queue_that_could_lose_it) {
  server().remove_queue("capped.quarantine");
  server().declare("capped.quarantine", R"({"x-max-length":2})");
  server().declare("capped");
  publish("capped", 0, 100, 10);
  const auto broker = adapter();
  const auto seen = look(*broker, "capped");
  ASSERT_TRUE(seen.ok());
  const auto removed = remove(*broker, *seen, "exec-c");
  ASSERT_FALSE(removed.ok());
  EXPECT_EQ(removed.error().code, Code::refused);
  EXPECT_NE(removed.error().detail.find("length limit"), std::string::npos);
  EXPECT_EQ(ready("capped"), 100u);
}

TEST(Rabbit, a_stream_is_read_by_offset_any_number_of_times_and_gives_up_nothing) {
  server().api("PUT", "/queues/%2F/log", R"({"durable":true,"arguments":{"x-queue-type":"stream"}})");
  server().await_policy("log");
  publish("log", 0, 3'000, 100);
  const auto broker = adapter();
  for (int time = 0; time < 2; ++time) {
    const auto seen = look(*broker, "log");
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_EQ(seen->order, range(0, 3'000, 0, false));
    ASSERT_EQ(seen->plan.messages.size(), 30u);
    EXPECT_EQ(seen->plan.messages[1].key.high, 107u);  // its offset
    EXPECT_NE(view(*broker, "log").look.no_removal.find("offset"), std::string::npos);
    const auto removed = remove(*broker, *seen, "exec-s", false);
    ASSERT_FALSE(removed.ok());
    EXPECT_EQ(removed.error().code, Code::unsupported) << removed.error().message();
  }
}

TEST(Rabbit, a_consumer_that_holds_its_prefetch_and_acknowledges_nothing_is_named) {
  server().declare("stuck");
  publish("stuck", 0, 20, 0);
  const auto consumer = client();
  ASSERT_TRUE(consumer->consume("stuck", 5, std::nullopt, soon()).ok());
  for (int i = 0; i < 5; ++i) ASSERT_EQ(consumer->next(soon(), soon())->kind, rabbitmq::Event::Kind::delivery);
  const auto broker = adapter();
  std::string words;
  for (int i = 0; i < 100 && words.empty(); ++i) {
    ::usleep(100'000);
    const QueueView seen = view(*broker, "stuck");
    if (!seen.consumers.empty()) words = seen.consumers[0].stuck;
  }
  EXPECT_NE(words.find("all 5 messages"), std::string::npos);
}

TEST(Rabbit, a_queue_that_is_deleted_under_a_look_is_its_end) {
  server().declare("vanish");
  publish("vanish", 0, 3'000, 0);
  const auto broker = adapter();
  const auto window = broker->look(view(*broker, "vanish"), soon());
  ASSERT_TRUE(window.ok());
  Batch page;
  ASSERT_TRUE((*window)->next(page, soon()).ok());
  server().remove_queue("vanish");
  for (;;) {
    const auto more = (*window)->next(page, soon());
    ASSERT_TRUE(more.ok()) << more.error().message();
    if (!*more) break;
  }
}

TEST(Rabbit, a_queue_that_was_made_anew_since_the_look_keeps_its_messages) {
  for (const std::string kind : {"classic", "quorum"}) {
    SCOPED_TRACE(kind);
    const std::string queue = "anew-" + kind;
    server().declare(queue, R"({"x-queue-type":")" + kind + "\"}");
    publish(queue, 0, 200, 10);
    const auto broker = adapter();
    const auto seen = look(*broker, queue);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    server().remove_queue(queue);
    server().declare(queue, R"({"x-queue-type":")" + std::string(kind == "quorum" ? "classic" : "quorum") + "\"}");
    publish(queue, 1'000, 200, 10);
    const auto removed = remove(*broker, *seen, "exec-1");
    ASSERT_TRUE(removed.ok()) << removed.error().message();
    EXPECT_EQ(removed->removed, 0u);
    EXPECT_EQ(removed->gone, 20u);
    EXPECT_TRUE(removed->quarantined.empty());
    EXPECT_EQ(numbers(drain(queue)), range(1'000, 200, 0, false));
  }
}

TEST(Rabbit, a_message_of_100_MiB_is_looked_at_and_left) {
  server().declare("large");
  const std::string large = "{\"id\":\"ok_1\",\"x\":\"" + std::string(100u << 20, 'x') + "\"}";
  {
    const auto producer = client();
    ASSERT_TRUE(producer->publish("large", properties(1, 0), large, soon()).ok());
    ASSERT_TRUE(producer->confirmed(soon()).ok());
  }
  const auto broker = adapter();
  const auto seen = look(*broker, "large");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->order.size(), 1u);
  EXPECT_EQ(ready("large"), 1u);
  server().remove_queue("large");
}

TEST(Rabbit, an_alarm_in_the_middle_of_a_removal_leaves_everything_where_it_was_or_in_quarantine) {
  server().remove_queue("alarm.quarantine");
  server().declare("alarm");
  publish("alarm", 0, 400, 10);
  Looked seen;
  {
    const auto broker = adapter();
    auto looked = look(*broker, "alarm");
    ASSERT_TRUE(looked.ok()) << looked.error().message();
    seen = std::move(*looked);
    const auto snapshot = broker->read(seen.plan, seen.plan.messages, seen.content, soon());
    ASSERT_TRUE(snapshot.ok());
    const auto wave = [&](std::size_t first, std::size_t count, Millis time) {
      return broker->remove({.queue = seen.plan, .messages = std::span(*snapshot).subspan(first, count), .execution_id = "exec-a", .first_number = first}, Deadline::in(system_clock(), time));
    };
    ASSERT_TRUE(wave(0, 4, Millis(20'000)).ok());
    ASSERT_TRUE(server().control("set_vm_memory_high_watermark 0.0000001"));
    const auto blocked = wave(4, 36, Millis(2'000));
    ASSERT_FALSE(blocked.ok());
    EXPECT_EQ(blocked.error().code, Code::outcome_unknown) << blocked.error().message();
    await_ready("alarm", 396);
    EXPECT_EQ(ready("alarm"), 396u);
    const auto refused = look(*broker, "alarm");
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().detail.find("memory alarm"), std::string::npos) << refused.error().message();
  }
  ASSERT_TRUE(server().control("set_vm_memory_high_watermark 0.4"));
  for (int i = 0; i < 100 && server().api("GET", "/nodes?columns=mem_alarm").find("true") != std::string::npos; ++i) ::usleep(100'000);
  expect_finished("alarm", seen, "exec-a", 400, 10);
}

TEST(Rabbit, kill_9_of_the_broker_at_every_step_of_a_removal_loses_nothing) {
  for (const std::string kind : {"quorum", "classic"})
    for (const std::string step : {"published", "confirmed", "acknowledged", "released"}) {
      SCOPED_TRACE(kind + " " + step);
      // Names of their own: a quorum queue that is deleted and declared again within half a second of a crash never starts again (3.10).
      const std::string queue = "crash-" + kind + "-" + step;
      server().declare(queue, R"({"x-queue-type":")" + kind + "\"}");
      publish(queue, 0, 400, 10);
      Looked seen;
      {
        const auto broker = adapter([&](std::string_view now) {
          if (now == step) server().crash();
        });
        auto looked = look(*broker, queue);
        ASSERT_TRUE(looked.ok()) << looked.error().message();
        seen = std::move(*looked);
        ASSERT_FALSE(remove(*broker, seen, "exec-b").ok());
      }
      server().start();
      await_ready(queue, step == "acknowledged" ? 399 : step == "released" ? 360 : 400);
      server().await_policy(queue);
      // The broker may have forgotten a queue that was so young; then its originals were not acknowledged.
      if (client()->depth(queue + ".quarantine", soon()).ok()) server().await_policy(queue + ".quarantine");
      expect_finished(queue, seen, "exec-b", 400, 10);
    }
}

TEST(Rabbit, a_thousand_queues_are_measured_in_a_few_calls) {
  server().api("POST", "/definitions", [] {
    std::string queues;
    for (int i = 0; i < 1'000; ++i) queues += std::string(i == 0 ? "" : ",") + R"({"vhost":"/","name":"many-)" + std::to_string(i) + R"(","durable":true,"auto_delete":false,"arguments":{}})";
    return "{\"queues\":[" + queues + "]}";
  }());
  const auto broker = adapter();
  const Claim claim{"t", {.broker = "rabbit", .match = "many-*"}};
  const MonoTime start = system_clock().mono();
  const auto views = broker->discover(std::span(&claim, 1), soon());
  const Millis took = elapsed(start, system_clock().mono());
  ASSERT_TRUE(views.ok()) << views.error().message();
  EXPECT_EQ(views->size(), 1'000u);
  EXPECT_LT(took.count(), 10'000) << "even on a busy machine";
  RecordProperty("discover_ms", static_cast<int>(took.count()));
}

}  // namespace
}  // namespace claw
