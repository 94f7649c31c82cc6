// Who may ask what: every route, with every kind of token, against the words of openapi.yaml; and a token of one tenant, which
// must see nothing of another's, wherever it asks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "api/api.h"
#include "testing/fake_broker.h"
#include "testing/sim_clock.h"

namespace claw::api {
namespace {

using Json = nlohmann::json;

constexpr const char* kAddress = "127.0.0.1:7433";

struct Ask {
  std::string method, path, body = "{}", token;
  std::uint32_t uid = 4'242;  // somebody else on this machine
  http::Headers more = {};
};

// What openapi.yaml says of each operation: "GET /api/v1/plans" → scope, and whether it is for all tenants only.
std::map<std::string, std::pair<std::string, bool>> written() {
  std::ifstream file(CLAW_SOURCE_DIR "/src/api/openapi.yaml");
  std::map<std::string, std::pair<std::string, bool>> all;
  std::string path, operation;
  for (std::string line; std::getline(file, line) && line != "components:";) {
    if (line.starts_with("  /")) path = line.substr(2, line.size() - 3);
    if (line == "    get:" || line == "    post:") operation = (line == "    get:" ? "GET " : "POST ") + path;
    if (line.starts_with("      x-scope: ")) all[operation].first = line.substr(15);
    if (line == "      x-all-tenants: true") all[operation].second = true;
  }
  return all;
}

// Two tenants, each with a backlog, a plan, an execution, findings, a snapshot and an operation.
class Access : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "claw-access-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    world_->with([](testing::FakeWorld& world) {
      for (const char* queue : {"alpha-work", "bravo-secret"})
        for (int i = 0; i < 2'000; ++i)
          world.add(queue, i % 20 == 7 ? R"({"transaction_id": )" + std::to_string(i) + "x}" : R"({"transaction_id":")" + std::to_string(i) + R"("})",
                    i % 20 == 7 ? Evidence{.pending = 1, .attempts = 3, .idle_ms = 600'000} : Evidence{.passed = 1});
    });
    const std::string text = "agent: {data_dir: \"" + dir_ + "\"}\nbrokers: {b: {kind: redis, url: \"redis://127.0.0.1:1/0\"}}\ntenants:\n"
                             "  alpha: {queues: [{broker: b, match: alpha-work}], skill: aggressive-drain, sla: {max_backlog: 10}}\n"
                             "  bravo: {queues: [{broker: b, match: bravo-secret}], skill: aggressive-drain, sla: {max_backlog: 10}}\n";
    auto agent = Agent::open(*parse_config(text, "test.yaml"),
                             {.disk = system_disk(), .clock = clock_, .random = system_random(),
                              .open_broker = [this](const BrokerConfig& b, Deadline) { return Result<std::unique_ptr<Broker>>(std::make_unique<testing::FakeBroker>(b.name, world_)); },
                              .evaluated = [this](const Topology& topology, const Health& health) { board_.publish(topology, health); }},
                             silent());
    ASSERT_TRUE(agent.ok()) << agent.error().message();
    agent_ = std::move(*agent);
    api_ = std::make_unique<Api>(ApiDeps{.agent = *agent_, .disk = system_disk(), .clock = clock_, .random = system_random(), .board = board_, .events = events_, .operations = operations_});
    for (const char* tenant : {"alpha", "bravo"}) {
      const auto done = agent_->remediate(tenant, std::nullopt, "user:test", {}, silent());
      ASSERT_TRUE(done.ok() && done->record.messages_removed == 100) << tenant << (done.ok() ? done->reason : done.error().message());
      of_[tenant] = {{"{tenant}", tenant}, {"{queue}", std::string(tenant) == "alpha" ? "alpha-work" : "bravo-secret"}, {"{execution}", done->execution_id}, {"{plan}", done->plan_hash.substr(7)}};
      ask({.method = "POST", .path = "/api/v1/analyses", .body = Json{{"tenant", tenant}}.dump(), .token = {}, .uid = ::geteuid()});
    }
    ASSERT_TRUE(agent_->analyze_queue_health(std::nullopt).ok());
    while (operations_.run_next(*agent_, Millis(0))) {}
    for (const Operation& o : operations_.list()) of_[o.tenant]["{operation}"] = o.id;
    const auto findings = agent_->store().findings(10);
    for (const StoredFinding& f : *findings) of_[f.tenant]["{finding}"] = f.id;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  http::Response ask(const Ask& a) {
    http::Request r;
    r.method = a.method;
    r.target = a.path;
    for (std::size_t at = 1; at <= a.path.size();) {
      const std::size_t end = std::min(a.path.find('/', at), a.path.size());
      r.path.push_back(a.path.substr(at, end - at));
      at = end + 1;
    }
    r.headers = a.more;
    r.headers.emplace_back("host", kAddress);
    if (!a.token.empty()) r.headers.emplace_back("authorization", "Bearer " + a.token);
    if (a.method == "POST") {
      r.headers.emplace_back("content-type", "application/json");
      r.body = a.body;
    }
    r.peer.uid = a.uid;
    return api_->answer(r, kAddress);
  }
  std::string token(std::set<Scope> scopes, std::optional<std::set<TenantId>> tenants, Millis life = std::chrono::hours(1)) {
    const auto made = agent_->create_token({.name = "t" + std::to_string(++made_), .scopes = std::move(scopes), .tenants = std::move(tenants), .life = life}, "user:test");
    EXPECT_TRUE(made.ok()) << made.error().message();
    last_ = made->token.id;
    return made->secret;
  }
  // The route's path with the ids of a tenant's things; "{…}" that no tenant has get a harmless one.
  std::string filled(std::string path, const std::string& tenant) const {
    std::map<std::string, std::string> names = of_.at(tenant);
    names.insert({{"{broker}", "b"}, {"{index}", "0"}, {"{token}", "tok_none"}});
    for (const auto& [name, value] : names)
      if (const auto at = path.find(name); at != std::string::npos) path.replace(at, name.size(), value);
    return path;
  }
  static std::pair<std::string, std::string> parts(const std::string& route) { return {route.substr(0, route.find(' ')), route.substr(route.find(' ') + 1)}; }

  std::string dir_, last_;
  int made_ = 0;
  testing::SimClock clock_;
  std::shared_ptr<Guarded<testing::FakeWorld>> world_ = std::make_shared<Guarded<testing::FakeWorld>>();
  Board board_{clock_};
  Events events_{"e", [] {}};
  Operations operations_{clock_, events_};
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Api> api_;
  std::map<std::string, std::map<std::string, std::string>> of_;  // tenant → what its things are called
};

const std::map<std::string, Scope> kScopes = {{"observe", Scope::observe}, {"plan", Scope::plan}, {"approve", Scope::approve}, {"apply", Scope::apply}, {"restore", Scope::restore}};

TEST_F(Access, every_route_asks_for_the_scope_that_its_description_names) {
  const auto described = written();
  for (const std::string& route : Api::all_routes()) {
    const auto [method, path] = parts(route);
    if (!path.starts_with("/api/")) continue;
    const auto words = described.find(route);
    ASSERT_NE(words, described.end()) << route << " is not in openapi.yaml";
    const auto& [scope, of_all] = words->second;
    ASSERT_TRUE(scope == "local" || kScopes.contains(scope)) << route << ": " << scope;
    for (const auto& [name, one] : kScopes) {
      const int status = ask({.method = method, .path = filled(path, "alpha"), .token = token({one}, std::nullopt)}).status;
      const bool may = scope == "observe" || scope == name;
      EXPECT_EQ(status == 403, !may) << route << " with a token that may " << name << ": " << status;
      EXPECT_NE(status, 401) << route;
    }
    const std::string all_of_alpha = token({Scope::observe, Scope::plan, Scope::approve, Scope::apply, Scope::restore}, std::set<TenantId>{"alpha"});
    const int status = ask({.method = method, .path = filled(path, "alpha"), .token = all_of_alpha}).status;
    EXPECT_TRUE(status == 403 || !(of_all || scope == "local")) << route << " is for those who see all tenants: " << status;
    EXPECT_EQ(ask({.method = method, .path = filled(path, "alpha")}).status, 403) << route << " without a token, by another user";
  }
  EXPECT_GE(described.size(), 40u);
}

TEST_F(Access, a_token_of_one_tenant_sees_and_does_nothing_of_anothers_on_any_route) {
  const std::string mine = token({Scope::observe, Scope::plan, Scope::approve, Scope::apply, Scope::restore}, std::set<TenantId>{"alpha"});
  const auto& bravo = of_.at("bravo");
  const std::string plan = "sha256:" + bravo.at("{plan}"), key = rollback_key_of(bravo.at("{execution}"));
  const Json everything = {{"tenant", "bravo"}, {"reason", "r"}, {"label", "poison"}, {"phrase", "apply " + bravo.at("{plan}").substr(0, 12)}, {"rollback_key", key}, {"yes", true}, {"on", false}, {"ask", false}};
  Json by_queue = {{"broker", "b"}, {"queue", "bravo-secret"}};
  Json undo = everything;
  undo["phrase"] = "roll back " + key;
  const std::size_t operations = operations_.list().size();
  const std::uint64_t audited = agent_->audit().size();
  for (const std::string& route : Api::all_routes()) {
    const auto [method, path] = parts(route);
    const std::string asked = filled(path, "bravo");
    for (const Json& body : {everything, by_queue, undo}) {
      http::Response response = ask({.method = method, .path = asked, .body = body.dump(), .token = mine, .more = {{"if-match", '"' + plan + '"'}}});
      std::string said = response.body;
      if (response.feed) response.feed->pull(said);
      for (const auto& [name, value] : bravo)  // what was asked for may be said again
        for (std::size_t at = asked.find(value) == std::string::npos ? std::string::npos : said.find(value); at != std::string::npos; at = said.find(value)) said.erase(at, value.size());
      EXPECT_EQ(said.find("bravo"), std::string::npos) << route << ": " << said;
      EXPECT_EQ(said.find("-secret"), std::string::npos) << route << ": " << said;
      if (path != "/api/v1/rollbacks") {  // where the key that was sent says it
        EXPECT_EQ(said.find(bravo.at("{execution}")), std::string::npos) << route << ": " << said;
      }
      if (method == "POST") {
        EXPECT_GE(response.status, 400) << route << " " << body << ": " << response.body;
      }
    }
  }
  EXPECT_EQ(operations_.list().size(), operations) << "something was begun";
  EXPECT_EQ(agent_->audit().size(), audited);
  EXPECT_FALSE(system_disk().exists(dir_ + "/brake").value());
  // Nor whether there is such a thing.
  for (const char* kind : {"{finding}", "{plan}", "{execution}", "{operation}"}) {
    const std::string folder = std::map<std::string, std::string>{{"{finding}", "findings"}, {"{plan}", "plans"}, {"{execution}", "executions"}, {"{operation}", "operations"}}.at(kind);
    const std::string theirs = bravo.at(kind), nobodys = std::string(theirs.size(), '7');
    const auto hidden = ask({.method = "GET", .path = "/api/v1/" + folder + "/" + theirs, .token = mine}), missing = ask({.method = "GET", .path = "/api/v1/" + folder + "/" + nobodys, .token = mine});
    EXPECT_EQ(hidden.status, 404) << kind;
    std::string words = hidden.body;
    for (std::size_t at = words.find(theirs); at != std::string::npos; at = words.find(theirs)) words.replace(at, theirs.size(), nobodys);
    EXPECT_EQ(words, missing.body) << kind;
  }
}

TEST_F(Access, a_token_of_one_tenant_sees_its_own) {
  const std::string mine = token({Scope::observe, Scope::plan}, std::set<TenantId>{"alpha"});
  for (const char* path : {"/api/v1/tenants", "/api/v1/tenants/{tenant}", "/api/v1/topology", "/api/v1/queues/{broker}/{queue}", "/api/v1/findings", "/api/v1/plans", "/api/v1/executions",
                           "/api/v1/executions/{execution}", "/api/v1/operations", "/api/v1/operations/{operation}/result"}) {
    const auto response = ask({.method = "GET", .path = filled(path, "alpha"), .token = mine});
    EXPECT_EQ(response.status, 200) << path << response.body;
    EXPECT_NE(response.body.find("alpha"), std::string::npos) << path << response.body;
  }
  EXPECT_NE(ask({.method = "GET", .path = "/api/v1/snapshots", .token = mine}).body.find(of_.at("alpha").at("{execution}")), std::string::npos);
  const auto scan = ask({.method = "POST", .path = "/api/v1/scans", .body = R"({"broker":"b","queue":"alpha-work"})", .token = mine});
  EXPECT_EQ(scan.status, 202) << scan.body;
}

TEST_F(Access, a_stream_tells_a_token_of_its_own_tenants_and_ends_with_it) {
  const std::string mine = token({Scope::observe}, std::set<TenantId>{"alpha"});
  auto feed = ask({.method = "GET", .path = "/api/v1/events", .token = mine}).feed;
  ASSERT_NE(feed, nullptr);
  std::string said;
  feed->pull(said);
  events_.publish("tenants", R"({"evaluation":1,"rows":[["bravo","breach"],["alpha","ok"]],"more":false})");
  events_.publish("operation", R"({"id":"op-9","tenant":"bravo"})");
  events_.publish("operation", R"({"id":"op-10","tenant":""})");
  events_.publish("operation", R"({"id":"op-11","tenant":"alpha"})");
  said.clear();
  feed->pull(said);
  EXPECT_EQ(said.find("bravo"), std::string::npos) << said;
  EXPECT_EQ(said.find("op-10"), std::string::npos) << said;
  EXPECT_NE(said.find("[[\"alpha\",\"ok\"]]"), std::string::npos) << said;
  EXPECT_NE(said.find("op-11"), std::string::npos) << said;
  ASSERT_TRUE(agent_->revoke_token(last_, "user:test").ok());
  events_.publish("tick", "{}");
  events_.publish("operation", R"({"id":"op-12","tenant":"alpha"})");
  said.clear();
  feed->pull(said);
  EXPECT_EQ(said, "");
}

TEST_F(Access, a_token_that_is_wrong_revoked_or_too_old_opens_nothing) {
  const auto status = [&](const std::string& secret) { return ask({.method = "GET", .path = "/api/v1/status", .token = secret, .uid = ::geteuid()}).status; };
  const std::string good = token({Scope::observe}, std::nullopt);
  EXPECT_EQ(status(good), 200);
  std::string other = good;
  other.back() = other.back() == '0' ? '1' : '0';
  EXPECT_EQ(status(other), 401) << "also for the agent's own user: who shows a key wants no more than it opens";
  EXPECT_EQ(status("x"), 401);
  ASSERT_TRUE(agent_->revoke_token(last_, "user:test").ok());
  EXPECT_EQ(status(good), 401);
  const std::string brief = token({Scope::observe}, std::nullopt, std::chrono::minutes(5));
  EXPECT_EQ(status(brief), 200);
  clock_.advance(std::chrono::minutes(5));
  EXPECT_EQ(status(brief), 401);
}

TEST_F(Access, tokens_are_kept_as_hashes_and_their_making_is_audited) {
  const std::string secret = token({Scope::apply}, std::set<TenantId>{"alpha"});
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(bytes.find(secret), std::string::npos) << entry.path();
    EXPECT_EQ(bytes.find(secret.substr(4)), std::string::npos) << entry.path();
  }
  const auto made = ask({.method = "POST", .path = "/api/v1/tokens", .body = R"({"name":"ci","scopes":["observe","plan"],"tenants":["bravo"],"life_s":3600})", .uid = ::geteuid()});
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(ask({.method = "POST", .path = "/api/v1/tokens", .body = R"({"name":"ci","scopes":["observe"]})", .uid = ::geteuid()}).status, 409) << "one name, one key";
  EXPECT_EQ(ask({.method = "POST", .path = "/api/v1/tokens", .body = R"({"name":"x","scopes":["root"]})", .uid = ::geteuid()}).status, 422);
  EXPECT_EQ(ask({.method = "POST", .path = "/api/v1/tokens", .body = R"({"name":"x","scopes":["observe"],"tenants":[]})", .uid = ::geteuid()}).status, 422);
  const auto entries = read_entries(system_disk(), dir_ + "/audit", 0, UINT64_MAX);
  EXPECT_NE(entries->back().bytes.find(R"("did":"created")"), std::string::npos) << entries->back().bytes;
  EXPECT_NE(entries->back().bytes.find(R"("tenants":["bravo"])"), std::string::npos) << entries->back().bytes;
}

TEST_F(Access, a_plan_that_was_edited_on_the_way_is_refused_and_recorded) {
  const std::string plan = of_.at("alpha").at("{plan}");
  const auto refused = ask({.method = "POST", .path = "/api/v1/plans/" + plan + "/apply", .body = R"({"phrase":"x","reason":"the file was edited"})", .token = {}, .uid = ::geteuid(), .more = {{"if-match", "\"sha256:0\""}}});
  EXPECT_EQ(refused.status, 412) << refused.body;
  const std::string last = read_entries(system_disk(), dir_ + "/audit", 0, UINT64_MAX)->back().bytes;
  EXPECT_NE(last.find(R"("refusal":"edited_plan")"), std::string::npos) << last;
  EXPECT_NE(last.find("the file was edited"), std::string::npos) << last;
}

}  // namespace
}  // namespace claw::api
