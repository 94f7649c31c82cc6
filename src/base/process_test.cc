#include "base/process.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/digest.h"

namespace claw {
namespace {

TEST(Process, words_are_words_and_no_shell_reads_them) {
  const auto done = run_command({.argv = {"/bin/echo", "$HOME;", "`id`", "a b", "*"}, .user = {}}, system_clock());
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_TRUE(done->good());
  EXPECT_EQ(done->output_sha256, sha256_label("$HOME; `id` a b *\n"));
  EXPECT_EQ(done->output_bytes, 18u);
}

TEST(Process, says_how_it_ended) {
  EXPECT_EQ(run_command({.argv = {"/bin/false"}, .user = {}}, system_clock())->status, 1);
  EXPECT_EQ(run_command({.argv = {"/bin/sh", "-c", "kill -9 $$"}, .user = {}}, system_clock())->status, 137);
  EXPECT_EQ(run_command({.argv = {"/no/such/program"}, .user = {}}, system_clock()).error().code, Code::not_found);
  EXPECT_EQ(run_command({.argv = {"/etc/hostname"}, .user = {}}, system_clock()).error().code, Code::not_found);
  EXPECT_EQ(run_command({.argv = {"echo"}, .user = {}}, system_clock()).error().code, Code::invalid);
  EXPECT_EQ(run_command({.argv = {}, .user = {}}, system_clock()).error().code, Code::invalid);
  EXPECT_EQ(run_command({.argv = {"/bin/true"}, .user = "no-such-user"}, system_clock()).error().code, Code::invalid);
}

TEST(Process, is_killed_with_what_it_started_when_its_time_is_up) {
  std::string mark = (std::filesystem::temp_directory_path() / "claw-process-XXXXXX").string();
  ASSERT_NE(::mkdtemp(mark.data()), nullptr);
  const MonoTime start = system_clock().mono();
  const auto done = run_command({.argv = {"/bin/sh", "-c", "(sleep 2; touch " + mark + "/late) & sleep 30"}, .user = {}, .timeout = Millis(300)}, system_clock());
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(done->timed_out);
  EXPECT_FALSE(done->good());
  EXPECT_LT(elapsed(start, system_clock().mono()), Millis(2'000));
  system_clock().sleep(Millis(2'500));
  EXPECT_FALSE(std::filesystem::exists(mark + "/late"));
  std::filesystem::remove_all(mark);
}

TEST(Process, does_not_wait_for_what_it_left_running) {
  const MonoTime start = system_clock().mono();
  const auto done = run_command({.argv = {"/bin/sh", "-c", "sleep 3 & echo started"}, .user = {}}, system_clock());
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(done->good());
  EXPECT_LT(elapsed(start, system_clock().mono()), Millis(2'000));
}

TEST(Process, inherits_no_descriptor_no_environment_and_no_input) {
  ::setenv("CLAW_CANARY", "secret", 1);
  std::ofstream held("/dev/null");
  const auto clean = run_command({.argv = {"/bin/sh", "-c", "env | grep -c CANARY; ls /proc/$$/fd | wc -l; cat; pwd"}, .user = {}}, system_clock());
  ASSERT_TRUE(clean.ok());
  EXPECT_EQ(clean->output_sha256, sha256_label("0\n3\n/\n")) << "descriptors 0, 1 and 2";
  ::unsetenv("CLAW_CANARY");
}

TEST(Process, much_output_neither_blocks_it_nor_fills_memory) {
  const auto done = run_command({.argv = {"/bin/sh", "-c", "head -c 20000000 /dev/zero"}, .user = {}}, system_clock());
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE(done->good());
  EXPECT_EQ(done->output_bytes, 20'000'000u);
}

TEST(Process, takes_the_rights_of_the_user_that_is_named) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can";
  const auto done = run_command({.argv = {"/bin/sh", "-c", "id -un; id -Gn; cat /etc/shadow"}, .user = "nobody"}, system_clock());
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_NE(done->status, 0) << "nobody may not read that";
  EXPECT_EQ(run_command({.argv = {"/usr/bin/id", "-un"}, .user = "nobody"}, system_clock())->output_sha256, sha256_label("nobody\n"));
  EXPECT_EQ(run_command({.argv = {"/usr/bin/id", "-G"}, .user = "nobody"}, system_clock())->output_sha256, sha256_label("65534\n")) << "and no group of ours";
}

}  // namespace
}  // namespace claw
