#include "redis/servers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"

namespace claw::redis {
namespace {

constexpr std::size_t kSlots = 16'384;
constexpr Millis kPause{50};
constexpr Millis kLongestPause{500};
constexpr Millis kOneTry{3'000};  // for a node that may be dead, while others are not

// CRC-16/XMODEM, as the cluster specification has it.
std::uint16_t crc16(std::string_view bytes) {
  std::uint16_t crc = 0;
  for (const char c : bytes) {
    crc = static_cast<std::uint16_t>(crc ^ static_cast<std::uint16_t>(static_cast<std::uint8_t>(c) << 8));
    for (int bit = 0; bit < 8; ++bit) crc = static_cast<std::uint16_t>((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
  }
  return crc;
}

// Says ASKING before every command, so that a node that imports a slot answers for a key that it has already.
class Asking final : public Connection {
 public:
  explicit Asking(Connection& inner) : inner_(inner) {}
  void send(std::span<const std::string_view> words) override {
    const std::string_view asking[] = {"ASKING"};
    inner_.send(asking);
    inner_.send(words);
  }
  Status flush(Deadline deadline) override { return inner_.flush(deadline); }
  Result<Reply> receive(Deadline deadline) override {
    CLAW_TRY(inner_.receive(deadline));
    return inner_.receive(deadline);
  }
  Status receive_into(Reply& reply, Deadline deadline) override {
    CLAW_TRY(inner_.receive_into(reply, deadline));
    return inner_.receive_into(reply, deadline);
  }
  std::uint64_t awaited() const override { return inner_.awaited() / 2; }
  bool broken() const override { return inner_.broken(); }
  std::string where() const override { return inner_.where(); }
  Clock& clock() override { return inner_.clock(); }

 private:
  Connection& inner_;
};

Status check_version(const std::string& version, const std::string& where) {
  int major = 0, minor = 0;
  const char* end = version.data() + version.size();
  const auto [dot, problem] = std::from_chars(version.data(), end, major);
  if (problem == std::errc() && dot != end) std::from_chars(dot + 1, end, minor);
  if (major > 6 || (major == 6 && minor >= 2)) return {};
  return make_error(Code::unsupported, "redis at " + where, "version " + escape(version, 40) + ", expected 6.2 or newer");
}

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

std::optional<HostPort> host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  HostPort out;
  out.host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (problem != std::errc() || end != port.data() + port.size() || out.port == 0) return std::nullopt;
  return out;
}

std::optional<Servers::Redirect> redirect_of(const Error& error) {
  const std::string_view text = error.detail;
  const bool moved = text.starts_with("MOVED "), ask = text.starts_with("ASK ");
  if (error.code != Code::lease_lost || (!moved && !ask)) return std::nullopt;
  return Servers::Redirect{ask, std::string(text.substr(text.rfind(' ') + 1))};
}

// What the server said before anything of the call ran.
bool nothing_ran(const Error& error) {
  for (const std::string_view word : {"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"})
    if (error.code == Code::unavailable && error.detail.starts_with(word)) return true;
  return false;
}

bool lost_connection(const Error& error) {
  return (error.code == Code::unavailable && !nothing_ran(error)) || error.code == Code::outcome_unknown || error.code == Code::timed_out;
}

}  // namespace

std::string info_value(std::string_view info, std::string_view name) {
  const std::string key = "\n" + std::string(name) + ":";
  const std::size_t at = info.find(key);
  if (at == std::string_view::npos) return {};
  const std::size_t from = at + key.size();
  return std::string(info.substr(from, info.find('\r', from) - from));
}

std::uint16_t slot_of(std::string_view key) {
  if (const std::size_t open = key.find('{'); open != std::string_view::npos) {
    const std::size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return crc16(key) % kSlots;
}

Result<std::unique_ptr<Servers>> Servers::open(Entry entry, Clock& clock, Deadline deadline) {
  std::unique_ptr<Servers> out(new Servers(std::move(entry), clock));
  CLAW_TRY(out->the_server(deadline));
  CLAW_TRY_ASSIGN(const Reply info, out->server_->call({"INFO", "server"}, deadline));
  out->version_ = info_value(info.root().text(), "redis_version");
  CLAW_TRY(check_version(out->version_, out->server_->where()));
  if (info_value(info.root().text(), "redis_mode") != "cluster") return out;
  if (!out->entry_.service.empty()) return make_error(Code::unsupported, "redis at " + out->server_->where(), "is a node of a cluster, expected a master that sentinels watch");
  if (out->entry_.seeds.front().database != 0) return make_error(Code::invalid, "redis at " + out->server_->where(), "a cluster has only database 0");
  out->clustered_ = true;
  CLAW_TRY(out->take_slots(*out->server_, deadline));
  out->server_.reset();
  return out;
}

Result<std::unique_ptr<Connection>> Servers::connect(const Endpoint& endpoint, Deadline deadline) { return Connection::open(endpoint, clock_, deadline); }

// The first sentinel that knows the service tells where its master is now.
Result<Endpoint> Servers::ask_sentinels(Deadline deadline) {
  Error last = make_error(Code::unavailable, "sentinels of " + entry_.service, "none answered");
  for (const Endpoint& seed : entry_.seeds) {
    const Deadline soon = deadline.or_sooner(Deadline::in(clock_, kOneTry));
    Result<std::unique_ptr<Connection>> sentinel = connect(seed.as_sentinel(), soon);
    if (!sentinel) {
      last = std::move(sentinel).error();
      continue;
    }
    Result<Reply> answer = (*sentinel)->call({"SENTINEL", "get-master-addr-by-name", entry_.service}, soon);
    if (!answer) {
      last = std::move(answer).error();
      continue;
    }
    const Reply::View where = answer->root();
    const auto found = where.size() == 2 ? host_port(std::string(where.first().text()) + ":" + std::string(where.first().next().text())) : std::nullopt;
    if (found) return seed.at(found->host, found->port);
    last = make_error(Code::not_found, "sentinel at " + seed.text(), "does not know the service '" + escape(entry_.service, 60) + "'");
  }
  return last;
}

// The one server there is, connected: the first seed that answers, or the master that sentinels name.
Result<Connection*> Servers::the_server(Deadline deadline) {
  if (server_ != nullptr && !server_->broken()) return server_.get();
  server_.reset();
  if (!entry_.service.empty()) {
    CLAW_TRY_ASSIGN(const Endpoint master, ask_sentinels(deadline));
    CLAW_TRY_ASSIGN(auto connection, connect(master, deadline.or_sooner(Deadline::in(clock_, kOneTry))));
    CLAW_TRY_ASSIGN(const Reply role, connection->call({"ROLE"}, deadline));
    if (role.root().size() == 0 || role.root().first().text() != "master")
      return make_error(Code::unavailable, "redis at " + master.text(), "READONLY: the sentinels call it master, it is none yet");
    server_ = std::move(connection);
    return server_.get();
  }
  Error last = make_error(Code::unavailable, "redis", "no address");
  for (const Endpoint& seed : entry_.seeds) {
    const bool only = entry_.seeds.size() == 1;
    Result<std::unique_ptr<Connection>> connection = connect(seed, only ? deadline : deadline.or_sooner(Deadline::in(clock_, kOneTry)));
    if (connection) {
      server_ = std::move(*connection);
      return server_.get();
    }
    last = std::move(connection).error();
    if (last.code == Code::denied || last.code == Code::invalid) break;  // another node would say the same
  }
  return last;
}

Servers::Node& Servers::node(const std::string& address) {
  const auto [found, fresh] = nodes_.try_emplace(address);
  if (fresh) {
    const auto parts = host_port(address);
    CLAW_CHECK(parts.has_value());
    found->second.endpoint = entry_.seeds.front().at(parts->host, parts->port);
  }
  return found->second;
}

Result<Connection*> Servers::connected(Node& node, Deadline deadline) {
  if (node.connection != nullptr && !node.connection->broken()) return node.connection.get();
  node.asking.reset();
  node.connection.reset();
  CLAW_TRY_ASSIGN(node.connection, connect(node.endpoint, deadline));
  node.asking = std::make_unique<Asking>(*node.connection);
  return node.connection.get();
}

// CLUSTER SLOTS: one row a range {from, to, {host, port, …} of its master, …}.
Status Servers::take_slots(Connection& from, Deadline deadline) {
  CLAW_TRY_ASSIGN(const Reply reply, from.call({"CLUSTER", "SLOTS"}, deadline));
  const auto here = host_port(from.where());
  std::vector<std::string> slots(kSlots);
  Reply::View range = reply.root().first();
  for (std::size_t i = 0; i < reply.root().size(); ++i, range = range.next()) {
    if (range.size() < 3) return make_error(Code::corrupt, "CLUSTER SLOTS", "a range without a master");
    const Reply::View first = range.first(), last = first.next(), master = last.next();
    if (first.integer() < 0 || last.integer() >= static_cast<std::int64_t>(kSlots) || master.size() < 2) return make_error(Code::corrupt, "CLUSTER SLOTS", "not a range of slots");
    std::string host(master.first().text());
    // A node that does not know its own name is where we asked.
    if ((host.empty() || host == "?") && here) host = here->host;
    const std::string address = fmt::format("{}:{}", host, master.first().next().integer());
    if (!host_port(address)) return make_error(Code::corrupt, "CLUSTER SLOTS", "not an address: " + escape(address, 80));
    for (std::int64_t slot = first.integer(); slot <= last.integer(); ++slot) slots[static_cast<std::size_t>(slot)] = address;
  }
  slots_ = std::move(slots);
  asking_.clear();
  return {};
}

// From the node named first, else from any that answers.
Status Servers::learn_slots(const std::string& first, Deadline deadline) {
  std::vector<Endpoint> candidates;
  if (const auto parts = host_port(first); parts && !parts->host.empty()) candidates.push_back(entry_.seeds.front().at(parts->host, parts->port));
  for (const auto& [address, known] : nodes_) candidates.push_back(known.endpoint.clone());
  for (const Endpoint& seed : entry_.seeds) candidates.push_back(seed.clone());
  Error last = make_error(Code::unavailable, "redis cluster", "no node answered");
  for (const Endpoint& candidate : candidates) {
    Result<Connection*> connection = connected(node(candidate.text()), deadline.or_sooner(Deadline::in(clock_, kOneTry)));
    Status done = connection ? take_slots(**connection, deadline) : Status(connection.error());
    if (done.ok()) return done;
    last = std::move(done).error();
  }
  return last;
}

Result<Connection*> Servers::place_of(std::string_view key, Deadline deadline) {
  if (!clustered_) return the_server(deadline);
  const std::uint16_t slot = slot_of(key);
  const auto moving = asking_.find(slot);
  const std::string& address = moving != asking_.end() ? moving->second : slots_[slot];
  if (address.empty()) return make_error(Code::unavailable, "redis cluster", fmt::format("CLUSTERDOWN: nobody serves slot {}", slot));
  Node& home = node(address);
  CLAW_TRY_ASSIGN(Connection* connection, connected(home, deadline));
  return moving != asking_.end() ? home.asking.get() : connection;
}

Result<Connection*> Servers::serving(std::string_view key, Deadline deadline) {
  CLAW_TRY_ASSIGN(Connection* connection, place_of(key, deadline));
  Status clean = connection->discard_awaited(deadline);
  return clean.ok() ? Result<Connection*>(connection) : place_of(key, deadline);  // what could not be read broke the connection
}

Result<std::vector<Connection*>> Servers::masters(Deadline deadline) {
  std::vector<Connection*> out;
  if (!clustered_) {
    CLAW_TRY_ASSIGN(Connection* one, serving("", deadline));
    out.push_back(one);
    return out;
  }
  const std::set<std::string> addresses(slots_.begin(), slots_.end());
  for (const std::string& address : addresses) {
    if (address.empty()) continue;
    CLAW_TRY_ASSIGN(Connection* one, connected(node(address), deadline));
    CLAW_TRY(one->discard_awaited(deadline));
    out.push_back(one);
  }
  if (out.empty()) return make_error(Code::unavailable, "redis cluster", "CLUSTERDOWN: nobody serves a slot");
  return out;
}

Result<Connection*> Servers::recover(const Error& first, std::string_view key, Repeat repeat, int tries, Deadline deadline) {
  Error error = first;
  bool connecting = false;  // what comes after the first error is about the way there: nothing of the call runs meanwhile
  for (Millis pause = tries == 0 ? Millis(0) : kPause;; pause = std::min(kLongestPause, std::max(kPause, pause * 2))) {
    const std::optional<Redirect> redirect = redirect_of(error);
    const bool told = redirect.has_value() || nothing_ran(error);
    const bool again = told || ((repeat == Repeat::reads || connecting) && lost_connection(error));
    if (!again || deadline.expired(clock_)) return first;
    if (pause > Millis(0) || !redirect) clock_.sleep(std::max(kPause, pause));
    follow(redirect, slot_of(key), told, deadline);
    Result<Connection*> place = serving(key, deadline);
    if (place) return place;
    error = std::move(place).error();
    connecting = true;
  }
}

void Servers::follow(const std::optional<Redirect>& redirect, std::uint16_t slot, bool told, Deadline deadline) {
  if (!clustered_) {
    if (told) server_.reset();  // it is no longer the master: ask anew
    return;
  }
  std::string address = redirect ? redirect->address : std::string();
  if (address.starts_with(':')) address = slots_[slot].substr(0, slots_[slot].rfind(':')) + address;  // the host that answered
  if (redirect && redirect->ask && host_port(address)) asking_[slot] = address;
  else static_cast<void>(learn_slots(address, deadline).ok());  // when nobody answers now, the next try asks again
}

std::string Servers::text() const {
  if (!clustered_) return fmt::format("redis {} at {}{}", version_, server_ == nullptr ? std::string("?") : server_->where(), entry_.service.empty() ? "" : ", master of " + escape(entry_.service, 60));
  const std::set<std::string> addresses(slots_.begin(), slots_.end());
  return fmt::format("redis cluster {}, {} masters", version_, addresses.size() - addresses.count(""));
}

}  // namespace claw::redis
