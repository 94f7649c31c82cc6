#include "redis/connection.h"

#include <fmt/format.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "redis/parser.h"

namespace claw::redis {
namespace {

constexpr Millis kSlice{250};               // no wait is longer without looking at the deadline
constexpr std::size_t kReadSize = 512 * 1024;

// A non-blocking socket, plain or under TLS. read and write give the bytes moved, 0 = would block.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Result<std::size_t> read(std::span<char> into) = 0;
  virtual Result<std::size_t> write(std::string_view bytes) = 0;
  virtual short wants() const = 0;  // poll events of the last call that would block
  virtual int fd() const = 0;
};

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { if (fd_ >= 0) ::close(fd_); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error lost(const std::string& op) { return make_error(Code::unavailable, op, errno == 0 ? "the server closed the connection" : std::strerror(errno)); }

Status wait(int fd, short events, Clock& clock, Deadline deadline, const std::string& op) {
  while (!deadline.expired(clock)) {
    pollfd poll_fd{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::min(kSlice, deadline.remaining(clock)).count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return lost(op);
  }
  return make_error(Code::timed_out, op, "no answer before the deadline");
}

class Plain final : public Transport {
 public:
  Plain(Socket socket, std::string where) : socket_(std::move(socket)), where_(std::move(where)) {}
  Result<std::size_t> read(std::span<char> into) override {
    const ssize_t got = ::recv(socket_.get(), into.data(), into.size(), 0);
    wants_ = POLLIN;
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::size_t{0};
    if (got == 0) errno = 0;
    return lost("read from " + where_);
  }
  Result<std::size_t> write(std::string_view bytes) override {
    const ssize_t put = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    wants_ = POLLOUT;
    if (put >= 0) return static_cast<std::size_t>(put);
    if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
    return lost("write to " + where_);
  }
  short wants() const override { return wants_; }
  int fd() const override { return socket_.get(); }

 private:
  Socket socket_;
  std::string where_;
  short wants_ = POLLIN;
};

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

std::string ssl_reason() {
  const unsigned long code = ERR_get_error();
  if (code == 0) return errno == 0 ? "the peer closed the connection" : std::strerror(errno);
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  return text;
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(Socket socket, std::string where) : socket_(std::move(socket)), where_(std::move(where)) {}

  Status open(const Tls& tls, const std::string& host, Clock& clock, Deadline deadline) {
    const std::string op = "TLS to " + where_;
    context_.reset(SSL_CTX_new(TLS_client_method()));
    if (!context_) return make_error(Code::unavailable, op, ssl_reason());
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const bool trusted = tls.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context_.get()) == 1
                                             : SSL_CTX_load_verify_locations(context_.get(), tls.ca_file.c_str(), nullptr) == 1;
    if (!trusted) return make_error(Code::invalid, op, "cannot read the CA file " + tls.ca_file + ": " + ssl_reason());
    if (!tls.cert_file.empty() && (SSL_CTX_use_certificate_chain_file(context_.get(), tls.cert_file.c_str()) != 1 ||
                                   SSL_CTX_use_PrivateKey_file(context_.get(), tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
                                   SSL_CTX_check_private_key(context_.get()) != 1))
      return make_error(Code::invalid, op, "cannot use the client certificate " + tls.cert_file + ": " + ssl_reason());
    ssl_.reset(SSL_new(context_.get()));
    const std::string name = tls.server_name.empty() ? host : tls.server_name;
    in6_addr address;
    const bool is_ip = inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
    const bool named = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str()) == 1
                             : SSL_set1_host(ssl_.get(), name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl_.get(), name.c_str()) == 1;
    if (!named || SSL_set_fd(ssl_.get(), socket_.get()) != 1) return make_error(Code::invalid, op, "cannot check the name " + name);
    for (;;) {
      ERR_clear_error();
      errno = 0;
      const int result = SSL_connect(ssl_.get());
      if (result == 1) return {};
      if (!would_block(result)) return make_error(Code::denied, op, ssl_reason());
      CLAW_TRY(wait(socket_.get(), wants_, clock, deadline, op));
    }
  }

  Result<std::size_t> read(std::span<char> into) override {
    ERR_clear_error();
    errno = 0;
    const int got = SSL_read(ssl_.get(), into.data(), static_cast<int>(std::min<std::size_t>(into.size(), 1u << 30)));
    if (got > 0) return static_cast<std::size_t>(got);
    if (would_block(got)) return std::size_t{0};
    return make_error(Code::unavailable, "read from " + where_, ssl_reason());
  }
  Result<std::size_t> write(std::string_view bytes) override {
    ERR_clear_error();
    errno = 0;
    const int put = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1u << 30)));
    if (put > 0) return static_cast<std::size_t>(put);
    if (would_block(put)) return std::size_t{0};
    return make_error(Code::unavailable, "write to " + where_, ssl_reason());
  }
  short wants() const override { return wants_; }
  int fd() const override { return socket_.get(); }

 private:
  bool would_block(int result) {
    const int why = SSL_get_error(ssl_.get(), result);
    wants_ = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
  }

  Socket socket_;
  std::string where_;
  std::unique_ptr<SSL_CTX, FreeSsl> context_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  short wants_ = POLLIN;
};

