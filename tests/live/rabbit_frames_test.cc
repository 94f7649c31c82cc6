// A broker, or what stands between it and us, sends a frame that is none: at every place of a look and a removal. Each time it is an
// error in words, and the next try finds every message in one place.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <atomic>
#include <list>
#include <thread>

#include "tests/live/rabbit_world.h"

namespace claw::live {
namespace {

enum class Harm { bad_end, endless_size, unknown_method, cut };

// Stands between the agent and the server on a port of its own, and harms the `nth` frame that the server sends, over all connections.
class Proxy {
 public:
  Proxy(int server_port, Harm harm, int nth) : server_port_(server_port), harm_(harm), left_(nth) {
    sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof address;
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~Proxy() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const int fd : sockets_) ::shutdown(fd, SHUT_RDWR);
    for (std::thread& one : pumps_) one.join();
    for (const int fd : sockets_) ::close(fd);
    ::close(listener_);
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  int port() const { return port_; }
  bool harmed() const { return left_ <= 0; }

 private:
  void accept_all() {
    for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
      const int server = ::socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(static_cast<std::uint16_t>(server_port_)), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
      EXPECT_EQ(::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      sockets_.insert(sockets_.end(), {client, server});
      pumps_.emplace_back([client, server] {
        char bytes[65'536];
        for (ssize_t got; (got = ::recv(client, bytes, sizeof bytes, 0)) > 0;)
          if (!send_all(server, {bytes, static_cast<std::size_t>(got)})) break;
        ::shutdown(server, SHUT_RDWR);
      });
      pumps_.emplace_back([this, client, server] {
        std::string frame;
        while (receive(server, frame) && send_all(client, frame)) {
        }
        send_all(client, frame);  // half of one, where it was cut
        ::shutdown(client, SHUT_RDWR);
        ::shutdown(server, SHUT_RDWR);
      });
    }
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  static bool read_more(int fd, std::string& out, std::size_t count) {
    const std::size_t before = out.size();
    out.resize(before + count);
    return ::recv(fd, out.data() + before, count, MSG_WAITALL) == static_cast<ssize_t>(count);
  }

  // One frame: type, channel, size, payload, end; harmed when it is the one.
  bool receive(int fd, std::string& frame) {
    frame.clear();
    if (!read_more(fd, frame, 7)) return false;
    std::uint32_t size = 0;
    std::memcpy(&size, frame.data() + 3, sizeof size);
    if (!read_more(fd, frame, ntohl(size) + 1)) return false;
    constexpr char kMethod = 1;  // other bytes of a header or a body are another message, not a broken frame
    if (harm_ == Harm::unknown_method && frame.front() != kMethod) return true;
    if (--left_ != 0) return true;
    switch (harm_) {
      case Harm::bad_end: frame.back() = 0; break;
      case Harm::endless_size: frame.replace(3, 4, "\xff\xff\xff\xf0"); break;
      case Harm::unknown_method: frame.replace(7, 2, "\x7f\x7f"); break;
      case Harm::cut: frame.resize(frame.size() / 2); break;
    }
    return harm_ != Harm::cut;
  }

  const int server_port_;
  const Harm harm_;
  std::atomic<int> left_;
  int listener_ = -1, port_ = 0;
  std::thread acceptor_;
  std::list<std::thread> pumps_;
  std::vector<int> sockets_;
};

class Frames : public ::testing::TestWithParam<std::pair<const char*, Harm>> {};

TEST_P(Frames, harmed_anywhere_are_an_error_in_words_and_cost_no_message) {
  constexpr int kMessages = 60, kPoisonEvery = 10;
  const std::string queue = std::string("frames-") + GetParam().first;
  int errors = 0, nth = 1;
  for (bool reached = true; reached; nth += 1 + nth / 4) {
    SCOPED_TRACE(nth);
    server().declare(queue);
    server().declare(queue + ".quarantine");
    drain(queue + ".quarantine");
    publish(queue, 0, kMessages, kPoisonEvery);
    Result<Looked> seen = make_error(Code::unavailable, "test", "was not looked at");
    {
      const Proxy proxy(server().port(), GetParam().second, nth);
      const auto ours = rabbitmq::open_rabbitmq({.name = "rabbit", .url = "amqp://guest@127.0.0.1:" + std::to_string(proxy.port()), .management_url = server().management_url()},
                                                system_clock(), Deadline::in(system_clock(), Millis(5'000)));
      Status done;
      if (!ours) done = ours.error();
      if (ours) seen = look(**ours, queue);
      if (done.ok() && !seen) done = seen.error();
      if (done.ok()) {
        const auto removed = remove(**ours, *seen, "exec-f");
        if (!removed) done = removed.error();
      }
      reached = proxy.harmed();
      if (!done.ok()) {
        ++errors;
        EXPECT_TRUE(done.error().code == Code::unavailable || done.error().code == Code::corrupt || done.error().code == Code::outcome_unknown) << done.error().message();
        EXPECT_NE(done.error().message().find("127.0.0.1"), std::string::npos) << "where: " << done.error().message();
      }
    }
    if (seen) expect_finished(queue, *seen, "exec-f", kMessages, kPoisonEvery);
    else {
      await_ready(queue, kMessages);
      EXPECT_EQ(numbers(drain(queue)), range(0, kMessages, 0, false));
    }
  }
  EXPECT_GT(nth, 30) << "frames of a look and a removal";
  EXPECT_GT(errors, 5);
}

INSTANTIATE_TEST_SUITE_P(Rabbit, Frames,
                         ::testing::Values(std::pair("end", Harm::bad_end), std::pair("size", Harm::endless_size), std::pair("method", Harm::unknown_method), std::pair("cut", Harm::cut)),
                         [](const auto& one) { return std::string(one.param.first); });

}  // namespace
}  // namespace claw::live
