// What other people's clients make of a message that we took out of its queue and put back: the same as before.
#include <gtest/gtest.h>

#include <cstdio>

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
  EXPECT_EQ(output_of(celery + "work " + port), sent);
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

}  // namespace
}  // namespace claw
