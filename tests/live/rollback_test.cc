// Messages come back to where they were, on a real Redis: between their neighbours in a list, under their old ids in a stream.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <thread>

#include "agent/agent.h"
#include "redis/adapter.h"
#include "redis/connection.h"
#include "redis/url.h"
#include "testing/redis_server.h"

namespace claw {
namespace {

Deadline soon() { return Deadline::in(system_clock(), Millis(30'000)); }

std::string body(int i) { return "{\"n\":" + std::to_string(i) + "}"; }

// A broker over one server, and what a plan, a snapshot and a removal of one queue are made of.
class Rollback : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = redis::open_redis({.name = "r", .url = server.url()}, system_clock(), soon());
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    broker = std::move(*opened);
    const Result<redis::Entry> entry = redis::parse_url(server.url());
    auto connected = redis::Connection::open(entry->seeds.front(), system_clock(), soon());
    ASSERT_TRUE(connected.ok());
    connection = std::move(*connected);
  }

  redis::Reply call(std::vector<std::string> words) {
    std::vector<std::string_view> views(words.begin(), words.end());
    Result<redis::Reply> reply = connection->call(views, soon());
    EXPECT_TRUE(reply.ok()) << words[0] << ": " << reply.error().message();
    return std::move(*reply);
  }

  // Many at once.
  void pipeline(const std::vector<std::vector<std::string>>& commands) {
    for (const auto& words : commands) {
      std::vector<std::string_view> views(words.begin(), words.end());
      connection->send(views);
    }
    for (std::size_t i = 0; i < commands.size(); ++i) ASSERT_TRUE(connection->receive(soon()).ok());
  }

  // Plans the messages at these places of a look, and reads them.
  void plan(const std::string& name, QueueType type, const std::set<int>& numbers) {
    std::vector<Claim> claims = {{"t", {.broker = "r", .match = name, .processing = "", .dead = ""}}};
    auto views = broker->discover(claims, soon());
    ASSERT_TRUE(views.ok()) << views.error().message();
    ASSERT_EQ(views->size(), 1u);
    queue = {.queue = {"r", name}, .type = type, .entries = views->front().entries, .quarantine = broker->quarantine_name({"r", name}), .messages = {}};
    auto window = broker->look(views->front(), soon());
    ASSERT_TRUE(window.ok());
    ContentByKey known;
    int at = 0;
    for (Batch page;;) {
      auto more = (*window)->next(page, soon());
      ASSERT_TRUE(more.ok()) << more.error().message();
      if (!*more) break;
      for (const Batch::Entry& entry : page.entries()) {
        if (!numbers.contains(at++)) continue;
        std::string id = std::to_string(entry.key.high) + "-" + std::to_string(entry.key.low);
        if (type == QueueType::list) {
          char digest[17];
          std::snprintf(digest, sizeof digest, "%016lx", short_digest(page.fields(entry)));
          id = "list:" + std::to_string(entry.key.high) + "@" + digest;
        }
        queue.messages.push_back({.id = id, .key = entry.key});
      }
    }
    auto read = broker->read(queue, queue.messages, known, soon());
    ASSERT_TRUE(read.ok()) << read.error().message();
    messages = std::move(*read);
    ASSERT_EQ(messages.size(), numbers.size());
  }
  void remove(const std::string& name, QueueType type, const std::set<int>& numbers) {
    ASSERT_NO_FATAL_FAILURE(plan(name, type, numbers));
    const auto removals = broker->remove({.queue = queue, .messages = messages, .execution_id = "queue_remediation_1"}, soon());
    ASSERT_TRUE(removals.ok()) << removals.error().message();
    for (const Removal& removal : *removals) ASSERT_EQ(removal.fate, Fate::removed);
  }

  RestoreRequest request(RestoreOrder wanted = RestoreOrder::exact, ListEnd end = ListEnd::tail) const {
    return {.queue = queue.queue, .type = queue.type, .execution_id = "queue_remediation_1", .quarantine = queue.quarantine, .messages = messages,
            .takes_from = end, .wanted = wanted};
  }

  RestoreOutcome restore(const RestoreRequest& request) {
    auto outcome = broker->restore(request, soon());
    EXPECT_TRUE(outcome.ok()) << outcome.error().message();
    return outcome.ok() ? *outcome : RestoreOutcome{};
  }

  std::vector<std::string> list(const std::string& name) {
    const redis::Reply reply = call({"LRANGE", name, "0", "-1"});
    std::vector<std::string> out;
    redis::Reply::View value = reply.root().first();
    for (std::size_t i = 0; i < reply.root().size(); ++i, value = value.next()) out.emplace_back(value.text());
    return out;
  }
  void fill_list(const std::string& name, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string value = body(i);
      connection->send({"RPUSH", name, value});
    }
    for (int i = 0; i < count; ++i) ASSERT_TRUE(connection->receive(soon()).ok());
  }
  void fill_stream(const std::string& name, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string id = std::to_string(1000 + i) + "-0", value = body(i);
      connection->send({"XADD", name, id, "b", value, "k", "v"});
    }
    for (int i = 0; i < count; ++i) ASSERT_TRUE(connection->receive(soon()).ok());
  }
  std::string raw(std::vector<std::string> words) { return server.command(words); }
  void expect_no_side_keys() { EXPECT_EQ(raw({"KEYS", "*deployclaw-*"}), "*0\r\n"); }

