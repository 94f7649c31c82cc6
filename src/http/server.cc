#include "http/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "base/guarded.h"
#include "http/peer.h"

namespace claw::http {
namespace {

constexpr Millis kSweep{250};
constexpr std::size_t kReadBlock = 64 * 1024;

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Connection {
  enum class State { head, body, handling, writing, streaming } state = State::head;
  Fd fd;
  Peer peer;
  bool peer_asked = false;
  std::string in, out;
  std::size_t written = 0;
  Head head;
  bool head_only = false;
  bool keep_alive = true;
  std::unique_ptr<Feed> feed;
  MonoTime since;  // of the state, or the last progress of a write
  std::uint32_t watched = 0;
};

struct Job {
  std::uint64_t id;
  Request request;
  int fd;  // to ask the kernel who is there; stays open while the job runs
  bool ask_peer;
};

struct Done {
  std::uint64_t id;
  Response response;
  Peer peer;
};

Response problem(int status, std::string_view why) {
  return {.status = status, .type = "application/problem+json",
          .body = fmt::format(R"({{"type":"about:blank","title":"{}","status":{},"detail":"{}"}})", reason(status), status, why)};
}

struct Listening {
  Fd fd;
  std::string address;
};

Error os_error(const std::string& op) { return make_error(errno == EADDRINUSE || errno == EACCES ? Code::unavailable : Code::invalid, op, std::strerror(errno)); }

Result<Listening> listen_tcp(const std::string& listen) {
  const std::size_t colon = listen.rfind(':');
  const std::string host = listen.substr(0, colon);
  const std::string port_text = colon == std::string::npos ? "" : listen.substr(colon + 1);
  if (port_text.empty() || port_text.size() > 5 || !std::all_of(port_text.begin(), port_text.end(), [](char c) { return c >= '0' && c <= '9'; }) || std::stoul(port_text) > 65'535)
    return make_error(Code::invalid, "listen " + listen, "expected ADDRESS:PORT");
  const auto port = static_cast<std::uint16_t>(std::stoul(port_text));
  const bool six = host == "[::1]";
  if (!six && host != "127.0.0.1" && host != "localhost")
    return make_error(Code::unsupported, "listen " + listen, "this version listens on 127.0.0.1 or [::1] only; put a TLS proxy that checks who asks before it, or use an SSH tunnel");
  Fd fd(::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return os_error("listen " + listen);
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  const sockaddr* address = six ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  if (::bind(fd.get(), address, six ? sizeof v6 : sizeof v4) != 0 || ::listen(fd.get(), 512) != 0) return os_error("listen " + listen);
  sockaddr_in6 bound{};
  socklen_t size = sizeof bound;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);  // the port stands at one place in both families
  return Listening{std::move(fd), fmt::format("{}:{}", six ? "[::1]" : "127.0.0.1", ntohs(bound.sin6_port))};
}

Result<Fd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return make_error(Code::invalid, "listen " + path, fmt::format("a socket's path has at most {} bytes", sizeof address.sun_path - 1));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return os_error("listen " + path);
  ::unlink(path.c_str());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::chmod(path.c_str(), 0660) != 0 || ::listen(fd.get(), 64) != 0)
    return os_error("listen " + path);
  return fd;
}

class EpollServer final : public Server {
 public:
  EpollServer(Listening tcp, Fd unix_fd, std::string socket_path, Handler handler, Clock& clock, Limits limits)
      : tcp_(std::move(tcp)), unix_(std::move(unix_fd)), socket_path_(std::move(socket_path)), handler_(std::move(handler)), clock_(clock), limits_(limits),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)), waker_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    watch(tcp_.fd.get(), EPOLLIN, kTcp, EPOLL_CTL_ADD);
    watch(unix_.get(), EPOLLIN, kUnix, EPOLL_CTL_ADD);
    watch(waker_.get(), EPOLLIN, kWaker, EPOLL_CTL_ADD);
    for (unsigned i = 0; i < limits_.handlers; ++i) workers_.emplace_back([this](std::stop_token stop) { work(stop); });
    loop_ = std::jthread([this](std::stop_token stop) { loop(stop); });
  }
  ~EpollServer() override {
    loop_.request_stop();
    wake();
    loop_.join();
    for (std::jthread& worker : workers_) worker.request_stop();
    jobs_changed_.notify_all();
    workers_.clear();
    ::unlink(socket_path_.c_str());
  }
  const std::string& address() const override { return tcp_.address; }
  void wake() override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(waker_.get(), &one, sizeof one);  // full counter: awake already
  }

 private:
  static constexpr std::uint64_t kTcp = 0, kUnix = 1, kWaker = 2, kFirst = 16;

  void watch(int fd, std::uint32_t events, std::uint64_t id, int op) {
    epoll_event event{.events = events, .data = {.u64 = id}};
    ::epoll_ctl(epoll_.get(), op, fd, &event);
  }

  void loop(std::stop_token stop) {
    std::vector<epoll_event> events(256);
    MonoTime swept = clock_.mono();
    while (!stop.stop_requested()) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), static_cast<int>(kSweep.count()));
      for (int i = 0; i < count; ++i) {
        const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
        if (id == kTcp) accept_all(tcp_.fd.get(), false);
        else if (id == kUnix) accept_all(unix_.get(), true);
        else if (id == kWaker) awake();
        else serve(id, events[static_cast<std::size_t>(i)].events);
      }
      if (clock_.mono() - swept < kSweep) continue;
      swept = clock_.mono();
      sweep(swept);
    }
  }

  void accept_all(int listener, bool unix_socket) {
    for (int burst = 0; burst < 64; ++burst) {
      Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd.get() < 0) return;
      if (connections_.size() >= limits_.max_connections) continue;  // closed at once
      const int one = 1;
      if (!unix_socket) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const std::uint64_t id = next_id_++;
      Connection& c = connections_[id];
      c.fd = std::move(fd);
      c.peer.unix_socket = unix_socket;
      c.since = clock_.mono();
      c.watched = EPOLLIN;
      watch(c.fd.get(), EPOLLIN, id, EPOLL_CTL_ADD);
    }
  }

  void awake() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(waker_.get(), &count, sizeof count);
    for (Done& done : done_.with([](std::vector<Done>& all) { return std::exchange(all, {}); })) answer(done.id, std::move(done.response), &done.peer);
    std::vector<std::uint64_t> streams;
    for (const auto& [id, c] : connections_)
      if (c.state == Connection::State::streaming) streams.push_back(id);
    for (const std::uint64_t id : streams) flush(id);
  }

  void serve(std::uint64_t id, std::uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) return hung_up(id);
    if ((events & EPOLLIN) != 0 && !read_some(id)) return;
    if ((events & EPOLLOUT) != 0) flush(id);
  }

  // While a handler runs the connection stays, unwatched: a hang-up would be told again and again.
  void hung_up(std::uint64_t id) {
    const auto it = connections_.find(id);
    if (it == connections_.end()) return;
    if (it->second.state == Connection::State::handling) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.fd.get(), nullptr);
    else drop(id);
  }

  // False when the connection is gone.
  bool read_some(std::uint64_t id) {
    const auto it = connections_.find(id);
    if (it == connections_.end()) return false;
    Connection& c = it->second;
    char block[kReadBlock];
    const ssize_t got = ::recv(c.fd.get(), block, sizeof block, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return drop(id), false;
    if (got < 0 || c.state == Connection::State::streaming) return true;  // what a listener sends is of no interest
    if (c.state == Connection::State::head && c.in.empty()) c.since = clock_.mono();
    c.in.append(block, static_cast<std::size_t>(got));
    advance(id);
    return connections_.contains(id);
  }

  void advance(std::uint64_t id) {
    Connection& c = connections_.at(id);
    if (c.state == Connection::State::head) {
      const std::size_t end = std::string_view(c.in).substr(0, limits_.max_head).find("\r\n\r\n");
      if (end == std::string::npos) {
        if (c.in.size() >= limits_.max_head) return reject(id, {431, fmt::format("a head has at most {} bytes", limits_.max_head)});
        return;
      }
      auto head = parse_head(std::string_view(c.in).substr(0, end + 4));
      if (!head) return reject(id, head.error());
      if (head->content_length > limits_.max_body) return reject(id, {413, fmt::format("a body has at most {} bytes", limits_.max_body)});
      c.in.erase(0, end + 4);
      c.head = std::move(*head);
      c.state = Connection::State::body;
      c.since = clock_.mono();
      if (c.head.expects_continue && c.in.size() < c.head.content_length) {
        c.out = "HTTP/1.1 100 Continue\r\n\r\n";
        c.written = 0;
        write_out(c);
      }
    }
    if (c.state == Connection::State::body && c.in.size() >= c.head.content_length) hand_over(id, c);
  }

  void hand_over(std::uint64_t id, Connection& c) {
    c.head.request.body = c.in.substr(0, c.head.content_length);
    c.in.erase(0, c.head.content_length);
    c.keep_alive = c.head.request.keep_alive;
    c.head_only = c.head.request.method == "HEAD";
    c.state = Connection::State::handling;
    interest(id, c, 0);  // one request at a time; the next waits in the kernel's buffer
    c.head.request.peer = c.peer;
    {
      const std::lock_guard lock(jobs_mutex_);
      jobs_.push_back({.id = id, .request = std::move(c.head.request), .fd = c.fd.get(), .ask_peer = !c.peer_asked});
    }
    jobs_changed_.notify_one();
  }

  void work(std::stop_token stop) {
    for (;;) {
      std::unique_lock lock(jobs_mutex_);
      jobs_changed_.wait(lock, [&] { return stop.stop_requested() || !jobs_.empty(); });
      if (stop.stop_requested()) return;
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      if (job.ask_peer) job.request.peer.uid = uid_of(job.fd, job.request.peer.unix_socket);
      Done done{job.id, handler_(job.request), job.request.peer};
      done_.with([&](std::vector<Done>& all) { all.push_back(std::move(done)); });
      wake();
    }
  }

  void reject(std::uint64_t id, const Rejection& no) {
    connections_.at(id).keep_alive = false;
    answer(id, problem(no.status, no.why), nullptr);
  }

  void answer(std::uint64_t id, Response response, const Peer* peer) {
    const auto it = connections_.find(id);
    if (it == connections_.end()) return;
    Connection& c = it->second;
    if (peer != nullptr) {
      c.peer = *peer;
      c.peer_asked = true;
    }
    if (response.feed && streams_ >= limits_.max_streams) response = problem(503, "too many event streams are open");
    if (response.feed) {
      ++streams_;
      c.feed = std::move(response.feed);
      c.out = head_of(response, std::nullopt, false);
      c.state = Connection::State::streaming;
    } else {
      const bool no_body = c.head_only || response.status == 304;
      c.out = head_of(response, response.body.size(), c.keep_alive);
      if (!no_body) c.out += response.body;
      c.state = Connection::State::writing;
    }
    c.written = 0;
    c.since = clock_.mono();
    flush(id);
  }

  // Sends what can be sent; pulls more from a feed; goes on to the next request when an answer is out.
  void flush(std::uint64_t id) {
    const auto it = connections_.find(id);
    if (it == connections_.end()) return;
    Connection& c = it->second;
    if (c.state != Connection::State::writing && c.state != Connection::State::streaming) return;
    if (c.feed && c.out.size() - c.written < limits_.stream_backlog) {
      c.out.erase(0, c.written);
      c.written = 0;
      const bool idle = c.out.empty();
      c.feed->pull(c.out);
      if (idle) c.since = clock_.mono();
    }
    if (!write_out(c)) return drop(id);
    if (c.written < c.out.size()) return interest(id, c, c.state == Connection::State::streaming ? EPOLLIN | EPOLLOUT : EPOLLOUT);
    c.out.clear();
    c.written = 0;
    if (c.state == Connection::State::streaming) return interest(id, c, EPOLLIN);
    if (!c.keep_alive) return drop(id);
    c.state = Connection::State::head;
    c.since = clock_.mono();
    interest(id, c, EPOLLIN);
    if (!c.in.empty()) advance(id);
  }

  bool write_out(Connection& c) {
    while (c.written < c.out.size()) {
      const ssize_t sent = ::send(c.fd.get(), c.out.data() + c.written, c.out.size() - c.written, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      c.written += static_cast<std::size_t>(sent);
      c.since = clock_.mono();
    }
    return true;
  }

  void interest(std::uint64_t id, Connection& c, std::uint32_t events) {
    if (c.watched == events) return;
    c.watched = events;
    watch(c.fd.get(), events, id, EPOLL_CTL_MOD);
  }

  // A connection whose request is being handled stays until its answer is there: a handler may look at its socket.
  void drop(std::uint64_t id) {
    const auto it = connections_.find(id);
    if (it == connections_.end() || it->second.state == Connection::State::handling) return;
    if (it->second.feed) --streams_;
    connections_.erase(it);
  }

  void sweep(MonoTime now) {
    std::vector<std::uint64_t> late;
    for (const auto& [id, c] : connections_)
      if (overdue(c, now)) late.push_back(id);
    for (const std::uint64_t id : late) drop(id);
  }
  bool overdue(const Connection& c, MonoTime now) const {
    switch (c.state) {
      case Connection::State::head: return now - c.since > (c.in.empty() ? limits_.idle_timeout : limits_.head_timeout);
      case Connection::State::body: return now - c.since > limits_.body_timeout;
      case Connection::State::handling: return false;
      case Connection::State::writing: return now - c.since > limits_.write_timeout;
      case Connection::State::streaming: return c.written < c.out.size() && now - c.since > limits_.write_timeout;
    }
    return false;
  }

  Listening tcp_;
  Fd unix_;
  const std::string socket_path_;
  const Handler handler_;
  Clock& clock_;
  const Limits limits_;
  Fd epoll_, waker_;
  // Of the loop's thread alone.
  std::map<std::uint64_t, Connection> connections_;
  std::uint64_t next_id_ = kFirst;
  std::size_t streams_ = 0;
  // Between the loop and the handlers.
  std::mutex jobs_mutex_;
  std::condition_variable jobs_changed_;
  std::deque<Job> jobs_;
  Guarded<std::vector<Done>> done_;
  std::vector<std::jthread> workers_;
  std::jthread loop_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(const std::string& listen, const std::string& socket_path, Handler handler, Clock& clock, Limits limits) {
  CLAW_TRY_ASSIGN(Listening tcp, listen_tcp(listen));
  CLAW_TRY_ASSIGN(Fd unix_fd, listen_unix(socket_path));
  return std::unique_ptr<Server>(std::make_unique<EpollServer>(std::move(tcp), std::move(unix_fd), socket_path, std::move(handler), clock, limits));
}

}  // namespace claw::http