class SocketConnection final : public Connection {
 public:
  SocketConnection(std::unique_ptr<Transport> transport, std::string where, Clock& clock)
      : transport_(std::move(transport)), where_(std::move(where)), clock_(clock) {}

  void send(std::span<const std::string_view> words) override {
    fmt::format_to(std::back_inserter(out_), "*{}\r\n", words.size());
    for (const std::string_view word : words) {
      fmt::format_to(std::back_inserter(out_), "${}\r\n", word.size());
      out_ += word;
      out_ += "\r\n";
    }
    ++awaited_;
  }

  Status flush(Deadline deadline) override {
    while (written_ < out_.size()) {
      Result<std::size_t> put = transport_->write(std::string_view(out_).substr(written_));
      if (!put) return fail(std::move(put).error());
      written_ += *put;
      if (written_ == out_.size()) break;
      // A server that sends while we send must be heard, or both wait for ever.
      Status ready = wait(transport_->fd(), static_cast<short>(transport_->wants() | POLLIN), clock_, deadline, "write to " + where_);
      if (!ready.ok()) return fail(std::move(ready).error());
      if (Status heard = take_in(); !heard.ok()) return heard;
    }
    out_.clear();
    written_ = 0;
    return {};
  }

  Status receive_into(Reply& reply, Deadline deadline) override {
    if (broken_) return make_error(Code::unavailable, "read from " + where_, "the connection is broken");
    CLAW_TRY(flush(deadline));
    for (;;) {
      Result<bool> whole = parser_.next(reply);
      if (!whole) return fail(std::move(whole).error());
      if (*whole) {
        --awaited_;
        return {};
      }
      Result<std::size_t> got = transport_->read(parser_.room(kReadSize));
      if (!got) return fail(std::move(got).error());
      parser_.commit(*got);
      if (*got > 0) continue;
      Status ready = wait(transport_->fd(), transport_->wants(), clock_, deadline, "read from " + where_);
      if (!ready.ok()) return fail(std::move(ready).error());
    }
  }

  Result<Reply> receive(Deadline deadline) override {
    Reply reply;
    CLAW_TRY(receive_into(reply, deadline));
    return reply;
  }

  std::uint64_t awaited() const override { return awaited_; }
  bool broken() const override { return broken_; }
  std::string where() const override { return where_; }
  Clock& clock() override { return clock_; }

 private:
  Status take_in() {
    Result<std::size_t> got = transport_->read(parser_.room(kReadSize));
    if (!got) return fail(std::move(got).error());
    parser_.commit(*got);
    return {};
  }

  // A command that was written and never answered may have taken effect.
  Error fail(Error error) {
    const bool sent = awaited_ > 0 && out_.size() > 0 ? written_ > 0 : awaited_ > 0;
    broken_ = true;
    if (sent && (error.code == Code::unavailable || error.code == Code::timed_out)) {
      error.detail += "; a command was sent and its answer never came";
      error.code = Code::outcome_unknown;
    }
    return error;
  }

  std::unique_ptr<Transport> transport_;
  std::string where_;
  Clock& clock_;
  Parser parser_;
  std::string out_;
  std::size_t written_ = 0;
  std::uint64_t awaited_ = 0;
  bool broken_ = false;
};

Result<Socket> connect_one(const sockaddr* address, socklen_t size, int family, Clock& clock, Deadline deadline, const std::string& op) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return lost(op);
  if (::connect(socket.get(), address, size) != 0) {
    if (errno != EINPROGRESS && errno != EAGAIN) return lost(op);
    CLAW_TRY(wait(socket.get(), POLLOUT, clock, deadline, op));
    int problem = 0;
    socklen_t length = sizeof problem;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &problem, &length);
    errno = problem;
    if (problem != 0) return lost(op);
  }
  const int on = 1;
  if (family != AF_UNIX) ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return socket;
}

Result<Socket> connect_to(const Endpoint& endpoint, Clock& clock, Deadline deadline) {
  const std::string op = "connect to " + endpoint.text();
  if (!endpoint.unix_path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (endpoint.unix_path.size() >= sizeof address.sun_path) return make_error(Code::invalid, op, "the socket's path is too long");
    std::memcpy(address.sun_path, endpoint.unix_path.data(), endpoint.unix_path.size());
    return connect_one(reinterpret_cast<const sockaddr*>(&address), sizeof address, AF_UNIX, clock, deadline, op);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int problem = ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (problem != 0) return make_error(Code::unavailable, op, ::gai_strerror(problem));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  Error last = make_error(Code::unavailable, op, "no address");
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    Result<Socket> socket = connect_one(one->ai_addr, one->ai_addrlen, one->ai_family, clock, deadline, op);
    if (socket) return socket;
    last = std::move(socket).error();
  }
  return last;
}

