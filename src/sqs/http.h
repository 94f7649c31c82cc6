// HTTP/1.1 over libcurl: many exchanges at a time over kept-alive connections. TLS is always verified, redirects are
// never followed, proxies come from the usual environment (https_proxy, no_proxy).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "sqs/sigv4.h"

namespace claw::sqs {

inline constexpr long kConnections = 16;                          // to one host
inline constexpr std::size_t kLargestAnswer = 64u << 20;  // ten messages of 1 MiB, escaped

struct HttpRequest {
  std::string method;  // GET, PUT, POST
  std::string url;
  std::vector<Header> headers;
  std::string body;
  bool once = false;   // never sent a second time: on a connection of its own, because libcurl repeats on a kept one that broke
};

struct HttpResponse {
  long status = 0;
  std::string body;
  std::string date;       // header Date, empty when absent
  bool was_sent = false;  // of a failed exchange: the server may have got the request
};

// Of each exchange its answer or why there is none. An answer of any status is an answer.
struct Exchange {
  HttpResponse response;
  std::string problem;      // empty: response is good
  bool timed_out = false;
};

// Used by one thread.
class Http {
 public:
  using Ticket = std::uint64_t;

  // `ca_file`: empty for the system's trust store.
  static Result<std::unique_ptr<Http>> open(std::string ca_file);
  virtual ~Http() = default;

  // Sends as far as that goes without waiting. `timeout` holds for each exchange.
  virtual Ticket begin(std::vector<HttpRequest> requests, Millis timeout) = 0;
  // Waits for all of them; in the order of the requests. Every ticket is finished once, or is dropped with the object.
  virtual std::vector<Exchange> finish(Ticket ticket) = 0;
  // Moves what is under way forward without waiting.
  virtual void nudge() = 0;

  std::vector<Exchange> send(std::vector<HttpRequest> requests, Millis timeout) { return finish(begin(std::move(requests), timeout)); }
};

}  // namespace claw::sqs
