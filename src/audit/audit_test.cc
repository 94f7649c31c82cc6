#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "audit/format.h"
#include "audit/log.h"
#include "audit/order.h"
#include "audit/read.h"
#include "base/text.h"

namespace claw {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void spill(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }

class Audit : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "claw-audit-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    dir_ = (root_ / "log").string();
  }
  void TearDown() override { fs::remove_all(root_); }

  Result<std::unique_ptr<AuditLog>> open() { return AuditLog::open(system_disk(), system_random(), dir_, "claw.test/log"); }
  // Appends and signs; leaves the log closed.
  void fill(int count) {
    auto log = open();
    ASSERT_TRUE(log.ok()) << log.error().message();
    for (int i = 0; i < count; ++i) ASSERT_TRUE((*log)->append({{"type", "brake"}, {"number", i}}).ok());
    const Status done = (*log)->checkpoint();
    ASSERT_TRUE(done.ok()) << done.error().message();
    key_ = (*log)->verifier_key();
  }
  VerifyReport verify() { return verify_log(system_disk(), dir_, key_); }
  std::vector<fs::path> guarded() {
    std::vector<fs::path> files = {fs::path(dir_) / "checkpoint", fs::path(dir_) / "wal.log"};
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(dir_) / "tile"))
      if (entry.is_regular_file()) files.push_back(entry.path());
    return files;
  }

  fs::path root_;
  std::string dir_;
  std::string key_;
};

TEST_F(Audit, crc32c_is_the_castagnoli_one) { EXPECT_EQ(audit::crc32c("123456789"), 0xe3069283u); }

TEST_F(Audit, numbers_tiles_as_the_standard_does) {
  EXPECT_EQ(audit::tile_path("0", 1234067, 256), "tile/0/x001/x234/067");
  EXPECT_EQ(audit::tile_path("entries", 4, 7), "tile/entries/004.p/7");
}

TEST_F(Audit, an_empty_log_is_signed_and_verifies) {
  fill(0);
  EXPECT_TRUE(verify().ok) << verify().problem;
}

TEST_F(Audit, verifies_at_sizes_around_a_tile_and_over_restarts) {
  std::uint64_t total = 0;
  for (const int more : {1, 254, 1, 1, 255, 300}) {
    fill(more);
    total += static_cast<std::uint64_t>(more);
    const VerifyReport report = verify();
    EXPECT_TRUE(report.ok) << report.problem;
    EXPECT_EQ(report.size, total);
    EXPECT_FALSE(report.witnessed);
  }
}

TEST_F(Audit, says_in_words_that_entries_are_not_signed_yet) {
  fill(3);
  auto log = open();
  ASSERT_TRUE((*log)->append({{"type", "brake"}}).ok());
  const VerifyReport report = verify();
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(report.unsigned_entries, 1u);
  EXPECT_NE(report.problem.find("not yet under a signed checkpoint"), std::string::npos);
}

TEST_F(Audit, a_second_writer_and_another_origin_are_conflicts) {
  auto log = open();
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(open().error().code, Code::conflict);
  log->reset();
  EXPECT_EQ(AuditLog::open(system_disk(), system_random(), dir_, "other").error().code, Code::conflict);
}

TEST_F(Audit, finds_every_flipped_byte) {
  fill(300);
  for (const fs::path& path : guarded()) {
    const std::string good = slurp(path);
    const std::size_t step = good.size() <= 512 ? 1 : good.size() / 97;
    for (std::size_t i = 0; i < good.size(); i += step) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
      spill(path, bad);
      ASSERT_FALSE(verify().ok) << path << " byte " << i;
    }
    spill(path, good);
  }
  EXPECT_TRUE(verify().ok) << verify().problem;
}

