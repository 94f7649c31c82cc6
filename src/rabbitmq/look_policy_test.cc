#include "rabbitmq/look_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rabbitmq/hold_counts.h"
#include "rabbitmq/url.h"
#include "testing/fault_disk.h"

namespace claw::rabbitmq {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

QueueFacts classic() { return {.name = "q", .kind = QueueKind::classic, .state = "running", .durable = true, .ready = 1'000, .bytes = 300'000}; }
QueueFacts quorum(std::optional<std::int64_t> limit) {
  QueueFacts out = classic();
  out.kind = QueueKind::quorum;
  out.delivery_limit = limit;
  return out;
}
BrokerFacts version(int major, int minor) { return {.version = std::to_string(major) + "." + std::to_string(minor) + ".0", .major = major, .minor = minor, .memory_free = 4ull << 30}; }
std::string refusal(const QueueFacts& queue) { return judge_look(queue, version(3, 10)).refusal; }

TEST(LookPolicy, allows_plain_queues) {
  EXPECT_THAT(refusal(classic()), IsEmpty());
  EXPECT_THAT(refusal(quorum(std::nullopt)), IsEmpty());
  EXPECT_THAT(refusal(quorum(20)), IsEmpty());
}

TEST(LookPolicy, refuses_with_the_reason) {
  const auto with = [](auto change) {
    QueueFacts queue = classic();
    change(queue);
    return refusal(queue);
  };
  EXPECT_THAT(with([](QueueFacts& q) { q.kind = QueueKind::unknown; }), HasSubstr("not known"));
  EXPECT_THAT(with([](QueueFacts& q) { q.state = "down"; }), HasSubstr("'down'"));
  EXPECT_THAT(with([](QueueFacts& q) { q.auto_delete = true; }), HasSubstr("auto-delete"));
  EXPECT_THAT(with([](QueueFacts& q) { q.exclusive = true; }), HasSubstr("exclusive"));
  EXPECT_THAT(with([](QueueFacts& q) { q.single_active = true, q.consumers = 1; }), HasSubstr("single active"));
  EXPECT_THAT(with([](QueueFacts& q) { q.message_ttl_ms = 5'000; }), HasSubstr("expire"));
  EXPECT_THAT(with([](QueueFacts& q) { q.max_length = 1'100; }), HasSubstr("length limit"));
  EXPECT_THAT(with([](QueueFacts& q) { q.max_bytes = 310'000; }), HasSubstr("length limit"));
  EXPECT_THAT(refusal(quorum(2)), HasSubstr("delivery limit is 2"));
  BrokerFacts alarmed = version(3, 10);
  alarmed.alarms = {"memory alarm on a"};
  EXPECT_THAT(judge_look(classic(), alarmed).refusal, HasSubstr("memory alarm"));
  EXPECT_THAT(judge_look(quorum(std::nullopt), BrokerFacts{}).refusal, HasSubstr("version"));
}

TEST(LookPolicy, does_not_refuse_what_is_harmless) {
  QueueFacts queue = classic();
  queue.single_active = true;  // but nobody consumes
  queue.max_length = 10'000;   // far away
  queue.message_ttl_ms = 3'600'000;
  EXPECT_THAT(refusal(queue), IsEmpty());
  queue.max_length = 1'000;
  queue.overflow = "reject-publish";  // refuses the new instead of dropping the old
  EXPECT_THAT(refusal(queue), IsEmpty());
}

TEST(LookPolicy, knows_that_4_has_a_delivery_limit_of_its_own) {
  EXPECT_EQ(delivery_limit(quorum(std::nullopt), version(3, 13)), std::nullopt);
  EXPECT_EQ(delivery_limit(quorum(std::nullopt), version(4, 0)), 20);
  EXPECT_EQ(delivery_limit(quorum(-1), version(4, 0)), std::nullopt);
  EXPECT_EQ(delivery_limit(classic(), version(4, 0)), std::nullopt);
  EXPECT_EQ(judge_look(quorum(std::nullopt), version(4, 1)).looks_left, 20u);
}

TEST(LookPolicy, holds_no_more_than_its_bounds_and_the_brokers_memory_allow) {
  QueueFacts queue = classic();
  queue.consumers = 1, queue.ack_rate = 10;
  EXPECT_EQ(hold_limits(queue, version(3, 10)).messages, 50'000u);
  queue.bytes = queue.ready << 20;  // a MiB each
  EXPECT_EQ(hold_limits(queue, version(3, 10)).messages, 128u);
  BrokerFacts small = version(3, 10);
  small.memory_free = 1 << 19;
  EXPECT_LT(hold_limits(classic(), small).messages, 100u);
  EXPECT_THAT(judge_look(classic(), small).refusal, HasSubstr("memory"));
}

TEST(LookPolicy, holds_all_of_a_long_queue_only_where_no_consumer_misses_it) {
  QueueFacts queue = classic();
  queue.ready = 800'000;
  queue.bytes = 240'000'000;
  const auto held = [&] { return hold_limits(queue, version(3, 10)).messages; };
  EXPECT_GE(held(), 760'000u);  // half of 4 GiB
  queue.consumers = 3;          // that acknowledge nothing
  EXPECT_GE(held(), 760'000u);
  queue.message_ttl_ms = 100'000;  // would end while so many are held
  EXPECT_EQ(held(), 50'000u);
  queue.message_ttl_ms.reset();
  queue.ack_rate = 5;
  const LookPromise promise = judge_look(queue, version(3, 10));
  EXPECT_FALSE(promise.sees_all);
  EXPECT_THAT(promise.caveat, HasSubstr("first 50,000 of 800,000"));
}

TEST(LookPolicy, holds_one_part_of_a_quorum_queue_that_has_consumers) {
  QueueFacts queue = quorum(60);
  queue.ready = 800'000;
  queue.bytes = 240'000'000;
  EXPECT_GE(hold_limits(queue, version(3, 10)).messages, 760'000u);
  queue.consumers = 1;  // that acknowledges nothing
  EXPECT_EQ(hold_limits(queue, version(3, 10)).messages, 65'535u);
}

TEST(HoldCounts, are_complete_only_with_a_file_and_survive_a_restart) {
  testing::FaultDisk disk;
  HoldCounts in_memory;
  ASSERT_TRUE(in_memory.add("orders").ok());
  EXPECT_EQ(in_memory.of("orders"), 1u);
  EXPECT_FALSE(in_memory.complete());
  Result<HoldCounts> counts = HoldCounts::open(disk, "/d/brokers/holds.json");
  ASSERT_TRUE(counts.ok()) << counts.error().message();
  EXPECT_TRUE(counts->complete());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(counts->add("orders").ok());
  ASSERT_TRUE(counts->add("no UTF-8: \xff").ok());
  counts = HoldCounts::open(disk, "/d/brokers/holds.json");
  ASSERT_TRUE(counts.ok()) << counts.error().message();
  EXPECT_EQ(counts->of("orders"), 3u);
  EXPECT_EQ(counts->of("other"), 0u);
  ASSERT_TRUE(counts->restart("orders").ok());
  EXPECT_EQ(HoldCounts::open(disk, "/d/brokers/holds.json")->of("orders"), 1u) << "the one under way";
  for (const char* text : {"{", "{\"holds\": 1}", "{\"holds\": [{\"queue\": 1}]}"}) {
    ASSERT_TRUE(disk.write_atomically("/d/holds.json", text, Mode::owner_only).ok());
    EXPECT_FALSE(HoldCounts::open(disk, "/d/holds.json").ok()) << text;
  }
}

TEST(LookPolicy, reads_a_stream_and_removes_nothing_from_it) {
  QueueFacts queue = classic();
  queue.kind = QueueKind::stream;
  const LookPromise promise = judge_look(queue, version(3, 10));
  EXPECT_THAT(promise.refusal, IsEmpty());
  EXPECT_EQ(promise.kind, LookKind::peek);
  EXPECT_THAT(promise.no_removal, HasSubstr("offset"));
}

TEST(LookPolicy, sets_nothing_aside_where_it_could_be_lost) {
  const BrokerFacts broker = version(3, 10);
  const auto with = [&](auto change) {
    QueueFacts queue = classic();
    queue.consumers = 0;
    change(queue);
    return refuse_quarantine(queue, broker);
  };
  EXPECT_THAT(with([](QueueFacts&) {}), IsEmpty());
  EXPECT_THAT(with([](QueueFacts& q) { q.durable = false; }), HasSubstr("durable"));
  EXPECT_THAT(with([](QueueFacts& q) { q.max_length = 1'000'000; }), HasSubstr("length limit"));
  EXPECT_THAT(with([](QueueFacts& q) { q.message_ttl_ms = 86'400'000; }), HasSubstr("expire"));
  EXPECT_THAT(with([](QueueFacts& q) { q.expires_ms = 86'400'000; }), HasSubstr("delete it by itself"));
  EXPECT_THAT(with([](QueueFacts& q) { q.consumers = 1; }), HasSubstr("consumers"));
  EXPECT_THAT(with([](QueueFacts& q) { q.kind = QueueKind::quorum, q.delivery_limit = 5; }), HasSubstr("delivery limit"));
}

TEST(Url, is_read_as_users_write_it) {
  const auto plain = parse_url("amqp://guest@127.0.0.1:5672/%2f");
  ASSERT_TRUE(plain.ok()) << plain.error().message();
  EXPECT_EQ(plain->vhost, "/");
  EXPECT_EQ(plain->user, "guest");
  EXPECT_EQ(plain->hosts[0].port, 5672);
  const auto many = parse_url("amqps://ops%40acme@a,b:5673,[::1]:99/tenants");
  ASSERT_TRUE(many.ok()) << many.error().message();
  EXPECT_TRUE(many->tls.has_value());
  EXPECT_EQ(many->user, "ops@acme");
  ASSERT_EQ(many->hosts.size(), 3u);
  EXPECT_EQ(many->hosts[0].port, 5671);
  EXPECT_EQ(many->hosts[2].name, "::1");
  EXPECT_EQ(many->vhost, "tenants");
  EXPECT_EQ(parse_url("amqp://h")->vhost, "/");
}

TEST(Url, that_is_wrong_says_so_without_showing_a_password) {
  for (const char* url : {"http://h", "amqp://", "amqp://h:0", "amqp://h:70000", "amqp://h:x", "amqp://u@", "amqp://h/a/b", "amqp://h/%zz", "amqp://a,,b", "amqp://[::1", "amqp://%@h"})
    EXPECT_FALSE(parse_url(url).ok()) << url;
  const auto secret = parse_url("amqp://u:hunter2@h");
  ASSERT_FALSE(secret.ok());
  EXPECT_EQ(secret.error().message().find("hunter2"), std::string::npos);
}

TEST(Url, percent_encodes_what_a_path_cannot_hold) { EXPECT_EQ(percent_encode("/a b.c-_é"), "%2Fa%20b.c-_%C3%A9"); }

}  // namespace
}  // namespace claw::rabbitmq