Status log_in(Connection& connection, const Endpoint& endpoint, Deadline deadline) {
  if (!endpoint.password.empty()) {
    const std::string_view password = endpoint.password.reveal();
    if (endpoint.user.empty()) CLAW_TRY(connection.call({"AUTH", password}, deadline));
    else CLAW_TRY(connection.call({"AUTH", endpoint.user, password}, deadline));
  }
  if (endpoint.database != 0) CLAW_TRY(connection.call({"SELECT", std::to_string(endpoint.database)}, deadline));
  // A user without the right to name itself is still welcome; one that must log in is told so here.
  CLAW_TRY_ASSIGN(const Reply named, (connection.send({"CLIENT", "SETNAME", "deployclaw"}), connection.receive(deadline)));
  if (named.root().is_error() && named.root().text().starts_with("NOAUTH")) return to_error(named.root().text(), "log in to " + endpoint.text());
  return {};
}

}  // namespace

Endpoint Endpoint::clone() const { return at(host, port); }

Endpoint Endpoint::at(std::string other_host, std::uint16_t other_port) const {
  Endpoint copy;
  copy.host = std::move(other_host);
  copy.port = other_port;
  copy.unix_path = unix_path;
  copy.database = database;
  copy.user = user;
  copy.password = password.clone();
  copy.sentinel_password = sentinel_password.clone();
  copy.tls = tls;
  return copy;
}

Endpoint Endpoint::as_sentinel() const {
  Endpoint copy = clone();
  copy.user.clear();
  copy.password = sentinel_password.clone();
  copy.database = 0;
  return copy;
}

std::string Endpoint::text() const { return unix_path.empty() ? fmt::format("{}:{}", host, port) : unix_path; }

Result<std::unique_ptr<Connection>> Connection::open(const Endpoint& endpoint, Clock& clock, Deadline deadline) {
  CLAW_TRY_ASSIGN(Socket socket, connect_to(endpoint, clock, deadline));
  std::unique_ptr<Transport> transport;
  if (endpoint.tls) {
    auto tls = std::make_unique<TlsTransport>(std::move(socket), endpoint.text());
    CLAW_TRY(tls->open(*endpoint.tls, endpoint.host, clock, deadline));
    transport = std::move(tls);
  } else {
    transport = std::make_unique<Plain>(std::move(socket), endpoint.text());
  }
  auto connection = std::make_unique<SocketConnection>(std::move(transport), endpoint.text(), clock);
  CLAW_TRY(log_in(*connection, endpoint, deadline));
  return std::unique_ptr<Connection>(std::move(connection));
}

Status Connection::discard_awaited(Deadline deadline) {
  Reply unread;
  while (awaited() > 0 && !broken()) CLAW_TRY(receive_into(unread, deadline));
  return {};
}

Result<Reply> Connection::call(Words words, Deadline deadline) { return call(std::span(words.begin(), words.size()), deadline); }

Result<Reply> Connection::call(std::span<const std::string_view> words, Deadline deadline) {
  send(words);
  CLAW_TRY_ASSIGN(Reply reply, receive(deadline));
  if (!reply.root().is_error()) return reply;
  const std::string_view said = reply.root().text();
  if (words[0] == "AUTH") {  // a server without the command repeats its words, the password among them
    Error error = to_error(said, "AUTH");
    error.detail = escape(said.substr(0, said.find(' ')), 40) + ": the user name or the password was not taken (the server's words are not shown: they may repeat them)";
    return error;
  }
  return to_error(said, words.size() > 1 ? fmt::format("{} {}", words[0], escape(words[1], 80)) : std::string(words[0]));
}

Error to_error(std::string_view resp_error, std::string op) {
  const std::string_view word = resp_error.substr(0, resp_error.find(' '));
  Code code = Code::invalid;
  if (word == "NOAUTH" || word == "WRONGPASS" || word == "NOPERM") code = Code::denied;
  else if (word == "LOADING" || word == "BUSY" || word == "TRYAGAIN" || word == "CLUSTERDOWN" || word == "MASTERDOWN" || word == "READONLY") code = Code::unavailable;
  else if (word == "OOM") code = Code::full;
  else if (word == "NOSCRIPT" || word == "NOGROUP") code = Code::not_found;
  else if (word == "MOVED" || word == "ASK") code = Code::lease_lost;
  return make_error(code, std::move(op), escape(resp_error, 300));
}

}  // namespace claw::redis
