#include "testing/rabbit_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/digest.h"
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

// Free now; taken by the server a moment later.
int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  CLAW_CHECK(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  CLAW_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Status line, headers and body; empty when nobody answers.
std::string http(int port, const std::string& method, const std::string& path, const std::string& body) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  std::string reply;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string text = method + " " + path + " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nauthorization: Basic " + base64("guest:guest") +
                             "\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    CLAW_CHECK(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    char buffer[65536];
    for (ssize_t got; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) reply.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(fd);
  return reply;
}

bool good(const std::string& reply) { return reply.size() > 12 && reply[9] == '2'; }

pid_t run(const std::string& command, const std::string& log) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::setpgid(0, 0);
  const std::string text = command + " >>" + log + " 2>&1 </dev/null";
  ::execl("/bin/sh", "sh", "-c", text.c_str(), nullptr);
  ::_exit(127);
}

void end(pid_t& group) {
  if (group <= 0) return;
  ::kill(-group, SIGKILL);
  ::waitpid(group, nullptr, 0);
  group = -1;
}

// Ends process groups when the process that started it is gone, however it went: an aborted test leaves no server behind.
pid_t start_guard(int& pipe_end) {
  int ends[2];
  CLAW_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[1]);
    ::setpgid(0, 0);
    std::vector<pid_t> groups;
    for (pid_t group; ::read(ends[0], &group, sizeof group) == sizeof group;) groups.push_back(group);
    for (const pid_t group : groups) ::kill(-group, SIGKILL);
    ::_exit(0);
  }
  ::close(ends[0]);
  pipe_end = ends[1];
  return pid;
}

const char* const kCertificates = R"(
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem &&
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr &&
printf 'subjectAltName=DNS:localhost' >san && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem)";

}  // namespace

RabbitServer::RabbitServer(const std::string& more_plugins, Member member) : member_(member) {
  std::string name = "/tmp/claw-rabbit-XXXXXX";
  CLAW_CHECK(::mkdtemp(name.data()) != nullptr);
  dir_ = name;
  home_ = member.first == nullptr ? dir_ : member.first->home_;
  const std::string make = "cd " + dir_ + " && { " + kCertificates + "; } 2>/dev/null";
  CLAW_CHECK(std::system(make.c_str()) == 0);
  std::ofstream(dir_ + "/enabled_plugins") << "[rabbitmq_management" << (more_plugins.empty() ? "" : ",") << more_plugins << "].\n";
  guard_ = start_guard(guard_pipe_);
  // A port that was free may be taken when the node gets there.
  bool up = false;
  for (int tries = 0; tries < 3 && !up; ++tries) {
    choose_ports();
    end(epmd_);
    if (member.first == nullptr) {
      epmd_ = run("exec epmd -address 127.0.0.1 -port " + std::to_string(epmd_port_), dir_ + "/epmd.log");
      guard(epmd_);
    }
    up = started();
  }
  CLAW_CHECK(up);
}

void RabbitServer::choose_ports() {
  for (int* port : {&port_, &tls_port_, &management_port_, &dist_port_, &epmd_port_}) *port = free_port();
  if (member_.first != nullptr) epmd_port_ = member_.first->epmd_port_;
  std::string cluster;
  if (member_.number > 0) cluster = "cluster_partition_handling = pause_minority\ncluster_formation.peer_discovery_backend = classic_config\n";
  for (int i = 1; i <= member_.of; ++i) cluster += "cluster_formation.classic_config.nodes." + std::to_string(i) + " = claw" + std::to_string(i) + "@localhost\n";
  std::ofstream(dir_ + "/rabbitmq.conf") << "listeners.tcp.1 = 127.0.0.1:" << port_ << "\nlisteners.ssl.1 = 127.0.0.1:" << tls_port_ << "\nssl_options.cacertfile = " << dir_
                                         << "/ca.pem\nssl_options.certfile = " << dir_ << "/server.pem\nssl_options.keyfile = " << dir_ << "/server.key\nmanagement.tcp.port = "
                                         << management_port_ << "\nmanagement.tcp.ip = 127.0.0.1\ncollect_statistics_interval = 250\nmanagement.sample_retention_policies.global.minute = 1\nmanagement.sample_retention_policies.basic.minute = 1\nmanagement.sample_retention_policies.detailed.10 = 1\nlog.console = true\nlog.console.level = warning\n"
                                         << cluster;
}

