// A small HTTP/1.1 server: one thread holds all connections, a few run the handler. A connection costs memory and no
// thread, so hundreds of event streams and of clients that dawdle over their headers delay nobody.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"

namespace claw::http {

struct Limits {
  std::size_t max_head = 16 * 1024;
  std::size_t max_body = 1024 * 1024;
  std::size_t max_connections = 1'024;  // one more is closed at once
  std::size_t max_streams = 256;        // one more is answered with 503
  std::size_t stream_backlog = 256 * 1024;  // a stream that has this much unsent is not pulled
  Millis head_timeout{10'000};          // from the first byte, however slowly the rest drips
  Millis body_timeout{30'000};
  Millis idle_timeout{60'000};
  Millis write_timeout{30'000};         // without progress
  unsigned handlers = 4;
};

// Called on several threads at once.
using Handler = std::function<Response(const Request&)>;

class Server {
 public:
  // Listens on `listen` ("127.0.0.1:7433", "[::1]:7433", port 0 = any free one) and on the Unix socket `socket_path`
  // (0660; a stale one is replaced, the caller holds the directory's lock). Loopback only: Code::unsupported for any
  // other address, Code::unavailable when the address is taken. Answers until it is destroyed.
  static Result<std::unique_ptr<Server>> start(const std::string& listen, const std::string& socket_path, Handler handler, Clock& clock, Limits limits);
  virtual ~Server() = default;
  // The address that is listened on, with the real port.
  virtual const std::string& address() const = 0;
  // Says that streams may have something new. Any thread.
  virtual void wake() = 0;
};

}  // namespace claw::http
