// One pipelined connection to one Redis server: TCP, TLS or Unix socket, authenticated, database selected.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "redis/reply.h"

namespace claw::redis {

struct Tls {
  std::string ca_file;      // empty: the system's trust store
  std::string cert_file;    // client certificate, empty when none
  std::string key_file;
  std::string server_name;  // verified against the certificate; empty: the host
};

// Where and as whom. Parsed from "redis://user@host:port/db", "rediss://…", "redis+unix:///path?db=0".
struct Endpoint {
  std::string host;         // empty when unix_path is set
  std::uint16_t port = 6379;
  std::string unix_path;
  int database = 0;
  std::string user;         // empty: the default user
  Secret password;          // empty: no AUTH is sent
  Secret sentinel_password; // of the sentinels that name this server; empty: no AUTH is sent to them
  std::optional<Tls> tls;

  Endpoint clone() const;
  Endpoint at(std::string host, std::uint16_t port) const;  // the same rights at another address
  Endpoint as_sentinel() const;                             // the same address, with the sentinels' password
  std::string text() const;                                 // "127.0.0.1:6379", never the password
};

// A command's words. Views must live until send() returns.
using Words = std::initializer_list<std::string_view>;

// Used by one thread. Errors: unavailable (refused, reset, closed), timed_out, denied (NOAUTH, WRONGPASS, NOPERM),
// corrupt (not RESP), and outcome_unknown when a written command's answer never came. After any of these but
// denied the connection is broken and must be opened again; nothing is retried here, because only the caller knows
// whether a repeat is harmless.
class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const Endpoint& endpoint, Clock& clock, Deadline deadline);
  virtual ~Connection() = default;

  // Buffers one command. Nothing is written until flush() or receive().
  virtual void send(std::span<const std::string_view> words) = 0;
  void send(Words words) { send(std::span(words.begin(), words.size())); }
  virtual Status flush(Deadline deadline) = 0;
  // The next reply in order. A RESP error is a Reply, not an Error: see ok() below.
  virtual Result<Reply> receive(Deadline deadline) = 0;
  // Like receive(), refilling `reply` so that its buffers are reused: for scans.
  virtual Status receive_into(Reply& reply, Deadline deadline) = 0;
  virtual std::uint64_t awaited() const = 0;  // replies that were asked for and not received yet
  virtual bool broken() const = 0;
  virtual std::string where() const = 0;  // "127.0.0.1:6379"
  virtual Clock& clock() = 0;

  // One round trip. A RESP error becomes an Error (see to_error).
  Result<Reply> call(Words words, Deadline deadline);
  Result<Reply> call(std::span<const std::string_view> words, Deadline deadline);
  // Receives and drops what is awaited, so that the next reply answers the next question.
  Status discard_awaited(Deadline deadline);
};

// NOAUTH/WRONGPASS/NOPERM → denied; LOADING/BUSY/TRYAGAIN/CLUSTERDOWN/MASTERDOWN/READONLY → unavailable; OOM → full;
// WRONGTYPE → invalid; NOSCRIPT, NOGROUP → not_found; MOVED/ASK → lease_lost; any other → invalid.
Error to_error(std::string_view resp_error, std::string op);

}  // namespace claw::redis
