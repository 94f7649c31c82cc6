#include "testing/redis_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/result.h"

namespace claw::testing {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string own_directory() {
  std::string name = (std::filesystem::temp_directory_path() / "claw-redis-XXXXXX").string();
  CLAW_CHECK(::mkdtemp(name.data()) != nullptr);
  return name;
}

}  // namespace

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  CLAW_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CLAW_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool wait_until(int seconds, const std::function<bool()>& done) {
  const Deadline deadline = Deadline::in(system_clock(), Millis(seconds * 1'000));
  while (!deadline.expired(system_clock())) {
    if (done()) return true;
    ::usleep(25'000);
  }
  return done();
}

RedisServer::RedisServer(std::vector<std::string> options, std::string program) : port_(free_port()), dir_(own_directory()) {
  words_ = {program};
  if (program == "redis-sentinel") {
    words_.push_back(dir_ + "/sentinel.conf");
    std::ofstream conf(dir_ + "/sentinel.conf");
    for (const std::string& line : options) conf << line << "\n";
    options.clear();
  }
  for (const std::string& word : {std::string("--port"), std::to_string(port_), std::string("--bind"), std::string("127.0.0.1"), std::string("--dir"), dir_,
                                  std::string("--logfile"), dir_ + "/log"})
    words_.push_back(word);
  if (program == "redis-server") words_.insert(words_.end(), {"--save", ""});
  for (std::string& option : options) {
    if (const std::size_t at = option.find("{dir}"); at != std::string::npos) option.replace(at, 5, dir_);
    words_.push_back(option);
  }
  start();
}

RedisServer::~RedisServer() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

void RedisServer::start() {
  CLAW_CHECK(pid_ < 0);
  std::vector<char*> arguments;
  for (std::string& word : words_) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  // A server that asks for a password answers too.
  CLAW_CHECK(wait_until(20, [this] {
    const std::string reply = command({"PING"});
    return reply.starts_with("+PONG") || reply.starts_with("-NOAUTH");
  }));
}

void RedisServer::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::pause() { ::kill(pid_, SIGSTOP); }
void RedisServer::resume() { ::kill(pid_, SIGCONT); }

std::string RedisServer::commands(const std::vector<std::vector<std::string>>& all) const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port_);
  std::string reply;
  const timeval most{.tv_sec = 2, .tv_usec = 0};  // a server that loads, refuses or hangs does not hold the test
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    std::string text;
    for (const std::vector<std::string>& words : all) {
      text += "*" + std::to_string(words.size()) + "\r\n";
      for (const std::string& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    }
    // The answer to a PING tells where the replies end.
    const std::string end = "$17\r\nclaw-end-of-reply\r\n";
    text += "*2\r\n$4\r\nPING\r\n" + end;
    std::jthread sender([&] { static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL)); });
    std::vector<char> buffer(65536);
    for (ssize_t got; !reply.ends_with(end) && (got = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) reply.append(buffer.data(), static_cast<std::size_t>(got));
    if (reply.ends_with(end)) reply.resize(reply.size() - end.size());
  }
  ::close(fd);
  return reply;
}

RedisCluster::RedisCluster(bool replicas) {
  const std::vector<std::string> options = {"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "{dir}/nodes.conf", "--appendonly", "yes",
                                            "--repl-diskless-sync-delay", "0"};
  const std::size_t count = replicas ? 6 : 3;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::string> own = options;
    own.insert(own.end(), {"--cluster-port", std::to_string(free_port())});
    nodes_.push_back(std::make_unique<RedisServer>(own));
  }
  const char* slots[3][2] = {{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}};
  for (std::size_t i = 0; i < 3; ++i) node(i).command({"CLUSTER", "ADDSLOTSRANGE", slots[i][0], slots[i][1]});
  for (std::size_t i = 0; i < count; ++i) node(i).command({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
  for (std::size_t i = 1; i < count; ++i) {
    // "127.0.0.1:PORT@BUSPORT,…" in the node's own line.
    const std::string nodes = node(i).command({"CLUSTER", "NODES"});
    const std::size_t at = nodes.find('@') + 1;
    node(0).command({"CLUSTER", "MEET", "127.0.0.1", std::to_string(node(i).port()), nodes.substr(at, nodes.find_first_of(", ", at) - at)});
  }
  for (std::size_t i = 3; i < count; ++i) {
    const std::string master = id_of(node(i - 3));
    CLAW_CHECK(wait_until(20, [&] { return node(i).command({"CLUSTER", "REPLICATE", master}) == "+OK\r\n"; }));
  }
  for (std::size_t i = 0; i < count; ++i)
    CLAW_CHECK(wait_until(20, [&] { return node(i).command({"CLUSTER", "INFO"}).find("cluster_state:ok") != std::string::npos; }));
  for (std::size_t i = 3; i < count; ++i)
    CLAW_CHECK(wait_until(20, [&] { return node(i).command({"INFO", "replication"}).find("master_link_status:up") != std::string::npos; }));
}

std::string RedisCluster::id_of(const RedisServer& node) const {
  const std::string reply = node.command({"CLUSTER", "MYID"});
  return reply.substr(reply.find('\n') + 1, 40);
}

RedisServer& RedisCluster::home(const std::string& key) {
  for (const auto& one : nodes_) {
    const std::string reply = one->command({"EXISTS", key});
    if (reply.starts_with(":")) return *one;
  }
  CLAW_CHECK(false);
  return *nodes_[0];
}

RedisSentinel::RedisSentinel() {
  servers_.push_back(std::make_unique<RedisServer>(std::vector<std::string>{"--appendonly", "yes"}));
  servers_.push_back(std::make_unique<RedisServer>(std::vector<std::string>{"--appendonly", "yes", "--replicaof", "127.0.0.1 " + std::to_string(servers_[0]->port())}));
  CLAW_CHECK(wait_until(20, [this] { return servers_[1]->command({"INFO", "replication"}).find("master_link_status:up") != std::string::npos; }));
  sentinel_ = std::make_unique<RedisServer>(
      std::vector<std::string>{"sentinel monitor orders 127.0.0.1 " + std::to_string(servers_[0]->port()) + " 1", "sentinel down-after-milliseconds orders 500",
                               "sentinel failover-timeout orders 3000"},
      "redis-sentinel");
  CLAW_CHECK(wait_until(20, [this] { return sentinel_->command({"SENTINEL", "replicas", "orders"}).starts_with("*1"); }));
}

RedisServer& RedisSentinel::master() {
  const std::string reply = sentinel_->command({"SENTINEL", "get-master-addr-by-name", "orders"});
  for (const auto& one : servers_)
    if (reply.find("\r\n" + std::to_string(one->port()) + "\r\n") != std::string::npos) return *one;
  CLAW_CHECK(false);
  return *servers_[0];
}

}  // namespace claw::testing
