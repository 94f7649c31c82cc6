// HTTP/1.1 requests and answers as values, and the parser of the bytes that strangers send. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace claw::http {

using Headers = std::vector<std::pair<std::string, std::string>>;  // names in lower case

// Who is at the other end. The uid is the kernel's word: SO_PEERCRED of a Unix socket, the socket table of a
// loopback connection; nullopt when it cannot be told.
struct Peer {
  bool unix_socket = false;
  std::optional<std::uint32_t> uid;
};

struct Request {
  std::string method;
  std::vector<std::string> path;  // decoded segments: "/api/v1/queues/a/b%2fc" → api v1 queues a b/c
  std::string target;             // as it was sent
  std::vector<std::pair<std::string, std::string>> query;  // decoded
  Headers headers;
  std::string body;
  Peer peer;
  bool keep_alive = true;

  std::string_view header(std::string_view name) const;  // empty when absent
  std::string_view param(std::string_view name) const;   // empty when absent
};

// What a stream has to say. pull() appends what is new and is called by the server's loop: it must not block.
class Feed {
 public:
  virtual ~Feed() = default;
  virtual void pull(std::string& out) = 0;
};

struct Response {
  int status = 200;
  std::string type = "application/json";
  Headers headers = {};
  std::string body = {};
  std::unique_ptr<Feed> feed = nullptr;  // instead of a body: the connection stays open
};

struct Head {
  Request request;
  std::uint64_t content_length = 0;
  bool expects_continue = false;
};

// A head that cannot be served: the status to answer with, and why.
struct Rejection {
  int status;
  std::string why;
};

// `text` ends with the empty line. Refused: other methods and versions, bad or repeated lengths, chunked bodies, folded
// lines, control characters, no Host or two, a path that leaves the root.
std::expected<Head, Rejection> parse_head(std::string_view text);
Result<std::string> percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);

std::string_view reason(int status);
// Status line and headers; `length` nullopt for a stream.
std::string head_of(const Response& response, std::optional<std::size_t> length, bool keep_alive);

}  // namespace claw::http
