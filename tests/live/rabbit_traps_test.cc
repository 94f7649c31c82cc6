// The traps of RabbitMQ, each walked into the obvious way first, which must lose, double or reorder (or the test shows nothing), and
// then our way. The delivery limit's is in rabbit_test: looks_at_a_delivery_limit_end_no_message.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "rabbitmq/hold.h"
#include "tests/live/rabbit_world.h"

namespace claw {
namespace {

using namespace live;

void naive(const std::string& way, const std::string& queue, const std::string& more = "") {
  const std::string command = fmt::format("/usr/bin/python3 {}/tests/live/rabbit_naive.py {} {} {} {}", CLAW_SOURCE_DIR, server().port(), way, queue, more);
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

void await_gone(const std::string& queue) {
  for (int i = 0; i < 400 && ready(queue) > 0; ++i) ::usleep(25'000);
}

std::string refusal(const std::string& queue) {
  const auto broker = adapter();
  const auto seen = look(*broker, queue);
  return seen ? "" : seen.error().detail;
}

// As a look: the head of the queue, given back by closing the channel.
void hold_and_release(const std::string& queue, const rabbitmq::HoldLimits& limits) {
  const std::uint64_t before = ready(queue);
  Result<rabbitmq::Endpoint> endpoint = rabbitmq::parse_url(server().url());
  rabbitmq::Session session("rabbit", std::move(*endpoint), nullptr, system_clock(), 65'535, {});
  const auto hold = rabbitmq::Hold::open(session, queue, limits, std::nullopt, soon());
  ASSERT_TRUE(hold.ok()) << hold.error().message();
  for (rabbitmq::Held held; *(*hold)->next(held, soon());) {
  }
  EXPECT_EQ((*hold)->taken(), limits.messages);
  ASSERT_TRUE((*hold)->release(soon()).ok());
  await_ready(queue, before);
}

TEST(RabbitTraps, what_is_returned_by_nack_to_a_quorum_queue_goes_behind_the_rest_what_we_return_keeps_its_place) {
  server().declare("t-order", R"({"x-queue-type":"quorum"})");
  publish("t-order", 0, 200, 0);
  naive("nack-half", "t-order");
  await_ready("t-order", 200);
  ASSERT_NE(numbers(drain("t-order")), range(0, 200, 0, false));

  publish("t-order", 0, 200, 0);
  hold_and_release("t-order", {.messages = 100});
  EXPECT_EQ(numbers(drain("t-order")), range(0, 200, 0, false));
}

TEST(RabbitTraps, a_shorter_hold_after_a_longer_one_is_overtaken_on_a_quorum_queue_ours_goes_on_until_it_is_not) {
  server().declare("t-short", R"({"x-queue-type":"quorum"})");
  const auto order = [](bool quorum) {
    publish("t-short", 0, 1'000, 0);
    hold_and_release("t-short", {.messages = 700, .quorum = quorum});
    hold_and_release("t-short", {.messages = 100, .quorum = quorum});
    return numbers(drain("t-short"));
  };
  EXPECT_NE(order(false), range(0, 1'000, 0, false));
  EXPECT_EQ(order(true), range(0, 1'000, 0, false));
}

TEST(RabbitTraps, a_shovel_into_a_queue_with_a_limit_loses_what_does_not_fit_we_refuse_such_a_quarantine) {
  server().declare("t-capped");
  server().declare("t-capped.quarantine", R"({"x-max-length":1000})");
  publish("t-capped", 0, 5'000, 0);
  server().api("PUT", "/parameters/shovel/%2F/t-capped",
               fmt::format(R"({{"value":{{"src-protocol":"amqp091","src-uri":"{0}","src-queue":"t-capped","src-delete-after":"queue-length","dest-protocol":"amqp091","dest-uri":"{0}","dest-queue":"t-capped.quarantine"}}}})",
                           server().url()));
  await_gone("t-capped");
  ::usleep(300'000);
  ASSERT_EQ(ready("t-capped"), 0u);
  ASSERT_LE(ready("t-capped.quarantine"), 1'000u);  // 4,000 are nowhere

  drain("t-capped.quarantine");
  publish("t-capped", 0, 500, 50);
  const auto broker = adapter();
  const auto seen = look(*broker, "t-capped");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  const auto removed = remove(*broker, *seen, "exec-t");
  ASSERT_FALSE(removed.ok());
  EXPECT_NE(removed.error().detail.find("length limit"), std::string::npos) << removed.error().message();
  EXPECT_EQ(numbers(drain("t-capped")), range(0, 500, 0, false));
}

TEST(RabbitTraps, messages_whose_time_ends_while_they_are_held_vanish_we_do_not_hold_such) {
  server().declare("t-ttl", R"({"x-message-ttl":2000})");
  publish("t-ttl", 0, 50, 0);
  naive("hold", "t-ttl", "50");
  await_ready("t-ttl", 1);
  ASSERT_EQ(ready("t-ttl"), 0u);

  EXPECT_NE(refusal("t-ttl").find("expire"), std::string::npos);
}

TEST(RabbitTraps, a_queue_that_drops_its_head_drops_what_was_held_we_do_not_hold_near_its_limit) {
  server().declare("t-drop", R"({"x-max-length":1000})");
  publish("t-drop", 0, 1'000, 0);
  naive("hold", "t-drop", "1000 500");
  await_ready("t-drop", 1'000);
  const std::vector<int> left = numbers(drain("t-drop"));
  ASSERT_EQ(left.size(), 1'000u);
  ASSERT_EQ(left.front(), 500);  // the oldest 500 are nowhere

  publish("t-drop", 0, 1'000, 0);
  await_told("t-drop", 1'000);
  EXPECT_NE(refusal("t-drop").find("length limit"), std::string::npos);
  EXPECT_EQ(numbers(drain("t-drop")), range(0, 1'000, 0, false));
}

void publish_one(const std::string& queue, const std::string& headers_of_pika) {
  const std::string script = fmt::format(
      "import pika; c = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', {})); ch = c.channel(); ch.confirm_delivery(); "
      "ch.basic_publish('', '{}', b'{{\\\"v\\\":1,\\\"transaction_id\\\": broken_7\\\"}}', pika.BasicProperties(delivery_mode=2, headers={}))",
      server().port(), queue, headers_of_pika);
  ASSERT_EQ(std::system(("/usr/bin/python3 -c \"" + script + "\"").c_str()), 0);
}

TEST(RabbitTraps, a_message_put_back_with_its_x_death_is_dropped_as_a_cycle_ours_goes_on) {
  const std::string died = "{'x-death': [{'count': 1, 'reason': 'expired', 'queue': 't-delay', 'exchange': '', 'routing-keys': ['t-delay']}]}";
  for (const bool ours : {false, true}) {
    const std::string queue = ours ? "t-cycle-ours" : "t-cycle-naive";
    server().declare("t-delay");
    server().declare(queue);
    publish_one(queue, died);
    // From now on what waits too long goes to where this message came from.
    const auto begin_delays = [&] {
      server().api("PUT", "/policies/%2F/" + queue, fmt::format(R"({{"pattern":"^{}$","definition":{{"message-ttl":1000,"dead-letter-exchange":"","dead-letter-routing-key":"t-delay"}},"apply-to":"queues"}})", queue));
      for (int n = 0; n < 200 && server().api("GET", "/queues/%2F/" + queue + "?columns=policy").find(queue) == std::string::npos; ++n) ::usleep(50'000);
    };
    if (ours) {
      remove_and_restore(queue, 1, begin_delays);
    } else {
      begin_delays();
      naive("replay", queue);
    }
    await_gone(queue);
    await_ready("t-delay", ours ? 1 : 0);
    ::usleep(200'000);
    EXPECT_EQ(ready(queue), 0u);
    if (ours) EXPECT_EQ(ready("t-delay"), 1u);
    else ASSERT_EQ(ready("t-delay"), 0u);  // nowhere
  }
}

TEST(RabbitTraps, a_message_put_back_with_its_CC_is_copied_again_ours_is_not) {
  for (const bool ours : {false, true}) {
    const std::string queue = ours ? "t-cc-ours" : "t-cc-naive";
    server().declare("t-copy");
    server().declare(queue);
    publish_one(queue, "{'CC': ['t-copy']}");
    await_ready("t-copy", 1);
    drain("t-copy");
    if (ours) remove_and_restore(queue, 1);
    else naive("replay", queue);
    EXPECT_EQ(ready(queue), 1u);
    if (ours) EXPECT_EQ(ready("t-copy"), 0u);
    else ASSERT_EQ(ready("t-copy"), 1u);  // delivered a second time
  }
}

TEST(RabbitTraps, an_auto_delete_queue_goes_with_the_consumer_that_looked_we_do_not_look) {
  const auto declare = [] {
    server().api("PUT", "/queues/%2F/t-auto", R"({"durable":true,"auto_delete":true,"arguments":{}})");
    server().await_policy("t-auto");
    publish("t-auto", 0, 20, 0);
  };
  declare();
  naive("subscribe", "t-auto");
  ASSERT_FALSE(client()->depth("t-auto", soon()).ok());

  declare();
  EXPECT_NE(refusal("t-auto").find("auto-delete"), std::string::npos);
  EXPECT_EQ(ready("t-auto"), 20u);
}

}  // namespace
}  // namespace claw