TEST_F(Audit, finds_every_cut_and_every_dropped_file) {
  fill(300);
  for (const fs::path& path : guarded()) {
    const std::string good = slurp(path);
    for (const std::size_t keep : {std::size_t{0}, good.size() / 2, good.size() - 1}) {
      spill(path, good.substr(0, keep));
      EXPECT_FALSE(verify().ok) << path << " cut to " << keep;
    }
    fs::remove(path);
    EXPECT_FALSE(verify().ok) << path << " dropped";
    spill(path, good);
  }
  EXPECT_TRUE(verify().ok);
}

TEST_F(Audit, finds_swapped_entries_and_refuses_to_open_them) {
  fill(300);
  const std::string good = slurp(dir_ + "/wal.log");
  const std::string a = audit::frame(R"({"number":7,"type":"brake"})"), b = audit::frame(R"({"number":8,"type":"brake"})");
  const std::size_t at = good.find(a);
  ASSERT_NE(at, std::string::npos);
  std::string bad = good;
  bad.replace(at, a.size() + b.size(), b + a);
  spill(dir_ + "/wal.log", bad);
  EXPECT_FALSE(verify().ok);
  EXPECT_EQ(open().error().code, Code::corrupt);
}

TEST_F(Audit, refuses_to_open_what_is_short_or_has_no_readable_head) {
  fill(20);
  for (const char* name : {"checkpoint", "wal.log", "key.seed", "origin"}) {
    const std::string path = dir_ + "/" + name;
    const std::string good = slurp(path);
    spill(path, good.substr(0, good.size() - 3));
    EXPECT_FALSE(open().ok()) << name;
    fs::remove(path);
    EXPECT_EQ(open().error().code, Code::corrupt) << name;
    spill(path, good);
  }
  EXPECT_TRUE(open().ok());
}

TEST_F(Audit, cuts_only_an_unsigned_torn_tail) {
  fill(5);
  const std::string good = slurp(dir_ + "/wal.log");
  const std::string next = audit::frame(R"({"type":"brake"})");
  for (std::size_t keep = 1; keep < next.size(); ++keep) {
    spill(dir_ + "/wal.log", good + next.substr(0, keep));
    auto log = open();
    ASSERT_TRUE(log.ok()) << keep << log.error().message();
    EXPECT_EQ((*log)->size(), 5u);
    log->reset();
    EXPECT_EQ(slurp(dir_ + "/wal.log"), good);
  }
  std::string damaged = next;
  damaged.back() ^= 1;
  spill(dir_ + "/wal.log", good + damaged + next);
  EXPECT_EQ(open().error().code, Code::corrupt);
}

TEST_F(Audit, proves_every_entry_and_nothing_else) {
  fill(300);
  const auto entries = read_entries(system_disk(), dir_, 0, 1000);
  ASSERT_EQ(entries->size(), 300u);
  for (const std::uint64_t i : {0u, 1u, 255u, 256u, 299u}) {
    const auto proof = prove(system_disk(), dir_, i);
    ASSERT_TRUE(proof.ok()) << proof.error().message();
    EXPECT_TRUE(check_proof(*proof, (*entries)[i].bytes, key_).ok());
    EXPECT_FALSE(check_proof(*proof, (*entries)[(i + 1) % 300].bytes, key_).ok());
    for (std::size_t byte = 0; byte < proof->size(); ++byte) {
      std::string bad = *proof;
      bad[byte] ^= 1;
      ASSERT_FALSE(check_proof(bad, (*entries)[i].bytes, key_).ok()) << byte;
    }
  }
  EXPECT_EQ(prove(system_disk(), dir_, 300).error().code, Code::not_found);
}

