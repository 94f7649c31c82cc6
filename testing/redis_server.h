// A private redis-server on a free loopback port, in a directory of its own, ended with the object.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace claw::testing {

class RedisServer {
 public:
  explicit RedisServer(std::vector<std::string> options = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_) + "/0"; }
  const std::string& dir() const { return dir_; }
  // Sends one command over a connection of its own; the raw RESP reply.
  std::string command(const std::vector<std::string>& words) const { return commands({words}); }
  // The same for many, pipelined over one connection.
  std::string commands(const std::vector<std::vector<std::string>>& all) const;

 private:
  int port_ = 0;
  pid_t pid_ = -1;
  std::string dir_;
};

}  // namespace claw::testing
