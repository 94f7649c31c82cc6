// What other people's clients make of a message that we took out of its queue and put back: the same as before.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/agent.h"
#include "config/config.h"
#include "tests/live/rabbit_world.h"

namespace claw {
namespace {

using namespace live;

std::string output_of(const std::string& command) {
  std::string out;
  FILE* const pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  while (const std::size_t got = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

TEST(RabbitClients, a_celery_worker_runs_every_task_as_it_was_sent) {
  server().declare("celery-t");
  const std::string celery = std::string("/usr/bin/python3 -W ignore ") + CLAW_SOURCE_DIR "/tests/live/rabbit_celery.py ", port = std::to_string(server().port());
  const std::string sent = output_of(celery + "send " + port);
  ASSERT_NE(sent.find("broken_7"), std::string::npos);
  remove_and_restore("celery-t", 20);
  EXPECT_EQ(output_of(celery + "work " + port + " 20"), sent);
}

TEST(RabbitClients, amqplib_reads_every_property_as_it_was_sent) {
  server().declare("node");
  const std::string node = std::string("node ") + CLAW_SOURCE_DIR "/testing/rabbit/client.mjs ", where = " " + std::to_string(server().port()) + " node";
  output_of(node + "fill" + where);
  const std::string before = output_of(node + "show" + where);
  ASSERT_NE(before.find("\"messageId\":\"m7\""), std::string::npos);
  output_of(node + "fill" + where);
  remove_and_restore("node", 20);
  EXPECT_EQ(output_of(node + "show" + where), before);
}

// A dead-letter queue's messages back to where they came from, by the agent: all that share the signature.
void redrive(const std::string& queue) {
  const std::string dir = server().dir() + "/agent-" + queue;
  std::filesystem::create_directory(dir);
  const std::string text = "agent: {data_dir: \"" + dir + "\"}\nbrokers: {rabbit: {kind: rabbitmq, url: \"" + server().url() + "\", management_url: \"" + server().management_url() + "\"}}\n" +
                           "tenants: {t: {queues: [{broker: rabbit, match: " + queue + "}], sla: {max_backlog: 10}}}\n";
  Result<Config> config = parse_config(text, "test.yaml");
  ASSERT_TRUE(config.ok()) << config.error().message();
  const AgentDeps deps{.disk = system_disk(), .clock = system_clock(), .random = system_random(), .open_broker = [](const BrokerConfig& b, Deadline deadline) {
                         return rabbitmq::open_rabbitmq({.name = b.name, .url = b.url, .management_url = b.management_url}, system_clock(), deadline);
                       }};
  auto agent = Agent::open(*config, deps, silent());
  ASSERT_TRUE(agent.ok()) << agent.error().message();
  const auto dead = (*agent)->dead_letters("t", silent());
  ASSERT_TRUE(dead.ok()) << dead.error().message();
  ASSERT_EQ(dead->size(), 1u);
  ASSERT_EQ(dead->front().seen.findings.size(), 1u);
  const auto done = (*agent)->redrive({.dead_letter = {"rabbit", queue + ".dead"}, .signature = dead->front().seen.findings.front().signature.id(), .wait = Millis(200)}, "user:test", silent());
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done->outcome.sent, 1u);
  EXPECT_EQ(done->outcome.failed_again, 0u);
}

std::string line_with(const std::string& lines, const std::string& part) {
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);)
    if (line.find(part) != std::string::npos) return line;
  return {};
}

// What the broker itself changes when it dead-letters: the expiration goes, and headers come that say when and why.
nlohmann::json but_for_the_broker(const std::string& line) {
  nlohmann::json out = nlohmann::json::parse(line);
  nlohmann::json& headers = out.at("properties").at("headers");
  EXPECT_FALSE(headers.contains("x-death")) << "a dead-letter cycle would drop it";
  for (const char* name : {"x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"}) headers.erase(name);
  out.at("properties").erase("expiration");
  return out;
}

TEST(RabbitClients, amqplib_reads_what_was_dead_lettered_and_redriven_as_it_was_sent) {
  server().declare("node-r.dead");
  server().declare("node-r", R"({"x-dead-letter-exchange":"","x-dead-letter-routing-key":"node-r.dead"})");
  const std::string node = std::string("node ") + CLAW_SOURCE_DIR "/testing/rabbit/client.mjs ", where = " " + std::to_string(server().port()) + " node-r";
  output_of(node + "fill" + where);
  const std::string before = line_with(output_of(node + "show" + where), "\"messageId\":\"m7\"");
  output_of(node + "fill" + where);
  output_of(node + "reject" + where);
  await_ready("node-r.dead", 20);
  redrive("node-r");
  const std::string after = output_of(node + "show" + where);
  EXPECT_EQ(but_for_the_broker(after), but_for_the_broker(before));
  EXPECT_EQ(ready("node-r.dead"), 19u);
}

TEST(RabbitClients, a_celery_worker_runs_what_was_dead_lettered_and_redriven_as_it_was_sent) {
  server().api("PUT", "/policies/%2F/celery", R"({"pattern":"^celery-t$","definition":{"dead-letter-exchange":"","dead-letter-routing-key":"celery-t.dead"},"apply-to":"queues"})");
  server().declare("celery-t");
  server().declare("celery-t.dead");
  const std::string celery = std::string("/usr/bin/python3 -W ignore ") + CLAW_SOURCE_DIR "/tests/live/rabbit_celery.py ", port = std::to_string(server().port());
  const std::string sent = output_of(celery + "send " + port);
  output_of(std::string("node ") + CLAW_SOURCE_DIR "/testing/rabbit/client.mjs reject " + port + " celery-t");
  await_ready("celery-t.dead", 20);
  remove_and_restore("celery-t.dead", 20, [] {}, "celery-t");
  EXPECT_EQ(output_of(celery + "work " + port + " 1"), line_with(sent, "broken_7") + "\n");
}

}  // namespace
}  // namespace claw
