#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "http/client.h"
#include "http/message.h"
#include "http/peer.h"
#include "http/server.h"

namespace claw::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string head(const std::string& line, const std::string& more = "") { return line + "\r\nHost: a\r\n" + more + "\r\n"; }

TEST(Head, is_taken_apart_and_decoded) {
  const auto parsed = parse_head(head("POST /api/v1/queues/eu/a%2Fb%20c?minutes=5&x=%C3%A4 HTTP/1.1", "Content-Length: 12\r\nX-Thing:  two words \r\n"));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->request.path, (std::vector<std::string>{"api", "v1", "queues", "eu", "a/b c"}));
  EXPECT_EQ(parsed->request.param("minutes"), "5");
  EXPECT_EQ(parsed->request.param("x"), "ä");
  EXPECT_EQ(parsed->request.header("x-thing"), "two words");
  EXPECT_EQ(parsed->content_length, 12u);
  EXPECT_TRUE(parsed->request.keep_alive);
}

TEST(Head, that_could_mean_two_things_is_refused) {
  const std::pair<std::string, int> wrong[] = {
      {head("GET / HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
      {head("GET / HTTP/1.1", "Content-Length: +1\r\n"), 400},
      {head("GET / HTTP/1.1", "Content-Length: 1e3\r\n"), 400},
      {head("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n"), 501},
      {head("GET / HTTP/1.1", "Host: b\r\n"), 400},
      {head("GET / HTTP/1.1", "X : y\r\n"), 400},
      {head("GET / HTTP/1.1", " folded\r\n"), 400},
      {head("GET / HTTP/1.1", std::string("X: a\0b\r\n", 8)), 400},
      {head("GET /%2e%2e/x HTTP/1.1"), 400},
      {head("GET /a%zz HTTP/1.1"), 400},
      {head("GET /a%2 HTTP/1.1"), 400},
      {head("GET http://a/ HTTP/1.1"), 400},
      {head("GET  / HTTP/1.1"), 400},
      {head("GET / HTTP/2.0"), 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: a\n\n", 400},
  };
  for (const auto& [text, status] : wrong) {
    const auto parsed = parse_head(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().status, status) << text;
  }
}

TEST(Head, with_too_many_headers_is_refused) {
  std::string many;
  for (int i = 0; i < 65; ++i) many += fmt::format("x-{}: 1\r\n", i);
  EXPECT_EQ(parse_head(head("GET / HTTP/1.1", many)).error().status, 431);
}

TEST(Percent, encoding_is_undone_by_decoding) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(*percent_decode(percent_encode(all)), all);
}

// A stream that says its number at each pull.
class Counter final : public Feed {
 public:
  explicit Counter(std::atomic<int>& said) : said_(said) {}
  void pull(std::string& out) override { out += fmt::format("data: {}\n\n", ++said_); }

 private:
  std::atomic<int>& said_;
};

class Socket {
 public:
  explicit Socket(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Socket() { ::close(fd_); }
  void say(const std::string& text) const { EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size())); }
  // Until `end` is in it, the other side closes or the patience ends.
  std::string hear(std::string_view end) const {
    std::string all;
    char block[4096];
    while (all.find(end) == std::string::npos) {
      const ssize_t got = ::recv(fd_, block, sizeof block, 0);
      if (got <= 0) return all + "<closed>";
      all.append(block, static_cast<std::size_t>(got));
    }
    return all;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/claw-http-XXXXXX";
    dir_ = ::mkdtemp(name);
    auto started = Server::start("127.0.0.1:0", dir_ + "/s", [this](const Request& r) { return answer(r); }, system_clock(),
                                 {.head_timeout = Millis(1'000), .idle_timeout = Millis(1'000), .handlers = 2});
    ASSERT_TRUE(started.ok()) << started.error().message();
    server_ = std::move(*started);
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(dir_);
  }
  Response answer(const Request& r) {
    if (r.path[0] == "stream") return {.type = "text/event-stream", .feed = std::make_unique<Counter>(said_)};
    return {.type = "text/plain", .body = fmt::format("{} {} {}", r.method, r.body, r.peer.uid ? std::to_string(*r.peer.uid) : "nobody")};
  }
  Socket connect() const { return Socket(server_->address()); }

  std::string dir_;
  std::atomic<int> said_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, answers_in_pieces_pipelined_and_knows_who_asks) {
  const Socket s = connect();
  const std::string who = std::to_string(::geteuid());
  for (const char c : std::string("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")) s.say(std::string(1, c));
  EXPECT_THAT(s.hear("POST abc " + who), StartsWith("HTTP/1.1 200 OK\r\n"));
  s.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string both = s.hear("never");
  EXPECT_EQ(both.find("HTTP/1.1 200"), 0u);
  EXPECT_NE(both.find("HTTP/1.1 200", 20), std::string::npos);
  EXPECT_THAT(both, HasSubstr("<closed>"));
}

TEST_F(ServerTest, speaks_over_the_unix_socket_too) {
  const auto answer = ask(dir_ + "/s", "POST", "/x", {}, std::string(100'000, 'b'), Deadline::in(system_clock(), Millis(10'000)), system_clock());
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body.size(), 5 + 100'000 + 1 + std::to_string(::geteuid()).size());
  EXPECT_EQ(ask(dir_ + "/none", "GET", "/", {}, "", Deadline::in(system_clock(), Millis(1'000)), system_clock()).error().code, Code::unavailable);
}

TEST_F(ServerTest, refuses_what_is_too_large_before_it_is_sent) {
  const Socket body = connect();
  body.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_THAT(body.hear("never"), StartsWith("HTTP/1.1 413"));
  const Socket head_socket = connect();
  head_socket.say("GET / HTTP/1.1\r\nX: " + std::string(17'000, 'x'));
  EXPECT_THAT(head_socket.hear("never"), StartsWith("HTTP/1.1 431"));
}

TEST_F(ServerTest, ends_a_connection_that_dawdles_over_its_head_however_it_drips) {
  const Socket slow = connect();
  slow.say("GET / HT");
  const MonoTime start = system_clock().mono();
  std::string got;
  for (int i = 0; i < 40 && got.empty(); ++i) {
    const char drip = 'x';
    if (::send(slow.fd(), &drip, 1, MSG_NOSIGNAL) < 0) break;
    system_clock().sleep(Millis(100));
  }
  const Millis lasted = elapsed(start, system_clock().mono());
  EXPECT_GE(lasted, Millis(900));
  EXPECT_LT(lasted, Millis(3'500));
}

TEST_F(ServerTest, two_hundred_streams_and_sixty_four_slow_heads_delay_nobody) {
  std::vector<std::unique_ptr<Socket>> held;
  for (int i = 0; i < 200; ++i) {
    held.push_back(std::make_unique<Socket>(server_->address()));
    held.back()->say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    held.back()->hear("data: ");
  }
  for (int i = 0; i < 64; ++i) {
    held.push_back(std::make_unique<Socket>(server_->address()));
    held.back()->say("GET / HTTP/1.1\r\nX: ");
  }
  const MonoTime start = system_clock().mono();
  for (int i = 0; i < 20; ++i) {
    const Socket s = connect();
    s.say("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(s.hear("GET "), StartsWith("HTTP/1.1 200"));
  }
  EXPECT_LT(elapsed(start, system_clock().mono()), Millis(4'000));
  const int before = said_;
  server_->wake();
  for (int i = 0; i < 200; ++i) EXPECT_THAT(held[static_cast<std::size_t>(i)]->hear("\n\n"), HasSubstr("data: "));
  // One may have heard what it was told by itself a moment ago, and its answer to the call may still be on the way.
  const MonoTime woken = system_clock().mono();
  while (said_ - before < 200 && elapsed(woken, system_clock().mono()) < Millis(4'000)) system_clock().sleep(Millis(5));
  EXPECT_GE(said_ - before, 200);
}

TEST(Server, listens_on_loopback_alone) {
  const auto open = [](const std::string& where) { return Server::start(where, "/tmp/claw-never", [](const Request&) { return Response{}; }, system_clock(), {}); };
  EXPECT_EQ(open("0.0.0.0:0").error().code, Code::unsupported);
  EXPECT_EQ(open("192.0.2.1:80").error().code, Code::unsupported);
  EXPECT_EQ(open("127.0.0.1:99999").error().code, Code::invalid);
  EXPECT_EQ(open("127.0.0.1").error().code, Code::invalid);
}

}  // namespace
}  // namespace claw::http