  const testing::RedisServer server;
  std::unique_ptr<Broker> broker;
  std::unique_ptr<redis::Connection> connection;
  PlannedQueue queue;
  std::vector<Message> messages;
};

TEST_F(Rollback, of_a_list_puts_chains_heads_and_tails_back_where_they_were) {
  fill_list("l", 3'000);
  const auto before = list("l");
  std::set<int> numbers = {0, 1, 2, 7, 9, 1500, 1501, 1502, 1503, 2998, 2999};
  for (int i = 100; i < 2'900; i += 25) numbers.insert(i);
  remove("l", QueueType::list, numbers);
  ASSERT_EQ(list("l").size(), before.size() - numbers.size());
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, numbers.size());
  EXPECT_EQ(out.in_place, numbers.size()) << out.why_not_exact;
  EXPECT_EQ(out.achieved, RestoreOrder::exact) << out.why_not_exact;
  EXPECT_EQ(list("l"), before);
  EXPECT_EQ(restore(request()).restored, 0u);
  EXPECT_EQ(list("l"), before);
}

TEST_F(Rollback, of_a_list_finds_the_places_after_pushes_at_one_end_and_pops_at_the_other) {
  fill_list("l", 9'000);
  auto expected = list("l");
  std::set<int> numbers;
  for (int i = 20; i < 8'990; i += 40) numbers.insert(i);
  remove("l", QueueType::list, numbers);
  std::vector<std::vector<std::string>> traffic;
  for (int i = 0; i < 700; ++i) traffic.insert(traffic.end(), {{"LPUSH", "l", "new" + std::to_string(i)}, {"RPOP", "l"}});
  pipeline(traffic);
  // What was removed of the consumed part has no neighbours any more: it goes where consumers take, the oldest first.
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, numbers.size());
  EXPECT_GE(out.in_place, numbers.size() - 30);
  EXPECT_EQ(out.achieved, RestoreOrder::tail);
  EXPECT_NE(out.why_not_exact.find("where consumers take"), std::string::npos) << out.why_not_exact;
  const auto now = list("l");
  std::vector<std::string> old;
  for (const std::string& value : now)
    if (value[0] == '{') old.push_back(value);
  std::vector<std::string> consumed_restored, remaining;
  std::size_t kept = 0;
  while (kept < old.size() && old[kept] == expected[kept]) ++kept;
  EXPECT_GT(kept, 8'200u);  // in place up to where the consumer had come
  for (std::size_t i = kept; i < old.size(); ++i) EXPECT_TRUE(i == kept || std::stoi(old[i].substr(5)) > std::stoi(old[i - 1].substr(5)));
}

TEST_F(Rollback, of_a_list_goes_to_the_end_that_consumers_take_from_where_no_neighbour_is_left) {
  fill_list("l", 10);
  remove("l", QueueType::list, {3, 5});
  call({"DEL", "l"});
  call({"RPUSH", "l", "x", "y"});
  const RestoreOutcome out = restore(request(RestoreOrder::exact, ListEnd::head));
  EXPECT_EQ(out.restored, 2u);
  EXPECT_EQ(out.achieved, RestoreOrder::tail);
  EXPECT_EQ(list("l"), (std::vector<std::string>{body(3), body(5), "x", "y"}));
}

TEST_F(Rollback, of_a_list_with_equal_bodies_says_that_places_look_alike) {
  for (int i = 0; i < 200; ++i) call({"RPUSH", "l", "ping"});
  call({"RPUSH", "l", "bad"});
  const auto before = list("l");
  remove("l", QueueType::list, {40});
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, 1u);
  EXPECT_EQ(out.achieved, RestoreOrder::tail) << "a place among equals is not known to be the old one";
  auto now = list("l"), sorted = before;
  std::sort(now.begin(), now.end());
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(now, sorted);
}

// A budget of 1 ms stands for a list that is 25 times as long.
TEST_F(Rollback, list_entries_beyond_the_budget_are_too_deep_left_alone_and_reached_when_the_list_has_shrunk) {
  fill_list("l", 28'000);
  std::set<int> numbers = {10, 11, 27'990};
  for (int i = 13'900; i < 14'100; i += 20) numbers.insert(i);
  ASSERT_NO_FATAL_FAILURE(plan("l", QueueType::list, numbers));
  EXPECT_EQ(broker->out_of_reach(queue, Millis(1)), 10u);
  EXPECT_EQ(broker->out_of_reach(queue, Millis(25)), 0u);
  const auto before = list("l");
  const auto removals = broker->remove({.queue = queue, .messages = messages, .execution_id = "queue_remediation_1", .first_number = 0, .block_budget = Millis(1)}, soon());
  ASSERT_TRUE(removals.ok());
  std::size_t deep = 0, removed = 0;
  for (const Removal& removal : *removals) {
    deep += removal.fate == Fate::too_deep;
    removed += removal.fate == Fate::removed;
  }
  EXPECT_EQ(deep, 10u);
  EXPECT_EQ(removed, 3u);
  EXPECT_EQ(list("l").size(), before.size() - 3);
  call({"LTRIM", "l", "13000", "-1"});
  const auto later = broker->remove({.queue = queue, .messages = messages, .execution_id = "queue_remediation_1", .first_number = 0, .block_budget = Millis(1)}, soon());
  ASSERT_TRUE(later.ok());
  for (const Removal& removal : *later) EXPECT_EQ(removal.fate, Fate::removed);
  EXPECT_EQ(list("l").size(), before.size() - 13 - 13'000);
}

TEST_F(Rollback, of_a_stream_is_equal_to_the_stream_before_with_groups_pending_entries_and_expiry) {
  fill_stream("s", 5'000);
  call({"XGROUP", "CREATE", "s", "ahead", "0"});
  call({"XGROUP", "CREATE", "s", "behind", "0"});
  call({"XREADGROUP", "GROUP", "ahead", "c1", "COUNT", "3000", "STREAMS", "s", ">"});
  call({"XREADGROUP", "GROUP", "behind", "c2", "COUNT", "100", "STREAMS", "s", ">"});
  std::vector<std::vector<std::string>> acks;
  for (int i = 0; i < 3'000; ++i)
    if (i % 10 != 3) acks.push_back({"XACK", "s", "ahead", std::to_string(1000 + i) + "-0"});
  pipeline(acks);
  call({"XCLAIM", "s", "ahead", "c9", "0", "1003-0", "RETRYCOUNT", "7"});
  call({"PEXPIREAT", "s", "4000000000000"});
  const std::string before = raw({"XRANGE", "s", "-", "+"}), groups = raw({"XPENDING", "s", "ahead"});
  std::set<int> numbers;
  for (int i = 3; i < 5'000; i += 10) numbers.insert(i);
  remove("s", QueueType::stream, numbers);
  EXPECT_NE(raw({"XRANGE", "s", "-", "+"}), before);

  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, 500u);
  EXPECT_EQ(out.in_place, 500u);
  EXPECT_EQ(out.achieved, RestoreOrder::exact) << out.why_not_exact;
  EXPECT_EQ(raw({"XRANGE", "s", "-", "+"}), before);
  EXPECT_EQ(raw({"XPENDING", "s", "ahead"}), groups);
  EXPECT_NE(raw({"XPENDING", "s", "ahead", "1003-0", "1003-0", "1"}).find("$2\r\nc9\r\n"), std::string::npos);
  EXPECT_NE(raw({"XPENDING", "s", "ahead", "1003-0", "1003-0", "1"}).find(":7\r\n"), std::string::npos);
  EXPECT_EQ(raw({"PEXPIRETIME", "s"}), ":4000000000000\r\n");
  // What a group had not been given it gets now, what it had acknowledged it does not.
  EXPECT_NE(raw({"XREADGROUP", "GROUP", "behind", "c2", "COUNT", "10", "STREAMS", "s", ">"}).find("1103-0"), std::string::npos);
  EXPECT_NE(raw({"XREADGROUP", "GROUP", "ahead", "c1", "COUNT", "1", "STREAMS", "s", ">"}).find("4000-0"), std::string::npos);
  EXPECT_EQ(raw({"EXISTS", queue.quarantine}), ":0\r\n");
  expect_no_side_keys();
}

TEST_F(Rollback, of_a_stream_follows_what_is_added_acknowledged_deleted_and_trimmed_meanwhile) {
  fill_stream("s", 20'000);
  call({"XGROUP", "CREATE", "s", "g", "0"});
  call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "12000", "STREAMS", "s", ">"});
  std::vector<std::vector<std::string>> acks;
  for (int i = 0; i < 12'000; ++i)
    if (i < 6'000 || i % 40 != 7) acks.push_back({"XACK", "s", "g", std::to_string(1000 + i) + "-0"});
  pipeline(acks);
  std::set<int> numbers;
  for (int i = 6'007; i < 12'000; i += 40) numbers.insert(i);
  remove("s", QueueType::stream, numbers);
  // At each step of the rebuild: one is added, one read, one acknowledged, one deleted, the oldest trimmed.
  int step = 0;
  RestoreRequest wanted = request();
  wanted.before = [&](std::string_view) -> Status {
    ++step;
    call({"XADD", "s", std::to_string(100'000 + step) + "-0", "b", "new" + std::to_string(step)});
    call({"XREADGROUP", "GROUP", "g", "c2", "COUNT", "2", "STREAMS", "s", ">"});
    call({"XACK", "s", "g", std::to_string(12'998 + 2 * step) + "-0"});
    call({"XDEL", "s", std::to_string(1'500 + step) + "-0"});
    call({"XTRIM", "s", "MINID", std::to_string(1'000 + step) + "-0"});
    return {};
  };
  // What the stream is before the swap is what it must be after it, and the messages besides.
  const RestoreOutcome out = restore(wanted);
  EXPECT_GT(step, 5);
  EXPECT_EQ(out.restored, numbers.size());
  EXPECT_EQ(out.achieved, RestoreOrder::exact) << out.why_not_exact;
  const std::string now = raw({"XRANGE", "s", "-", "+"});
  const auto has = [&](int id) { return now.find("\r\n" + std::to_string(id) + "-0\r\n") != std::string::npos; };
  for (int i = 1; i <= step; ++i) EXPECT_TRUE(has(100'000 + i)) << "added at step " << i;
  for (int i = 1; i <= step; ++i) EXPECT_FALSE(has(1'500 + i)) << "deleted at step " << i << " and is back";
  EXPECT_FALSE(has(1'000 + step - 1)) << "was trimmed and is back";
  EXPECT_TRUE(has(1'000 + step)) << "was not trimmed";
  for (const int i : numbers) EXPECT_TRUE(has(1'000 + i));
  EXPECT_EQ(raw({"XLEN", "s"}), ":" + std::to_string(20'000 - 2 * step + step) + "\r\n");
  // The poison pending again, and what was read and not acknowledged.
  const redis::Reply pending = call({"XPENDING", "s", "g"});
  EXPECT_EQ(pending.root().first().integer(), static_cast<std::int64_t>(numbers.size()) + step);
  expect_no_side_keys();
}

TEST_F(Rollback, of_a_stream_serves_a_consumer_that_was_blocked_on_it_all_the_time) {
  fill_stream("s", 2'000);
  call({"XGROUP", "CREATE", "s", "g", "0"});
  call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "2000", "STREAMS", "s", ">"});
  remove("s", QueueType::stream, {500, 600, 700});
  std::string got;
  std::jthread blocked([&] { got = server.command({"XREADGROUP", "GROUP", "g", "late", "BLOCK", "20000", "COUNT", "1", "STREAMS", "s", ">"}); });
  for (int i = 0; i < 400 && raw({"INFO", "clients"}).find("blocked_clients:1") == std::string::npos; ++i) system_clock().sleep(Millis(10));
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.achieved, RestoreOrder::exact) << out.why_not_exact;
  EXPECT_EQ(out.restored, 3u);
  EXPECT_NE(raw({"INFO", "clients"}).find("blocked_clients:1"), std::string::npos) << "the consumer was thrown out: " << got;
  call({"XADD", "s", "9000-0", "b", "fresh"});
  blocked.join();
  EXPECT_NE(got.find("fresh"), std::string::npos) << got;
}

TEST_F(Rollback, of_a_stream_gives_a_message_to_the_group_that_went_past_its_place) {
  fill_stream("s", 1'000);
  call({"XGROUP", "CREATE", "s", "g", "0"});
  call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "100", "NOACK", "STREAMS", "s", ">"});
  remove("s", QueueType::stream, {200, 800});
  call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "400", "NOACK", "STREAMS", "s", ">"});
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, 2u);
  EXPECT_EQ(out.in_place, 1u);
  EXPECT_EQ(out.achieved, RestoreOrder::tail);
  EXPECT_NE(out.why_not_exact.find("past"), std::string::npos) << out.why_not_exact;
  const std::string rest = raw({"XREADGROUP", "GROUP", "g", "c", "COUNT", "1000", "NOACK", "STREAMS", "s", ">"});
  EXPECT_NE(rest.find(body(200)), std::string::npos);
  EXPECT_NE(rest.find(body(800)), std::string::npos);
}

TEST_F(Rollback, of_a_stream_with_too_much_pending_falls_back_to_the_tail_and_says_why) {
  fill_stream("s", 6'000);
  call({"XGROUP", "CREATE", "s", "g", "0"});
  call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "6000", "STREAMS", "s", ">"});
  remove("s", QueueType::stream, {10, 20});
  const RestoreOutcome out = restore(request());
  EXPECT_EQ(out.restored, 2u);
  EXPECT_EQ(out.achieved, RestoreOrder::tail);
  EXPECT_NE(out.why_not_exact.find("pending"), std::string::npos) << out.why_not_exact;
  const redis::Reply pending = call({"XPENDING", "s", "g"});
  EXPECT_EQ(pending.root().first().integer(), 6'000);
  expect_no_side_keys();
}

TEST_F(Rollback, leaves_foreign_and_changed_quarantine_entries_where_they_are) {
  fill_stream("s", 100);
  remove("s", QueueType::stream, {10, 20, 30});
  const redis::Reply held = call({"XRANGE", queue.quarantine, "-", "+"});
  call({"XDEL", queue.quarantine, std::string(held.root().first().first().text())});
  call({"XADD", queue.quarantine, "*", "exec", "queue_remediation_1", "n", "0", "id", "1010-0", "groups", "", "b", "forged"});
  call({"XADD", queue.quarantine, "*", "exec", "queue_remediation_1", "n", "99", "id", "1-0", "groups", "", "b", "foreign"});
  call({"XADD", queue.quarantine, "*", "exec", "queue_remediation_1"});
  call({"XADD", queue.quarantine, "*", "exec", "queue_remediation_2", "n", "0", "id", "1-0", "groups", "", "b", "of another"});
  for (const RestoreOrder order : {RestoreOrder::exact, RestoreOrder::tail}) {
    const RestoreOutcome out = restore(request(order));
    EXPECT_EQ(out.restored, order == RestoreOrder::exact ? 2u : 0u);
    EXPECT_EQ(out.foreign, 3u);
    EXPECT_EQ(raw({"XLEN", queue.quarantine}), ":4\r\n");
  }
  const std::string now = raw({"XRANGE", "s", "-", "+"});
  EXPECT_EQ(now.find("forged"), std::string::npos);
  EXPECT_EQ(now.find("foreign"), std::string::npos);
  EXPECT_EQ(raw({"XLEN", "s"}), ":99\r\n");
}

TEST_F(Rollback, cut_off_before_any_step_is_finished_by_the_next_and_leaves_no_side_key) {
  for (const QueueType type : {QueueType::stream, QueueType::list}) {
    for (int stop = 1; stop < 40; ++stop) {
      call({"FLUSHALL"});
      type == QueueType::stream ? fill_stream("q", 900) : fill_list("q", 900);
      if (type == QueueType::stream) {
        call({"XGROUP", "CREATE", "q", "g", "0"});
        call({"XREADGROUP", "GROUP", "g", "c", "COUNT", "500", "STREAMS", "q", ">"});
      }
      const std::string read = type == QueueType::stream ? "XRANGE" : "LRANGE", from = type == QueueType::stream ? "-" : "0", to = type == QueueType::stream ? "+" : "-1";
      const std::string before = raw({read, "q", from, to});
      std::set<int> numbers;
      for (int i = 0; i < 900; i += 9) numbers.insert(i);
      remove("q", type, numbers);
      int step = 0;
      RestoreRequest wanted = request();
      wanted.before = [&](std::string_view) -> Status { return ++step == stop ? Status(make_error(Code::refused, "test", "stop")) : Status(); };
      const auto cut = broker->restore(wanted, soon());
      const RestoreOutcome out = restore(request());
      ASSERT_EQ(raw({read, "q", from, to}), before) << "stopped at step " << stop << ": " << out.why_not_exact;
      expect_no_side_keys();
      if (cut.ok()) {
        EXPECT_GT(stop, 1);
        break;
      }
    }
  }
}

}  // namespace
}  // namespace claw
