// RabbitMQ URLs as users write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace claw::rabbitmq {

struct Tls {
  std::string ca_file;      // empty: the system's trust store
  std::string cert_file;    // client certificate, empty when none
  std::string key_file;
};

struct Host {
  std::string name;
  std::uint16_t port = 5672;
};

// Where and as whom. Hosts are tried in order: any node of a cluster serves every queue.
struct Endpoint {
  std::vector<Host> hosts;
  std::string vhost = "/";
  std::string user = "guest";
  Secret password;
  std::optional<Tls> tls;

  std::string text() const;  // "127.0.0.1:5672 vhost /", never the password
};

// amqp://[user@]host[:port][,host[:port]…][/vhost], amqps:// for TLS. User and vhost may be percent-encoded ("%2f"); no
// vhost is "/". A password in a URL is refused: URLs are logged. The endpoint has no password yet.
Result<Endpoint> parse_url(std::string_view url);

// For paths of the management API: everything but letters, digits, '-', '_' and '.' becomes %XX.
std::string percent_encode(std::string_view text);

}  // namespace claw::rabbitmq
