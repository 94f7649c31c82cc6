// What is learnt from looks that follow one another. The messages are bodies without an id, as a list or RabbitMQ has them.
#include "detect/memory.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "detect/detect.h"

namespace claw::detect {
namespace {

using ::testing::HasSubstr;

constexpr WallTime kStart{Millis(1'700'000'000'000)};

// A queue that a consumer works on: what it can read goes, what it cannot comes back.
struct Queue {
  struct Message {
    std::string body;
    Evidence evidence;
  };
  std::vector<Message> messages;
  std::uint64_t acknowledged = 0, held = 0;
  WallTime now = kStart;
  std::vector<Memory> memories{Memory(7)};
  bool whole = true, critical = false, remembers = true;
  Labels labels;

  void add(int count, int from, const char* form, const Evidence& evidence = {.waiting = 1}) {
    for (int i = from; i < from + count; ++i) messages.push_back({fmt::format(fmt::runtime(form), i), evidence});
  }
  void add_good(int count, int from) { add(count, from, R"({{"transaction_id":"txn_{}","amount":5}})"); }
  void add_bad(int count, int from, const Evidence& evidence) { add(count, from, R"({{"transaction_id": txn_{},"amount":5}})", evidence); }
  // Consumers take what is at the head.
  void consume(std::size_t count) {
    std::vector<Message> left;
    for (Message& m : messages) {
      if (count > 0 && m.body.find(": txn") == std::string::npos) --count, ++acknowledged;
      else left.push_back(std::move(m));
    }
    messages = std::move(left);
  }
  Observation look(Millis later = Millis(30'000)) {
    now += later;
    std::vector<std::string> padded;
    for (const Message& m : messages) padded.push_back(m.body + std::string(Batch::kPadding, '\0'));
    Batch page;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const Field field{"", std::string_view(padded[i]).substr(0, messages[i].body.size())};
      page.add({i + 1, 0}, std::span(&field, 1), messages[i].evidence);
    }
    Learner learner({}, sample_mask(messages.size()));
    learner.learn(page);
    Tally tally;
    Examiner examiner(learner.freeze(), 0, tally.store());
    EXPECT_TRUE(examiner.examine(page, 0).ok());
    tally.add(std::move(examiner));
    if (whole) tally.tells_what_left(0);
    QueueView view;
    view.id = {"b", "q"};
    view.type = QueueType::classic;
    view.held = held;
    view.groups = {{.name = "consumers", .consumers = 1, .acknowledged = acknowledged}};
    return *conclude(tally, "t", {view}, {.critical = critical, .labels = labels, .memories = remembers ? std::span(memories) : std::span<Memory>(), .now = now});
  }
};

const Evidence kFailed{.pending = 1, .attempts = 3};

Queue incident() {
  Queue q;
  q.add_bad(300, 0, kFailed);
  q.add_good(5'000, 1'000);
  return q;
}

TEST(Memory, what_is_gone_twice_has_passed_and_is_what_poison_is_told_from) {
  Queue q = incident();
  EXPECT_LE(q.look().findings.at(0).lower_bound, 0.90) << "nothing that passed is known yet";
  q.consume(1'000);
  EXPECT_LE(q.look().findings.at(0).lower_bound, 0.90) << "it may be in a consumer's hands";
  q.consume(1'000);
  const Observation seen = q.look();
  const Finding& f = seen.findings.at(0);
  EXPECT_EQ(f.signature.text, "malformed JSON in transaction_id field");
  EXPECT_GT(f.lower_bound, 0.95);
  EXPECT_EQ(f.evidence.passes, 0u);
  EXPECT_EQ(f.evidence.other_passes, 1'000u);
  EXPECT_EQ(f.count, 300u);
  EXPECT_THAT(f.explanation, HasSubstr("1,000 of these passes are known from earlier looks"));
}

TEST(Memory, what_passed_with_the_signature_acquits_it) {
  Queue q = incident();
  q.add(400, 0, R"({{"transaction_id": txn_{},"amount":5, "consumer":"tolerant"}})");
  q.look();
  for (int round = 0; round < 2; ++round) {
    q.consume(500);
    std::erase_if(q.messages, [&](const Queue::Message& m) { return round == 0 && m.body.ends_with("tolerant\"}") && ++q.acknowledged > 0; });
    q.look();
  }
  q.consume(100);
  const Observation seen = q.look();
  EXPECT_EQ(seen.findings.at(0).evidence.passes, 400u);
  EXPECT_LT(seen.findings.at(0).lower_bound, 0.6);
}

TEST(Memory, a_purge_a_time_to_live_or_a_length_limit_teaches_nothing) {
  Queue q = incident();
  for (int round = 0; round < 4; ++round) {
    q.look();
    const std::uint64_t before = q.acknowledged;
    q.consume(1'000);
    q.acknowledged = before + 10;  // the broker dropped the others
  }
  EXPECT_LE(q.look().findings.at(0).lower_bound, 0.90);
}

TEST(Memory, what_consumers_hold_is_not_gone) {
  Queue q = incident();
  q.held = 900;
  for (int round = 0; round < 4; ++round) {
    q.look();
    q.consume(1'000);
  }
  EXPECT_LE(q.look().findings.at(0).lower_bound, 0.90);
}

TEST(Memory, a_look_that_saw_a_part_is_not_compared) {
  Queue q = incident();
  q.whole = false;
  for (int round = 0; round < 4; ++round) {
    q.look();
    q.consume(1'000);
  }
  EXPECT_LE(q.look().findings.at(0).lower_bound, 0.90);
}

TEST(Memory, better_days_do_not_make_poison_of_an_outage) {
  Queue q = incident();
  for (int round = 0; round < 3; ++round) {
    q.look();
    q.consume(1'000);
  }
  EXPECT_GT(q.look().findings.at(0).lower_bound, 0.95);
  // From now on nothing passes, and something new comes at the same time.
  q.consume(300);
  q.add(200, 0, R"({{"transaction_id":"late_{}","amount":7,"region":"eu"}})", kFailed);
  for (int round = 0; round < 3; ++round) {
    const Observation seen = q.look();
    for (const Finding& f : seen.findings) {
      if (f.signature.path != "amount" && f.signature.path != "region") continue;
      EXPECT_LE(f.lower_bound, 0.90) << round << f.explanation;
    }
  }
}

TEST(Memory, a_look_right_after_another_one_is_told_the_same) {
  Queue q = incident();
  for (int round = 0; round < 3; ++round) {
    q.look();
    q.consume(1'000);
  }
  const double sure = q.look().findings.at(0).lower_bound;
  EXPECT_GT(sure, 0.95);
  EXPECT_EQ(q.look(Millis(100)).findings.at(0).lower_bound, sure);
  EXPECT_EQ(q.look(Millis(5'000)).findings.at(0).lower_bound, sure) << "little left since, but a moment ago much did";
  EXPECT_LE(q.look(Millis(40'000)).findings.at(0).lower_bound, 0.90) << "for too long nothing passed";
}

TEST(Memory, it_fades_and_is_not_compared_with_what_is_long_ago) {
  Queue q = incident();
  for (int round = 0; round < 3; ++round) {
    q.look();
    q.consume(1'000);
  }
  const std::uint64_t known = q.look().findings.at(0).evidence.other_passes;
  q.consume(500);
  q.look(std::chrono::days(7));
  q.consume(500);
  EXPECT_LE(q.look().findings.at(0).evidence.other_passes, known / 2 + 501);
}

TEST(Memory, what_a_path_was_never_seen_to_have_is_not_held_to_be_unusual) {
  Queue q = incident();
  for (int round = 0; round < 3; ++round) {
    q.look();
    q.consume(1'000);
  }
  // What was usual is another thing now: that a number is, was not counted when it was.
  q.messages.clear();
  q.add(3'000, 9'000, R"({{"transaction_id":{},"amount":5}})");
  q.add(40, 0, R"({{"transaction_id":"txn_{}","amount":5}})", kFailed);
  const Observation seen = q.look();
  for (const Finding& f : seen.findings) {
    if (f.signature.path != "transaction_id") continue;
    EXPECT_LE(f.lower_bound, 0.90) << f.explanation;
  }
}

TEST(Memory, survives_its_bytes_and_no_others) {
  Queue q = incident();
  q.look();
  q.consume(1'000);
  q.look();
  const std::string bytes = q.memories[0].to_bytes();
  auto again = Memory::from_bytes(bytes);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->to_bytes(), bytes);
  EXPECT_EQ(bytes.find("txn_"), std::string::npos) << "nothing of a message can be read from it";
  q.memories[0] = std::move(*again);
  q.consume(1'000);
  EXPECT_GT(q.look().findings.at(0).lower_bound, 0.95);
  for (std::size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 97) EXPECT_FALSE(Memory::from_bytes(bytes.substr(0, cut)).ok());
  EXPECT_FALSE(Memory::from_bytes("[]").ok());
}

TEST(Memory, what_somebody_else_takes_out_passes_for_nothing) {
  Queue q = incident();
  q.look();
  std::string bytes = q.memories[0].to_bytes();
  Memory::compare_no_more(bytes);
  auto again = Memory::from_bytes(bytes);
  ASSERT_TRUE(again.ok()) << again.error().message();
  q.memories[0] = std::move(*again);
  q.consume(1'000);
  EXPECT_EQ(q.look().findings.at(0).evidence.other_passes, 0u);
  q.consume(1'000);
  q.look();
  q.consume(1'000);
  EXPECT_GT(q.look().findings.at(0).evidence.other_passes, 0u) << "and it goes on from there";
}

TEST(Memory, samples_a_long_queue_and_says_the_same) {
  Queue q;
  q.add_bad(3'000, 0, kFailed);
  q.add_good(90'000, 10'000);
  for (int round = 0; round < 3; ++round) {
    q.look();
    q.consume(15'000);
  }
  const Observation seen = q.look();
  EXPECT_GT(seen.findings.at(0).lower_bound, 0.95);
  EXPECT_GT(seen.findings.at(0).evidence.other_passes, 3'000u);
  EXPECT_LT(q.memories[0].to_bytes().size(), 600'000u);
}

TEST(Label, not_poison_stops_it_and_poison_weighs_but_never_against_a_pass) {
  Queue q = incident();
  q.remembers = false;
  const std::string id = q.look().findings.at(0).signature.id();
  q.labels[id] = {.poison = true, .actor = "user:ada", .reason = "seen it before", .at = kStart};
  EXPECT_GT(q.look().findings.at(0).lower_bound, 0.99);
  EXPECT_THAT(q.look().findings.at(0).explanation, HasSubstr("user:ada labelled it poison on 2023-11-14: seen it before."));
  q.labels[id].poison = false;
  EXPECT_EQ(q.look().findings.at(0).lower_bound, 0);

  Queue fresh;  // nothing of it was delivered yet
  fresh.remembers = false;
  fresh.labels[id] = {.poison = true, .actor = "user:ada", .reason = "again", .at = kStart};
  fresh.add_bad(50, 0, {.waiting = 1});
  fresh.add_good(5'000, 1'000);
  EXPECT_NEAR(fresh.look().findings.at(0).lower_bound, 0.92, 0.02);
  fresh.critical = true;
  EXPECT_LE(fresh.look().findings.at(0).lower_bound, 0.6) << "nothing of a critical tenant goes before it has failed once";
  fresh.critical = false;
  fresh.add_bad(10, 100, {.passed = 1});
  EXPECT_LE(fresh.look().findings.at(0).lower_bound, 0.6);
}

}  // namespace
}  // namespace claw::detect
