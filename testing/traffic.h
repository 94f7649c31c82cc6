// A live client of a broker: a script of tests/live in a process of its own, as users' programs are.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace claw::testing {

// `words`: the script's name and its arguments. Its end is asked for (SIGTERM) and waited for; one that does not end well fails
// the test.
class Traffic {
 public:
  explicit Traffic(std::vector<std::string> words);
  Traffic(Traffic&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Traffic& operator=(Traffic&&) = delete;
  ~Traffic() { stop(); }
  void stop();
  // Until it ends by itself.
  void wait();

 private:
  pid_t pid_ = -1;
};

}  // namespace claw::testing