RabbitServer::~RabbitServer() {
  end(node_);
  end(epmd_);
  ::close(guard_pipe_);
  ::waitpid(guard_, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

std::string RabbitServer::exports() const {
  const std::string number = member_.number == 0 ? "" : std::to_string(member_.number);
  return "HOME=" + home_ + " RABBITMQ_NODENAME=claw" + number + "@localhost RABBITMQ_DIST_PORT=" + std::to_string(dist_port_) + " ERL_EPMD_PORT=" + std::to_string(epmd_port_) +
         " ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_MNESIA_BASE=" + dir_ + "/mnesia RABBITMQ_LOG_BASE=" + dir_ + "/log RABBITMQ_ENABLED_PLUGINS_FILE=" + dir_ +
         "/enabled_plugins RABBITMQ_CONFIG_FILE=" + dir_ + "/rabbitmq.conf RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-rabbit quorum_tick_interval 300 -kernel net_ticktime 8' ";
}

void RabbitServer::guard(pid_t group) const { CLAW_CHECK(::write(guard_pipe_, &group, sizeof group) == sizeof group); }

void RabbitServer::start() { CLAW_CHECK(started()); }

bool RabbitServer::started() {
  node_ = run(exports() + "exec /usr/lib/rabbitmq/bin/rabbitmq-server", dir_ + "/node.log");
  guard(node_);
  for (int i = 0; i < 2'400; ++i) {
    ::usleep(100'000);
    if (good(http(management_port_, "GET", "/api/health/checks/port-listener/" + std::to_string(port_), ""))) return true;
    if (::waitpid(node_, nullptr, WNOHANG) == node_) break;
  }
  end(node_);
  return false;
}

std::uint64_t RabbitServer::memory_mib() const {
  std::uint64_t kib = 0;
  std::error_code ignored;
  for (const auto& process : std::filesystem::directory_iterator("/proc", ignored)) {
    const pid_t pid = std::atoi(process.path().filename().c_str());
    if (pid <= 0 || ::getpgid(pid) != node_) continue;
    std::ifstream status(process.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmRSS:")) kib += static_cast<std::uint64_t>(std::atoll(line.c_str() + 6));
  }
  return kib / 1024;
}

void RabbitServer::crash() { end(node_); }

std::string RabbitServer::api(const std::string& method, const std::string& path, const std::string& body) const {
  const std::string reply = http(management_port_, method, "/api" + path, body);
  if (!good(reply)) ::fprintf(stderr, "%s %s %s: %s\n", method.c_str(), path.c_str(), body.c_str(), reply.c_str());
  CLAW_CHECK(good(reply));
  return reply.substr(reply.find("\r\n\r\n") + 4);
}

void RabbitServer::declare(const std::string& queue, const std::string& arguments) const {
  api("PUT", "/queues/%2F/" + queue, R"({"durable":true,"arguments":)" + arguments + "}");
  api("DELETE", "/queues/%2F/" + queue + "/contents");
  await_policy(queue);
}

void RabbitServer::await_policy(const std::string& queue) const {
  bool known = false;
  for (int i = 0; i < 600 && !known; ++i) {
    known = api("GET", "/queues/%2F/" + queue + "?columns=effective_policy_definition").find("effective_policy_definition") != std::string::npos;
    if (!known) ::usleep(50'000);
  }
  CLAW_CHECK(known);
}

void RabbitServer::remove_queue(const std::string& queue) const { static_cast<void>(http(management_port_, "DELETE", "/api/queues/%2F/" + queue, "")); }

bool RabbitServer::control(const std::string& arguments) const {
  return std::system((exports() + "/usr/lib/rabbitmq/bin/rabbitmqctl " + arguments + " >>" + dir_ + "/control.log 2>&1").c_str()) == 0;
}

RabbitCluster::RabbitCluster(int nodes) {
  for (int i = 1; i <= nodes; ++i) nodes_.emplace_back(new RabbitServer("", {.number = i, .of = nodes, .first = i == 1 ? nullptr : nodes_.front().get()}));
  await_whole();
}

RabbitCluster::~RabbitCluster() {
  while (!nodes_.empty()) nodes_.pop_back();
}

std::string RabbitCluster::around(int first, const char* between, const std::function<std::string(const RabbitServer&)>& text) const {
  std::string out;
  for (std::size_t i = 0; i < nodes_.size(); ++i) out += (i == 0 ? "" : between) + text(*nodes_[(static_cast<std::size_t>(first) + i) % nodes_.size()]);
  return out;
}

std::string RabbitCluster::url(int first) const {
  return "amqp://guest@" + around(first, ",", [](const RabbitServer& node) { return "127.0.0.1:" + std::to_string(node.port()); }) + "/%2f";
}

std::string RabbitCluster::management_url(int first) const {
  return around(first, ",", [](const RabbitServer& node) { return node.management_url(); });
}

// A node that has another cookie for its peers talks to none of them, and they not to it.
void RabbitCluster::set_cookies(int number, const std::string& cookie, bool disconnect) {
  std::string erlang;
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (i == number) continue;
    const std::string peer = "claw" + std::to_string(i + 1) + "@localhost";
    erlang += "erlang:set_cookie(" + peer + ", " + cookie + "), ";
    if (disconnect) erlang += "erlang:disconnect_node(" + peer + "), ";
  }
  CLAW_CHECK(node(number).control("eval '" + erlang + "ok.'"));
}

void RabbitCluster::cut_off(int number) {
  set_cookies(number, "cut_off", true);
  const RabbitServer& other = node(number == 0 ? 1 : 0);
  const std::string down = "claw" + std::to_string(number + 1) + "@localhost";
  for (int i = 0; i < 300; ++i) {
    const std::string nodes = other.api("GET", "/nodes/" + down + "?columns=running");
    if (nodes.find("false") != std::string::npos) return;
    ::usleep(100'000);
  }
  CLAW_CHECK(false);
}

void RabbitCluster::join(int number) {
  set_cookies(number, "erlang:get_cookie()", false);
  await_whole();
}

void RabbitCluster::await_whole() {
  for (int i = 0; i < 1'200; ++i) {
    std::size_t whole = 0;
    for (const auto& node : nodes_) {
      const std::string reply = http(node->management_port_, "GET", "/api/nodes?columns=running,partitions", "");
      const auto count = [&](const std::string& text) {
        std::size_t found = 0;
        for (std::size_t at = 0; (at = reply.find(text, at)) != std::string::npos; ++at) ++found;
        return found;
      };
      whole += good(reply) && count("\"running\":true") == nodes_.size() && count("\"partitions\":[]") == nodes_.size();
    }
    if (whole == nodes_.size()) return;
    ::usleep(100'000);
  }
  CLAW_CHECK(false);
}

}  // namespace claw::testing
