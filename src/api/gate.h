// Who may ask what, before any route is looked at. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "http/message.h"

namespace claw::api {

struct Door {
  std::string address;     // that the server listens on: "127.0.0.1:7433"
  std::uint32_t own_uid = 0;
  bool token = false;      // the request carries one that is good
};

struct Refused {
  int status;
  std::string why;
};

// The Unix socket is guarded by its file mode. Over TCP: a Host that is ours (421, against DNS rebinding), no foreign
// Origin or site (403), and the kernel must name the agent's own user or root at the other end, unless a token was shown (403); /healthz, /readyz
// and /metrics answer every user of the machine. A body must be JSON (415).
std::optional<Refused> admit(const http::Request& request, const Door& door);

}  // namespace claw::api
