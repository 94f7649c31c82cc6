// A private rabbitmq-server with the management plugin on free loopback ports, in a directory of its own, ended with the object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace claw::testing {

class RabbitServer {
 public:
  // `more_plugins`: "rabbitmq_shovel,rabbitmq_shovel_management"; the management plugin is there always.
  explicit RabbitServer(const std::string& more_plugins = "");
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
  void choose_ports();
  bool started();
  std::string exports() const;
  void guard(pid_t group) const;
  int port_ = 0, tls_port_ = 0, management_port_ = 0, dist_port_ = 0, epmd_port_ = 0;
  pid_t epmd_ = -1, node_ = -1, guard_ = -1;
  int guard_pipe_ = -1;
  std::string dir_;
};

}  // namespace claw::testing
