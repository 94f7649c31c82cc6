#include "testing/redis_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

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

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  CLAW_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CLAW_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> options) : port_(free_port()) {
  std::string name = (std::filesystem::temp_directory_path() / "claw-redis-XXXXXX").string();
  CLAW_CHECK(::mkdtemp(name.data()) != nullptr);
  dir_ = name;
  std::vector<std::string> words = {"redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1", "--dir", dir_, "--save", "", "--logfile", dir_ + "/log"};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  for (int i = 0; i < 200 && command({"PING"}) != "+PONG\r\n"; ++i) ::usleep(25'000);
  CLAW_CHECK(command({"PING"}) == "+PONG\r\n");
}

RedisServer::~RedisServer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

std::string RedisServer::commands(const std::vector<std::vector<std::string>>& all) const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port_);
  std::string reply;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    std::string text;
    for (const std::vector<std::string>& words : all) {
      text += "*" + std::to_string(words.size()) + "\r\n";
      for (const std::string& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    }
    text += "*1\r\n$4\r\nQUIT\r\n";
    std::jthread sender([&] { CLAW_CHECK(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())); });
    std::vector<char> buffer(65536);
    for (ssize_t got; (got = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) reply.append(buffer.data(), static_cast<std::size_t>(got));
    if (reply.ends_with("+OK\r\n")) reply.resize(reply.size() - 5);
  }
  ::close(fd);
  return reply;
}

}  // namespace claw::testing
