#include "testing/traffic.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace claw::testing {

Traffic::Traffic(std::vector<std::string> words) {
  words.front() = CLAW_SOURCE_DIR "/tests/live/" + words.front();
  words.insert(words.begin(), "/usr/bin/python3");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
}

void Traffic::stop() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  wait();
}

void Traffic::wait() {
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "a traffic process ended with " << status;
}

}  // namespace claw::testing
