#include "detect/detect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <locale>

#include "base/digest.h"
#include "detect/beta.h"
#include "testing/fault_disk.h"

namespace claw::detect {
namespace {

TEST(Beta, equals_the_published_lower_bounds) {
  EXPECT_NEAR(beta_quantile(0.02, 24.5, 0.5), 0.893, 0.002);
  EXPECT_NEAR(beta_quantile(0.02, 35.5, 0.5), 0.92, 0.01);
  EXPECT_NEAR(beta_quantile(0.02, 85.5, 0.5), 0.968, 0.002);
  EXPECT_NEAR(beta_quantile(0.02, 1800.5, 0.5), 0.9985, 0.0002);
  EXPECT_NEAR(beta_quantile(0.5, 3, 3), 0.5, 1e-9);
}

struct Corpus {
  std::vector<std::string> bodies;
  void add(std::string body, const Evidence& evidence) {
    body.resize(body.size() + Batch::kPadding);
    bodies.push_back(std::move(body));
    evidence_.push_back(evidence);
  }
  // Split into pages of `size`, examined in order.
  Batch page_of(std::size_t from, std::size_t to) const {
    Batch batch;
    for (std::size_t k = from; k < std::min(bodies.size(), to); ++k) {
      const Field field{name, std::string_view(bodies[k]).substr(0, bodies[k].size() - Batch::kPadding)};
      batch.add({k + 1, 0}, std::span(&field, 1), evidence_[k]);
    }
    return batch;
  }
  // Pages dealt to several examiners in turn, gathered in reverse: nothing may depend on it.
  Observation observe(std::size_t size, std::size_t threads = 1) const {
    Tally tally;
    return *observe(tally, size, threads);
  }
  Result<Observation> observe(Tally& tally, std::size_t size, std::size_t threads) const {
    Learner learner(agreed);
    for (std::size_t i = 0; i < bodies.size() && learner.wants_more(); i += size) learner.learn(page_of(i, i + size));
    const Learnt& learnt = learner.freeze();
    std::vector<Examiner> examiners;
    for (std::size_t i = 0; i < threads; ++i) examiners.emplace_back(learnt, 0, tally.store());
    for (std::size_t i = 0, number = 0; i < bodies.size(); i += size, ++number) CLAW_TRY(examiners[number % threads].examine(page_of(i, i + size), number));
    for (std::size_t t = threads; t-- > 0;) tally.add(std::move(examiners[t]));
    QueueView queue;
    queue.id = {"b", "q"};
    return conclude(tally, "t", {queue}, {});
  }
  std::string name = "payload";
  content::Agreed agreed;
  std::vector<Evidence> evidence_;
};

const Evidence kPass{.passed = 1};
const Evidence kFail{.pending = 1, .attempts = 3};
const Evidence kWaits{.waiting = 1};
const std::string kGood = R"({"transaction_id":"txn_1","amount":5})";
const std::string kBad = R"({"transaction_id": txn_1,"amount":5})";

Corpus incident(std::size_t failing, std::size_t passing, std::size_t waiting) {
  Corpus c;
  for (std::size_t i = 0; i < failing; ++i) c.add(kBad, kFail);
  for (std::size_t i = 0; i < passing; ++i) c.add(kGood, kPass);
  for (std::size_t i = 0; i < waiting; ++i) c.add(i % 50 == 0 ? kBad : kGood, kWaits);
  return c;
}

TEST(Detect, finds_what_fails_and_what_was_never_delivered) {
  const Observation seen = incident(200, 5'000, 5'000).observe(100);
  ASSERT_EQ(seen.findings.size(), 1u);
  EXPECT_EQ(seen.findings[0].signature.text, "malformed JSON in transaction_id field");
  EXPECT_EQ(seen.findings[0].count, 300u);
  EXPECT_EQ(seen.members[0].size(), 300u);
  EXPECT_GT(seen.findings[0].lower_bound, 0.95);
}

TEST(Detect, content_alone_never_condemns) {
  const Observation seen = incident(0, 5'000, 5'000).observe(100);
  ASSERT_EQ(seen.findings.size(), 1u);
  EXPECT_EQ(seen.findings[0].lower_bound, 0);
  EXPECT_LE(seen.findings[0].confidence, 0.6);
}

TEST(Detect, without_visible_passes_nothing_reaches_a_threshold) {
  const Observation seen = incident(500, 0, 5'000).observe(100);
  EXPECT_LE(seen.findings[0].lower_bound, 0.90);
}

TEST(Detect, a_consumer_that_tolerates_it_acquits_it) {
  Corpus c = incident(200, 5'000, 0);
  for (int i = 0; i < 200; ++i) c.add(kBad, kPass);
  EXPECT_LT(c.observe(100).findings[0].lower_bound, 0.6);
}

TEST(Detect, an_outage_is_not_poison) {
  Corpus everything = incident(600, 500, 0);
  EXPECT_FALSE(everything.observe(100).outage.empty());
  EXPECT_EQ(everything.observe(100).findings[0].lower_bound, 0);
  Corpus bystanders = incident(50, 100, 1'000);
  for (int i = 0; i < 200; ++i) bystanders.add(kGood, kFail);
  EXPECT_FALSE(bystanders.observe(100).outage.empty());
}

// Everything a finding says, to compare to the byte.
std::string text_of(const Observation& seen) {
  std::string out = seen.outage + "\n";
  for (const std::string& note : seen.notes) out += note + "\n";
  for (std::size_t f = 0; f < seen.findings.size(); ++f) {
    const Finding& one = seen.findings[f];
    out += one.signature.id() + " " + one.signature.text + " " + one.explanation + " " + one.excerpt + " " + fmt::format("{} {}", one.confidence, one.lower_bound) + "\n";
    for (const PoisonRef& member : seen.members[f]) out += message_id(seen.queues[member.queue].type, member) + ",";
  }
  return out;
}

TEST(Detect, what_does_not_fit_in_memory_is_kept_in_a_file_and_changes_nothing) {
  const Corpus c = incident(300, 2'000, 1'000);
  testing::FaultDisk disk;
  ASSERT_TRUE(disk.make_dirs("/data").ok());
  for (const std::size_t in_memory : {std::size_t{0}, std::size_t{20'000}}) {
    Tally tally(disk, "/data", in_memory);
    const Result<Observation> seen = c.observe(tally, 100, 3);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_EQ(text_of(*seen), text_of(c.observe(100)));
  }
  Tally full(disk, "/data", 20'000);
  disk.fail_at(3);
  const Result<Observation> failed = c.observe(full, 100, 1);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::unavailable);
}

// Orders, of which some have their own troubles; who fails is decided by `poison`.
template <class Poison>
Corpus orders(std::size_t count, Poison&& poison) {
  Corpus c;
  for (std::size_t i = 0; i < count; ++i) {
    std::string body = R"({"type":")" + std::string(i % 3 == 0 ? "refund" : "sale") + R"(","id":"ord_)" + std::to_string(100'000 + i) + R"(","amount":)";
    body += i % 10 == 7 ? "null" : std::to_string(i % 900) + ".5";
    if (i % 20 != 19) body += R"(,"country":")" + std::string(i % 50 == 3 ? "XX" + std::to_string(i % 7) : i % 2 == 0 ? "DE" : "FR") + "\"";
    body += "}";
    const bool delivered = i < count * 6 / 10;
    c.add(body, !delivered ? kWaits : poison(body, i) ? kFail : kPass);
  }
  return c;
}

// A locale in which a decimal point is a comma and thousands are grouped, made where the machine has none.
class German {
 public:
  German() {
    char name[] = "/tmp/claw-locale-XXXXXX";
    dir_ = ::mkdtemp(name);
    const std::string make = "localedef -i de_DE -f UTF-8 " + dir_ + "/de_DE.UTF-8 2>/dev/null";
    made_ = std::system(make.c_str()) == 0;
    ::setenv("LOCPATH", dir_.c_str(), 1);
    made_ = made_ && std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
    if (made_) std::locale::global(std::locale("de_DE.UTF-8"));
  }
  ~German() {
    std::locale::global(std::locale::classic());
    std::setlocale(LC_ALL, "C");
    ::unsetenv("LOCPATH");
    std::filesystem::remove_all(dir_);
  }
  bool made() const { return made_; }

 private:
  std::string dir_;
  bool made_ = false;
};

// The digests stand here so that every compiler that builds this test is held to the same bytes.
TEST(Detect, the_same_findings_to_the_byte_for_threads_pages_compilers_and_locales) {
  const auto pairs = [](const std::string& body, std::size_t i) { return body.find("refund") != body.npos && body.find("null") != body.npos && i % 17 != 0; };
  const auto values = [](const std::string& body, std::size_t i) { return body.find("XX1") != body.npos || body.find("XX2") != body.npos || i % 501 == 0; };
  const std::vector<std::pair<Corpus, std::string>> expected = {
      {incident(300, 2'000, 1'000), "sha256:8445d14a35a3e65a317403e11da635a4c758aa49192a475963ed1a82a776ece6"},
      {orders(9'000, pairs), "sha256:950c9f9e723a8f062cfb01b0ccac716c5310d50da8f793debb80683f2f1ca31b"},
      {orders(9'000, values), "sha256:42dded7f350390a2c49effa8fec96790b03cd951b676a44adb23d9862305f7d2"},
  };
  const auto all = [&](const char* where) {
    for (const auto& [corpus, digest] : expected)
      for (const std::size_t threads : {1, 2, 8})
        for (const std::size_t page : {100, 777}) EXPECT_EQ(sha256_label(text_of(corpus.observe(page, threads))), digest) << where << ", " << threads << " threads, pages of " << page;
  };
  all("C");
  // In a process of its own: a locale is a matter of the whole process, and one from LOCPATH is never freed.
  const pid_t child = ::fork();
  if (child == 0) {
    {
      const German german;
      EXPECT_TRUE(german.made()) << "localedef and the sources of de_DE are needed (Debian: locales)";
      char number[16];
      std::snprintf(number, sizeof number, "%.1f", 0.5);
      EXPECT_STREQ(number, "0,5");
      all("de_DE");
    }
    std::fflush(stdout);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

const Finding* surest(const Observation& seen) { return seen.findings.empty() ? nullptr : &seen.findings[0]; }

TEST(Detect, two_facts_together_when_neither_fails_alone) {
  const auto poison = [](const std::string& body, std::size_t) { return body.find("refund") != body.npos && body.find("null") != body.npos; };
  const Observation seen = orders(20'000, poison).observe(500);
  ASSERT_NE(surest(seen), nullptr);
  EXPECT_EQ(surest(seen)->signature.text, "null in amount field where type field is \"refund\"");
  EXPECT_GT(surest(seen)->lower_bound, 0.95);
  EXPECT_EQ(surest(seen)->count, 666u);
}

TEST(Detect, what_is_missing_can_be_poison) {
  const Observation seen = orders(20'000, [](const std::string& body, std::size_t) { return body.find("country") == body.npos; }).observe(500);
  ASSERT_NE(surest(seen), nullptr);
  EXPECT_EQ(surest(seen)->signature.text, "country field is missing");
  EXPECT_EQ(surest(seen)->count, 1'000u);
}

TEST(Detect, a_new_value_that_was_never_seen_to_fail_is_left_alone) {
  const auto poison = [](const std::string& body, std::size_t) { return body.find("XX1") != body.npos || body.find("XX2") != body.npos; };
  Corpus c = orders(40'000, poison);
  for (int i = 0; i < 50; ++i) c.add(R"({"type":"sale","id":"ord_9","amount":1.5,"country":"NEW"})", kWaits);
  const Observation seen = c.observe(500);
  std::uint64_t removed = 0;
  for (std::size_t f = 0; f < seen.findings.size(); ++f) {
    if (seen.findings[f].lower_bound < 0.5) continue;
    for (const PoisonRef& member : seen.members[f]) {
      const std::string& body = c.bodies[member.key.high - 1];
      EXPECT_TRUE(poison(body, 0)) << body;
      ++removed;
    }
  }
  EXPECT_GT(removed, 200u);
}

TEST(Detect, dirt_that_passes_acquits_a_whole_class) {
  const Observation seen = orders(20'000, [](const std::string&, std::size_t i) { return i % 400 == 0; }).observe(500);
  for (const Finding& f : seen.findings) EXPECT_LT(f.lower_bound, 0.5) << f.explanation;
}

TEST(Detect, a_deploy_in_an_outage_is_not_poison) {
  Corpus c = orders(10'000, [](const std::string&, std::size_t) { return false; });
  c.bodies.resize(6'000);
  c.evidence_.resize(6'000);
  for (int i = 0; i < 4'000; ++i) c.add(R"({"type":"sale","id":"ord_9","amount":1.5,"country":"DE","channel":"app"})", i < 2'000 ? kFail : kWaits);
  const Observation seen = c.observe(500);
  for (const Finding& f : seen.findings) EXPECT_LT(f.lower_bound, 0.5) << f.explanation;
  ASSERT_FALSE(seen.findings.empty());
  EXPECT_NE(seen.findings[0].explanation.find("outage or deploy"), std::string::npos) << seen.findings[0].explanation;
}

TEST(Detect, a_deploy_that_passes_is_told_and_left_alone) {
  Corpus c = orders(10'000, [](const std::string&, std::size_t) { return false; });
  for (int i = 0; i < 3'000; ++i) c.add(R"({"type":"sale","id":"ord_9","amount":1.5,"country":"DE","channel":"app"})", i < 1'000 ? kPass : kWaits);
  const Observation seen = c.observe(500);
  EXPECT_TRUE(seen.findings.empty());
  ASSERT_FALSE(seen.notes.empty());
  EXPECT_NE(seen.notes[0].find("channel"), std::string::npos) << seen.notes[0];
}

TEST(Detect, is_the_same_to_the_byte_for_any_number_of_threads) {
  Corpus c = orders(20'000, [](const std::string& body, std::size_t) { return body.find("XX") != body.npos || body.find("refund") != body.npos; });
  for (int i = 0; i < 500; ++i) c.add(kBad, i % 3 == 0 ? kFail : kWaits);
  for (int i = 0; i < 9'000; ++i) c.add(R"({"type":"sale","k)" + std::to_string(i) + R"(":1})", i % 3 == 0 ? kFail : kPass);  // more paths than there is room for
  const std::string one = text_of(c.observe(500, 1));
  for (const std::size_t threads : {2, 3, 8}) EXPECT_EQ(one, text_of(c.observe(500, threads)));
}

TEST(Detect, does_not_depend_on_pages_or_threads) {
  Corpus c = incident(100, 1'000, 1'000);
  const Observation one = c.observe(10'000), many = c.observe(7);
  EXPECT_EQ(one.findings[0].explanation, many.findings[0].explanation);
  EXPECT_EQ(one.findings[0].excerpt, many.findings[0].excerpt);
  EXPECT_EQ(one.members[0].size(), many.members[0].size());
}

// {"amount": n, "id": "ab"}, or the amount as text.
std::string messagepack(bool poison, int n) {
  return std::string("\x82\xa6" "amount") + (poison ? std::string("\xa2") + "x" + static_cast<char>('a' + n % 26) : std::string(1, static_cast<char>(n % 100))) + "\xa2id\xa2" "ab";
}

std::string base64(const std::string& text) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= text.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string celery(bool poison, int n) {
  const std::string inside = "[[{\"order\":" + std::to_string(n) + (poison ? ",\"total\":null}" : ",\"total\":7}") + "],{},{}]";
  return R"({"body": ")" + base64(inside) + R"(", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"task": "charge"}, "properties": {"body_encoding": "base64"}})";
}

template <class F>
Corpus wrapped(F&& body) {
  Corpus c;
  c.name = "";
  for (int i = 0; i < 100; ++i) c.add(body(true, i), kFail);
  for (int i = 0; i < 3'000; ++i) c.add(body(false, i), kPass);
  for (int i = 0; i < 1'000; ++i) c.add(body(i % 50 == 0, i), kWaits);
  return c;
}

// Of a corpus that wrapped() made: all its poison under one signature with these words in it.
void expect_signature(const Observation& seen, const char* words) {
  ASSERT_FALSE(seen.findings.empty());
  EXPECT_NE(seen.findings[0].signature.text.find(words), std::string::npos) << seen.findings[0].signature.text;
  EXPECT_EQ(seen.findings[0].count, 120u);
  EXPECT_GT(seen.findings[0].lower_bound, 0.95);
}

TEST(Detect, what_is_inside_a_wrapping_tells_poison_from_others) {
  const Observation packed = wrapped(messagepack).observe(64);
  expect_signature(packed, "in amount field");

  const Observation tasks = wrapped(celery).observe(64);
  expect_signature(tasks, "[].total");
}

TEST(Detect, a_wrapping_that_cannot_be_opened_is_a_defect_of_its_own) {
  const Observation seen = wrapped([](bool poison, int n) { return messagepack(false, n).substr(0, poison ? 9 : 99); }).observe(64);
  ASSERT_FALSE(seen.findings.empty());
  EXPECT_EQ(seen.findings[0].signature.text, "malformed MessagePack in body");
  EXPECT_EQ(seen.findings[0].count, 120u);
}

// {"amount": n, "total": 1.0 or null, "id": "ab"} by the schema below, with nothing around it.
std::string avro(bool poison, int n) {
  return std::string(1, static_cast<char>(n % 60 * 2)) + (poison ? std::string(1, '\0') : std::string("\x02\0\0\0\0\0\0\xf0\x3f", 9)) + "\x04" "ab";
}
Corpus in_avro(bool truncated) {
  Corpus c = wrapped([&](bool poison, int n) { return truncated ? avro(false, n).substr(0, poison ? 6 : 99) : avro(poison, n); });
  c.agreed = *content::Agreed::parse("payment.avsc", R"({"type": "record", "name": "Payment", "fields": [{"name": "amount", "type": "long"}, {"name": "total", "type": ["null", "double"]}, {"name": "id", "type": "string"}]})");
  return c;
}

TEST(Detect, bodies_in_avro_are_read_by_the_tenants_schema) {
  const Observation seen = in_avro(false).observe(64);
  expect_signature(seen, "in total field");
  const Observation broken = in_avro(true).observe(64);
  ASSERT_FALSE(broken.findings.empty());
  EXPECT_EQ(broken.findings[0].signature.text, "malformed Avro in body");
  EXPECT_EQ(broken.findings[0].count, 120u);
}

TEST(Detect, page_sizes_do_not_change_what_is_learnt_of_wrapped_messages) {
  const Corpus c = wrapped(celery);
  const std::string at_once = text_of(c.observe(5'000));
  EXPECT_EQ(text_of(c.observe(7, 3)), at_once);
}

TEST(Detect, a_violated_contract_is_evidence_of_its_own_kind) {
  Corpus c;
  c.agreed.schema = *content::Contract::compile(R"({"properties": {"amount": {"type": "integer", "maximum": 1000}}})");
  const auto body = [](int i, bool large) { return R"({"transaction_id":"txn_)" + std::to_string(i) + R"(","amount":)" + std::to_string(i % 900 + (large ? 70'000 : 1)) + "}"; };
  for (int i = 0; i < 100; ++i) c.add(body(i, true), kFail);
  for (int i = 0; i < 3'000; ++i) c.add(body(i, false), kPass);
  for (int i = 0; i < 1'000; ++i) c.add(body(i, i % 50 == 0), kWaits);
  const Observation seen = c.observe(64, 2);
  ASSERT_FALSE(seen.findings.empty());
  EXPECT_EQ(seen.findings[0].signature.text.find("contract violated in amount field ("), 0u) << seen.findings[0].signature.text;
  EXPECT_EQ(seen.findings[0].count, 120u);
  EXPECT_GT(seen.findings[0].lower_bound, 0.95);
  EXPECT_EQ(text_of(c.observe(1'000)), text_of(seen));
}

TEST(Detect, a_contract_that_is_out_of_date_condemns_nobody_and_is_said_so) {
  Corpus c = incident(200, 5'000, 1'000);
  c.agreed.schema = *content::Contract::compile(R"({"required": ["version"]})");
  const Observation seen = c.observe(100);
  EXPECT_TRUE(seen.outage.empty()) << seen.outage;
  ASSERT_EQ(seen.findings.size(), 1u) << "what is malformed, and nothing else";
  EXPECT_EQ(seen.findings[0].signature.text, "malformed JSON in transaction_id field");
  EXPECT_GT(seen.findings[0].lower_bound, 0.95);
  ASSERT_EQ(seen.notes.size(), 1u);
  EXPECT_EQ(seen.notes[0].find("out of date, not poison: contract violated in body"), 0u) << seen.notes[0];
}

}  // namespace
}  // namespace claw::detect
