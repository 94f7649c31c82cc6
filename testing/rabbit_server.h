// A private rabbitmq-server with the management plugin on free loopback ports, in a directory of its own, ended with the object;
// and a cluster of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace claw::testing {

class RabbitServer {
 public:
  // `more_plugins`: "rabbitmq_shovel,rabbitmq_shovel_management"; the management plugin is there always.
  explicit RabbitServer(const std::string& more_plugins = "") : RabbitServer(more_plugins, {}) {}
  ~RabbitServer();
  RabbitServer(const RabbitServer&) = delete;
  RabbitServer& operator=(const RabbitServer&) = delete;

  std::string url(const std::string& user = "guest", const std::string& vhost = "%2f") const { return "amqp://" + user + "@127.0.0.1:" + std::to_string(port_) + "/" + vhost; }
  // The certificate is for "localhost", signed by ca_file().
  std::string tls_url(const std::string& host) const { return "amqps://guest@" + host + ":" + std::to_string(tls_port_) + "/%2f"; }
  std::string management_url() const { return "http://127.0.0.1:" + std::to_string(management_port_); }
  std::string ca_file() const { return dir_ + "/ca.pem"; }
  int port() const { return port_; }
  const std::string& dir() const { return dir_; }

  // One request to the management API as guest, `path` below /api; the body of its answer. Ends the program when it is not a 2xx.
  std::string api(const std::string& method, const std::string& path, const std::string& body = "") const;
  // Declares a durable queue, waits until its policy is known, and empties it when it was there.
  void declare(const std::string& queue, const std::string& arguments_json = "{}") const;
  // The management API tells a queue's policy some time after it was made, or after a start.
  void await_policy(const std::string& queue) const;
  void remove_queue(const std::string& queue) const;
  // Resident memory of the node's processes now, in MiB.
  std::uint64_t memory_mib() const;
  // Runs rabbitmqctl; true when it succeeded.
  bool control(const std::string& arguments) const;
  // kill -9 of the node, and its start with what is on its disk.
  void crash();
  void start();

 private:
  friend class RabbitCluster;
  // Which node of a cluster this is.
  struct Member {
    int number = 0, of = 0;  // from 1; 0: none
    const RabbitServer* first = nullptr;
  };
  RabbitServer(const std::string& more_plugins, Member member);
  void choose_ports();
  bool started();
  std::string exports() const;
  void guard(pid_t group) const;
  Member member_;
  int port_ = 0, tls_port_ = 0, management_port_ = 0, dist_port_ = 0, epmd_port_ = 0;
  pid_t epmd_ = -1, node_ = -1, guard_ = -1;
  int guard_pipe_ = -1;
  std::string dir_, home_;  // home_: where the cookie is that the nodes of a cluster share
};

// Several nodes, each with what the others have; one that is in the minority pauses.
class RabbitCluster {
 public:
  explicit RabbitCluster(int nodes);
  ~RabbitCluster();  // the last one first: its guard has the pipes of those before

  RabbitServer& node(int number) { return *nodes_.at(static_cast<std::size_t>(number)); }  // from 0
  // All of them, this one first.
  std::string url(int first) const;
  std::string management_url(int first) const;
  // Cuts a node off from the others, not from its clients, and joins it again. Both wait until it shows.
  void cut_off(int number);
  void join(int number);
  // Until every node sees every other one.
  void await_whole();

 private:
  std::string around(int first, const char* between, const std::function<std::string(const RabbitServer&)>& text) const;
  void set_cookies(int number, const std::string& cookie, bool disconnect);
  std::vector<std::unique_ptr<RabbitServer>> nodes_;
};

}  // namespace claw::testing
