// The machine dies at every single disk operation: what was acknowledged is there afterwards, and still verifies.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "audit/log.h"
#include "audit/read.h"
#include "testing/fault_disk.h"

namespace claw {
namespace {

struct Run {
  std::uint64_t acknowledged = 0;
  bool finished = false;
};

// Opens, appends `count` records with a checkpoint after every `each`, until something fails.
Run work(testing::FaultDisk& disk, int count, int each) {
  Run run;
  auto log = AuditLog::open(disk, system_random(), "/data/audit", "claw.test/log");
  if (!log.ok()) return run;
  run.acknowledged = (*log)->size();
  for (int i = 0; i < count; ++i) {
    const auto index = (*log)->append({{"type", "brake"}, {"number", i}});
    if (!index.ok()) {
      EXPECT_EQ((*log)->append({{"type", "brake"}}).error().code, Code::corrupt) << "the log lives on after a failure";
      return run;
    }
    run.acknowledged = *index + 1;
    if ((i + 1) % each == 0 && !(*log)->checkpoint().ok()) return run;
  }
  run.finished = true;
  return run;
}

void crash_everywhere(int count, int each, std::uint64_t first, std::uint64_t step, bool lucky) {
  for (std::uint64_t k = first;; k += step) {
    testing::FaultDisk disk;
    ASSERT_TRUE(disk.make_dirs("/data").ok());
    disk.fail_at(k);
    const Run run = work(disk, count, each);
    disk.crash(lucky);
    auto log = AuditLog::open(disk, system_random(), "/data/audit", "claw.test/log");
    ASSERT_TRUE(log.ok()) << "crash at " << k << ": " << log.error().message();
    ASSERT_GE((*log)->size(), run.acknowledged) << "crash at " << k;
    ASSERT_LE((*log)->size(), run.acknowledged + 1) << "crash at " << k;
    ASSERT_TRUE((*log)->append({{"type", "brake"}}).ok());
    const Status done = (*log)->checkpoint();
    ASSERT_TRUE(done.ok()) << done.error().message();
    const VerifyReport report = verify_log(disk, "/data/audit", (*log)->verifier_key());
    ASSERT_TRUE(report.ok) << "crash at " << k << ": " << report.problem;
    if (run.finished) return;
  }
}

TEST(AuditCrash, no_acknowledged_entry_is_lost_at_any_operation) { crash_everywhere(9, 3, 1, 1, false); }
TEST(AuditCrash, nor_when_unsynced_bytes_survive_by_luck) { crash_everywhere(9, 3, 1, 1, true); }
TEST(AuditCrash, nor_around_the_end_of_a_tile) { crash_everywhere(260, 50, 480, 1, false); }

}  // namespace
}  // namespace claw
