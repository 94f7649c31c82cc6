// Redis URLs as users write them.
#pragma once

#include <string_view>

#include "base/result.h"
#include "redis/connection.h"

namespace claw::redis {

// redis://[user@]host[:port][/db], rediss:// for TLS, redis+unix:///path[?db=N]. A password in a URL is refused: URLs are
// logged. The endpoint has no password yet.
Result<Endpoint> parse_url(std::string_view url);

}  // namespace claw::redis
