// A cluster of three loses the node that leads the queue in the middle of a removal: killed, or cut off from the others; the agent
// talks to it, or to another one. It finishes with those that are left, and what comes back brings nothing with it.
#include "tests/live/rabbit_world.h"

namespace claw::live {
namespace {

testing::RabbitCluster& cluster() {
  static testing::RabbitCluster three(3);
  return three;
}

constexpr int kMessages = 400, kPoisonEvery = 10, kLeader = 1;

struct Loss {
  const char* name;
  int talks_to;  // the node of the agent's connections
  void (*happens)();
  void (*ends)();
};

class Cluster : public ::testing::TestWithParam<Loss> {
 protected:
  static void talk_to(int node) { elsewhere() = {cluster().url(node), cluster().management_url(node)}; }

  // As an execution does it: again, until it is through.
  static Result<Removed> remove_surely(Broker& broker, const Looked& seen) {
    Result<Removed> removed = remove(broker, seen, "exec-c");
    for (int tries = 1; !removed && tries < 60; ++tries) {
      const Error& error = removed.error();
      EXPECT_TRUE(error.code == Code::unavailable || error.code == Code::timed_out || error.code == Code::outcome_unknown || error.code == Code::refused) << error.message();
      ::usleep(500'000);
      removed = remove(broker, seen, "exec-c", true, true);
    }
    return removed;
  }
};

TEST_P(Cluster, loses_its_leader_at_every_step_of_a_removal_and_no_message) {
  for (const std::string step : {"published", "confirmed", "acknowledged"}) {
    SCOPED_TRACE(step);
    talk_to(GetParam().talks_to);
    const std::string queue = std::string(GetParam().name) + "-" + step;
    const testing::RabbitServer& leader = cluster().node(kLeader);
    leader.declare(queue, R"({"x-queue-type":"quorum","x-quorum-initial-group-size":3})");
    ASSERT_NE(leader.api("GET", "/queues/%2F/" + queue + "?columns=leader").find("claw2@"), std::string::npos);
    publish(queue, 0, kMessages, kPoisonEvery);
    bool happened = false;
    const auto broker = adapter([&](std::string_view now) {
      if (now != step || happened) return;
      happened = true;
      GetParam().happens();
    });
    const auto seen = look(*broker, queue);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    const auto removed = remove_surely(*broker, *seen);
    ASSERT_TRUE(removed.ok()) << "by the nodes that are left: " << removed.error().message();
    ASSERT_TRUE(happened);
    EXPECT_EQ(removed->removed, seen->plan.messages.size());
    EXPECT_EQ(removed->quarantined.size(), seen->plan.messages.size());
    for (const Quarantined& one : removed->quarantined) EXPECT_EQ(one.message.fields, removed->snapshot[one.number].fields);
    talk_to(kLeader + 1);
    const std::uint64_t copies = ready(queue + ".quarantine");
    EXPECT_GE(copies, seen->plan.messages.size());
    EXPECT_LE(copies, 2 * seen->plan.messages.size()) << "one batch twice, at most";
    EXPECT_EQ(numbers(drain(queue)), range(0, kMessages, kPoisonEvery, false));

    GetParam().ends();
    EXPECT_EQ(ready(queue), 0u) << "what comes back brings nothing with it";
    EXPECT_EQ(ready(queue + ".quarantine"), copies);
    const auto restored = adapter()->restore({.queue = seen->plan.queue, .type = seen->plan.type, .execution_id = "exec-c", .quarantine = seen->plan.quarantine, .messages = removed->snapshot}, soon());
    ASSERT_TRUE(restored.ok()) << restored.error().message();
    EXPECT_EQ(restored->restored, seen->plan.messages.size());
    EXPECT_EQ(ready(queue + ".quarantine"), 0u);
    EXPECT_EQ(numbers(drain(queue)), range(0, kMessages, kPoisonEvery, true)) << "a copy that is there twice is put back once";
  }
}

void kill_leader() { cluster().node(kLeader).crash(); }
void start_leader() {
  cluster().node(kLeader).start();
  cluster().await_whole();
}
void cut_off_leader() { cluster().cut_off(kLeader); }
void join_leader() { cluster().join(kLeader); }

TEST(RabbitCluster, a_queue_whose_node_is_down_is_not_looked_at_and_its_state_is_said) {
  elsewhere() = {cluster().url(kLeader + 1), cluster().management_url(kLeader + 1)};
  cluster().node(kLeader).declare("at-home");
  publish("at-home", 0, 10, 0);
  kill_leader();
  const auto broker = adapter();
  const auto seen = try_view(*broker, "at-home");
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->look.refusal, "its state is 'down', expected running");
  EXPECT_FALSE(broker->look(*seen, soon()).ok());
  start_leader();
  EXPECT_EQ(numbers(drain("at-home")), range(0, 10, 0, false));
}

INSTANTIATE_TEST_SUITE_P(Rabbit, Cluster,
                         ::testing::Values(Loss{"kill", kLeader + 1, kill_leader, start_leader}, Loss{"kill_with_us", kLeader, kill_leader, start_leader},
                                           Loss{"partition", kLeader + 1, cut_off_leader, join_leader}, Loss{"partition_with_us", kLeader, cut_off_leader, join_leader}),
                         [](const auto& loss) { return loss.param.name; });

}  // namespace
}  // namespace claw::live