// The records of one execution as the agent writes them; each mutation below breaks one promise.
std::vector<json> legal_execution() {
  const auto record = [n = 0](const char* type, json fields) mutable {
    fields.update({{"execution", "e"}, {"n", n++}, {"type", type}});
    return fields;
  };
  auto next = record;
  return {next("open", json::object()),
          next("plan", {{"plan_hash", "sha256:aa"}, {"messages", 30}, {"queues", 2}}),
          next("approval", {{"plan_hash", "sha256:aa"}}),
          next("snapshot", {{"queue_hex", "01"}}),
          next("snapshot", {{"queue_hex", "02"}}),
          next("intent", {{"wave", 0}, {"messages", 3}}),
          next("result", {{"wave", 0}, {"planned", 3}}),
          next("intent", {{"wave", 1}, {"messages", 27}}),
          next("result", {{"wave", 1}, {"planned", 30}}),
          next("guard", {{"guard", "conservation"}}),
          next("close", {{"plan_hash", "sha256:aa"}, {"planned", 30}, {"removed", 28}, {"gone", 1}, {"failed", 1}}),
          next("rollback", {{"phase", "result"}, {"restored", 28}})};
}

// The first reason against these records, with n given anew.
std::string reason_against(std::vector<json> records) {
  audit::OrderCheck order;
  int n = 0;
  for (json& record : records) {
    record["n"] = n++;
    if (const std::string why = order.take(*canonical(record)); !why.empty()) return why;
  }
  return {};
}

TEST_F(Audit, accepts_an_execution_as_the_agent_writes_it_and_one_whose_records_a_crash_repeated) {
  EXPECT_EQ(reason_against(legal_execution()), "");
  for (std::size_t i = 0; i < legal_execution().size(); ++i) {
    std::vector<json> records = legal_execution();
    if (records[i]["type"] == "rollback") continue;  // restored twice is more than removed
    records.insert(records.begin() + static_cast<std::ptrdiff_t>(i), json(records[i]));
    EXPECT_EQ(reason_against(records), "") << i;
  }
}

TEST_F(Audit, a_record_without_what_must_come_before_it_is_found) {
  // Without record i the log is illegal, except for those that nothing else needs.
  for (std::size_t i = 0; i < legal_execution().size(); ++i) {
    std::vector<json> records = legal_execution();
    const std::string type = records[i]["type"];
    records.erase(records.begin() + static_cast<std::ptrdiff_t>(i));
    const bool optional = type == "approval" || type == "result" || type == "guard" || type == "rollback" || type == "close";
    EXPECT_EQ(reason_against(records).empty(), optional) << type;
  }
}

TEST_F(Audit, finds_records_that_contradict_one_another) {
  const auto changed = [](std::size_t i, json patch) {
    std::vector<json> records = legal_execution();
    records[i].update(patch);
    return reason_against(records);
  };
  EXPECT_NE(changed(2, {{"plan_hash", "sha256:bb"}}), "") << "another plan was approved";
  EXPECT_NE(changed(4, {{"queue_hex", "01"}}), "") << "one queue has no snapshot";
  EXPECT_NE(changed(7, {{"messages", 28}}), "") << "more is touched than the plan names";
  EXPECT_NE(changed(8, {{"wave", 2}}), "") << "a result of a wave that nobody announced";
  EXPECT_NE(changed(8, {{"planned", 31}}), "");
  EXPECT_NE(changed(10, {{"removed", 29}}), "") << "counts that do not add up";
  EXPECT_NE(changed(10, {{"removed", 31}, {"planned", 33}}), "") << "more removed than announced";
  EXPECT_NE(changed(10, {{"plan_hash", "sha256:bb"}}), "");
  EXPECT_NE(changed(11, {{"restored", 29}}), "") << "more restored than removed";
  EXPECT_NE(changed(0, {{"type", "opened"}}), "") << "an unknown type";
}

TEST_F(Audit, finds_a_gap_in_an_execution_and_bytes_that_are_not_canonical) {
  audit::OrderCheck order;
  EXPECT_EQ(order.take(R"({"execution":"e","n":0,"type":"open"})"), "");
  EXPECT_NE(order.take(R"({"execution":"e","n":2,"type":"guard"})"), "");
  EXPECT_NE(order.take(R"({"type": "brake"})"), "");
}

}  // namespace
}  // namespace claw
