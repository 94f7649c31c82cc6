#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/events.h"
#include "api/gate.h"
#include "api/operations.h"
#include "api/shapes.h"
#include "testing/sim_clock.h"

namespace claw::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

http::Request asked(const std::string& method, std::vector<std::string> path, http::Headers headers) {
  http::Request r;
  r.method = method;
  r.path = std::move(path);
  r.headers = std::move(headers);
  r.peer.uid = 1000;
  return r;
}
int gate(const http::Request& r) {
  const auto refused = admit(r, {.address = "127.0.0.1:7433", .own_uid = 1000});
  return refused ? refused->status : 200;
}

TEST(Gate, lets_the_agents_user_and_root_in_and_nobody_else) {
  http::Request r = asked("GET", {"api", "v1", "status"}, {{"host", "127.0.0.1:7433"}});
  EXPECT_EQ(gate(r), 200);
  r.peer.uid = 0;
  EXPECT_EQ(gate(r), 200);
  r.peer.uid = 1001;
  EXPECT_EQ(gate(r), 403);
  r.peer.uid = std::nullopt;
  EXPECT_EQ(gate(r), 403);
  r.path = {"metrics"};
  EXPECT_EQ(gate(r), 200);
}

TEST(Gate, knows_its_own_names_only) {
  for (const char* host : {"127.0.0.1:7433", "localhost:7433", "[::1]:7433"}) EXPECT_EQ(gate(asked("GET", {"healthz"}, {{"host", host}})), 200) << host;
  for (const char* host : {"evil.example", "evil.example:7433", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:7433.evil.example"}) EXPECT_EQ(gate(asked("GET", {"healthz"}, {{"host", host}})), 421) << host;
}

TEST(Gate, refuses_other_sites_except_for_a_link_to_a_page) {
  const http::Headers ours = {{"host", "localhost:7433"}};
  const auto with = [&](http::Headers more) { more.insert(more.end(), ours.begin(), ours.end()); return more; };
  EXPECT_EQ(gate(asked("POST", {"api"}, with({{"origin", "http://localhost:7433"}, {"content-type", "application/json"}}))), 200);
  EXPECT_EQ(gate(asked("POST", {"api"}, with({{"origin", "http://evil.example"}, {"content-type", "application/json"}}))), 403);
  EXPECT_EQ(gate(asked("POST", {"api"}, with({{"origin", "null"}, {"content-type", "application/json"}}))), 403);
  EXPECT_EQ(gate(asked("POST", {"api"}, with({{"content-type", "text/plain"}}))), 415);
  EXPECT_EQ(gate(asked("GET", {"plans", "1"}, with({{"sec-fetch-site", "cross-site"}, {"sec-fetch-mode", "navigate"}}))), 200);
  EXPECT_EQ(gate(asked("GET", {"api", "v1", "plans"}, with({{"sec-fetch-site", "cross-site"}, {"sec-fetch-mode", "navigate"}}))), 403);
  EXPECT_EQ(gate(asked("GET", {"plans"}, with({{"sec-fetch-site", "same-site"}, {"sec-fetch-mode", "no-cors"}}))), 403);
}

std::string pulled(http::Feed& feed) {
  std::string out;
  feed.pull(out);
  return out;
}

TEST(Events, replay_after_the_last_id_and_nothing_before_it) {
  Events events("e1", [] {});
  for (int i = 1; i <= 5; ++i) events.publish("n", std::to_string(i));
  auto feed = events.follow("e1-3", "{}");
  const std::string text = pulled(*feed);
  EXPECT_THAT(text, HasSubstr("id: e1-4\nevent: n\ndata: 4\n\nid: e1-5\n"));
  EXPECT_THAT(text, Not(HasSubstr("e1-3")));
  EXPECT_THAT(text, Not(HasSubstr("resync")));
  EXPECT_EQ(pulled(*feed), "");
  events.publish("n", "6");
  EXPECT_THAT(pulled(*feed), HasSubstr("data: 6"));
}

TEST(Events, of_another_process_or_out_of_the_ring_are_a_resync) {
  Events events("e1", [] {});
  events.publish("n", "1");
  for (const char* last : {"e0-1", "e1-", "e1-99", "x", "e1-18446744073709551616"}) EXPECT_THAT(pulled(*events.follow(last, "{}")), HasSubstr("event: resync")) << last;
  auto slow = events.follow("e1-1", "{}");
  for (std::size_t i = 0; i < Events::kRing + 1; ++i) events.publish("n", "x");
  const std::string text = pulled(*slow);
  EXPECT_THAT(text, HasSubstr("event: resync"));
  EXPECT_THAT(text, Not(HasSubstr("event: n")));
}

class OperationsTest : public ::testing::Test {
 protected:
  static Operation wish(const std::string& kind) {
    Operation o;
    o.kind = kind;
    o.actor = "user:a";
    return o;
  }
  // No work of these tests touches the agent.
  Agent& nobody_ = *static_cast<Agent*>(nullptr_agent());
  static void* nullptr_agent() {
    alignas(16) static char place[64];
    return place;
  }
  testing::SimClock clock_;
  Events events_{"e", [] {}};
  Operations operations_{clock_, events_};
};

TEST_F(OperationsTest, run_in_order_and_keep_what_they_came_to) {
  const auto first = operations_.submit(wish("scan"), [](Agent&, Operations::Task& task) -> Result<std::string> {
    task.stage("poison_detection");
    task.advance(3, 7);
    return std::string("{\"n\":1}");
  });
  const auto second = operations_.submit(wish("plan"), [](Agent&, Operations::Task&) -> Result<std::string> { return make_error(Code::refused, "plan", "no"); });
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(operations_.result(first->id).error().code, Code::not_found);
  EXPECT_TRUE(operations_.run_next(nobody_, Millis(0)));
  EXPECT_EQ(operations_.find(first->id)->state, "done");
  EXPECT_EQ(*operations_.result(first->id), "{\"n\":1}");
  EXPECT_EQ(operations_.find(second->id)->state, "queued");
  EXPECT_TRUE(operations_.run_next(nobody_, Millis(0)));
  EXPECT_EQ(operations_.find(second->id)->error->code, Code::refused);
  EXPECT_FALSE(operations_.run_next(nobody_, Millis(0)));
}

TEST_F(OperationsTest, are_bounded_and_can_be_taken_back_while_they_wait) {
  const Operations::Work nothing = [](Agent&, Operations::Task&) -> Result<std::string> { return std::string("{}"); };
  std::string last;
  for (std::size_t i = 0; i < Operations::kWaiting; ++i) last = operations_.submit(wish("scan"), nothing)->id;
  EXPECT_EQ(operations_.submit(wish("scan"), nothing).error().code, Code::throttled);
  EXPECT_TRUE(operations_.cancel(last).ok());
  EXPECT_EQ(operations_.cancel(last).error().code, Code::conflict);
  EXPECT_EQ(operations_.find(last)->state, "cancelled");
  EXPECT_TRUE(operations_.submit(wish("scan"), nothing).ok());
}

TEST_F(OperationsTest, with_one_key_are_one_and_a_key_stands_for_one_wish) {
  int ran = 0;
  const Operations::Work count = [&ran](Agent&, Operations::Task&) -> Result<std::string> { return std::to_string(++ran); };
  const auto a = operations_.submit(wish("apply"), count, "k");
  const auto b = operations_.submit(wish("apply"), count, "k");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->id, b->id);
  EXPECT_EQ(operations_.submit(wish("rollback"), count, "k").error().code, Code::conflict);
  Operation other = wish("rollback");
  other.actor = "user:b";
  EXPECT_TRUE(operations_.submit(std::move(other), count, "k").ok());
  while (operations_.run_next(nobody_, Millis(0))) {}
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(operations_.submit(wish("apply"), count, "k")->id, a->id);
}

TEST(Shapes, come_back_as_they_went) {
  Topology topology;
  topology.tenants.push_back({.tenant = {.id = "t", .tier = Tier::batch}, .queues = {}});
  QueueView q;
  q.id = {"b", "q\x1b[31m"};
  q.type = QueueType::list;
  q.backlog = 5;
  q.oldest_age = Millis(1234);
  q.groups.push_back({.name = "g", .consumers = 2, .pending = 3, .lag = 4});
  q.consumers.push_back({.group = "g", .name = "c", .pending = 1, .idle_ms = 9});
  topology.tenants[0].queues.push_back(q);
  topology.troubles.push_back({"b2", make_error(Code::unavailable, "connect", "refused")});
  EXPECT_EQ(to_json(topology_from(to_json(topology))).at("troubles"), to_json(topology).at("troubles"));
  const Topology back = topology_from(to_json(topology));
  EXPECT_EQ(back.tenants[0].queues[0].id.name, "q\\x1b[31m");
  EXPECT_EQ(back.tenants[0].tenant.tier, Tier::batch);
  EXPECT_EQ(back.tenants[0].queues[0].groups[0].lag, 4u);

  Health health;
  TenantHealth h;
  h.id = "t";
  h.tier = Tier::critical;
  h.severity_bps = 34'000;
  h.breaches.push_back({.queue = {"b", "q"}, .what = "age", .limit = "5m", .actual = "6m", .over_bps = 2'000});
  h.breaches.push_back({.queue = {}, .what = "backlog", .limit = "1", .actual = "2", .over_bps = 10'000});
  health.tenants.push_back(h);
  EXPECT_EQ(to_json(health_from(to_json(health))), to_json(health));

  Observation seen;
  seen.tenant = "t";
  seen.queues.push_back(q);
  Finding f;
  f.signature = {"malformed_json", "a", "malformed"};
  f.queues = {{"b", "q"}};
  f.confidence = 0.9876;
  f.sample = {"1-0"};
  seen.findings.push_back(f);
  seen.members.push_back({{.key = {1, 0}, .digest = 7}});
  EXPECT_EQ(to_json(observation_from(to_json(seen))).at("findings"), to_json(seen).at("findings"));
  EXPECT_EQ(observation_from(to_json(seen)).members[0][0].digest, 7u);
  EXPECT_THROW(static_cast<void>(topology_from(Json::object())), std::exception);
}

}  // namespace
}  // namespace claw::api
