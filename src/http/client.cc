#include "http/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace claw::http {
namespace {

constexpr std::size_t kMaxAnswer = 256u << 20;

struct Socket {
  int fd;
  ~Socket() { ::close(fd); }
};

Status wait_for(int fd, short events, Deadline deadline, const Clock& clock, const std::string& op) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  const int ready = ::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(deadline.remaining(clock).count(), 600'000)));
  if (ready > 0) return {};
  return make_error(Code::timed_out, op, "the agent did not answer in time");
}

Result<Answer> parse_answer(const std::string& text, const std::string& op) {
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || !text.starts_with("HTTP/1.1 ") || text.size() < 12) return make_error(Code::outcome_unknown, op, "the connection ended before an answer");
  Answer answer{.status = std::atoi(text.c_str() + 9), .body = text.substr(end + 4)};
  const std::size_t length = text.find("Content-Length: ");
  if (length == std::string::npos || length > end || std::strtoull(text.c_str() + length + 16, nullptr, 10) != answer.body.size())
    return make_error(Code::outcome_unknown, op, "the answer was cut off");
  return answer;
}

}  // namespace

Result<Answer> ask(const std::string& socket_path, const std::string& method, const std::string& target, const Headers& headers, const std::string& body, Deadline deadline,
                   const Clock& clock) {
  const std::string op = method + " " + target;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return make_error(Code::invalid, socket_path, "the path of the agent's socket is too long");
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  const Socket socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (socket.fd < 0 || ::connect(socket.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return make_error(Code::unavailable, socket_path, std::strerror(errno));
  std::string out = fmt::format("{} {} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n", method, target, body.size());
  for (const auto& [name, value] : headers) out += fmt::format("{}: {}\r\n", name, value);
  out += "\r\n" + body;
  for (std::size_t sent = 0; sent < out.size();) {
    CLAW_TRY(wait_for(socket.fd, POLLOUT, deadline, clock, op));
    const ssize_t count = ::send(socket.fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (count < 0) return make_error(Code::outcome_unknown, op, std::strerror(errno));
    sent += static_cast<std::size_t>(count);
  }
  std::string in;
  std::string block(64 * 1024, '\0');
  for (;;) {
    CLAW_TRY(wait_for(socket.fd, POLLIN, deadline, clock, op));
    const ssize_t count = ::recv(socket.fd, block.data(), block.size(), 0);
    if (count < 0) return make_error(Code::outcome_unknown, op, std::strerror(errno));
    if (count == 0) return parse_answer(in, op);
    in.append(block, 0, static_cast<std::size_t>(count));
    if (in.size() > kMaxAnswer) return make_error(Code::full, op, "the answer is larger than 256 MiB");
  }
}

}  // namespace claw::http
