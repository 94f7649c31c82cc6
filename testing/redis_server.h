// Private redis-servers on free loopback ports, each in a directory of its own, ended with the object.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace claw::testing {

class RedisServer {
 public:
  // `options` are words of the command line; `{dir}` in them stands for the server's directory. With a TLS or Unix socket
  // of its own it still listens on a plain port for the test.
  explicit RedisServer(std::vector<std::string> options = {}, std::string program = "redis-server");
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string url() const { return "redis://" + address() + "/0"; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  const std::string& dir() const { return dir_; }
  // Sends one command over a connection of its own; the raw RESP reply, empty when the server is not there.
  std::string command(const std::vector<std::string>& words) const { return commands({words}); }
  // The same for many, pipelined over one connection.
  std::string commands(const std::vector<std::vector<std::string>>& all) const;

  void kill();   // SIGKILL
  void start();  // again, on the same port and directory
  void pause();  // SIGSTOP: accepts and never answers
  void resume();

 private:
  std::vector<std::string> words_;
  int port_ = 0;
  pid_t pid_ = -1;
  std::string dir_;
};

// Waits until `done`, at most `seconds`. False: it never was.
bool wait_until(int seconds, const std::function<bool()>& done);
int free_port();

// Three masters, each with a third of the slots, and a replica of each when asked.
class RedisCluster {
 public:
  explicit RedisCluster(bool replicas = false);
  RedisServer& node(std::size_t i) { return *nodes_[i]; }
  std::size_t size() const { return nodes_.size(); }
  std::string url() const { return "redis://" + nodes_[0]->address() + "," + nodes_[1]->address(); }
  // The node that serves the key now, by asking the nodes.
  RedisServer& home(const std::string& key);
  std::string id_of(const RedisServer& node) const;
  // On the key's home.
  std::string command(const std::string& key, const std::vector<std::string>& words) { return home(key).command(words); }

 private:
  std::vector<std::unique_ptr<RedisServer>> nodes_;
};

// A master with one replica, watched by one sentinel with short times, under the name "orders".
class RedisSentinel {
 public:
  RedisSentinel();
  std::string url() const { return "redis+sentinel://" + sentinel_->address() + "/orders"; }
  RedisServer& server(std::size_t i) { return *servers_[i]; }
  RedisServer& master();  // as the sentinel has it now
  RedisServer& sentinel() { return *sentinel_; }

 private:
  std::vector<std::unique_ptr<RedisServer>> servers_;
  std::unique_ptr<RedisServer> sentinel_;
};

}  // namespace claw::testing
