// Redis URLs as users write them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "redis/connection.h"

namespace claw::redis {

// Where to begin: one server, several nodes of a cluster, or sentinels that know the master.
struct Entry {
  std::vector<Endpoint> seeds;  // at least one, all with the same rights
  std::string service;          // of the sentinels; empty: the seeds are servers
};

// redis://[user@]host[:port][,host[:port]…][/db], rediss:// for TLS, redis+unix:///path[?db=N],
// redis+sentinel://[user@]host[:port][,…]/SERVICE[/db] and rediss+sentinel://. A password in a URL is refused: URLs are
// logged. The endpoints have no password yet.
Result<Entry> parse_url(std::string_view url);

}  // namespace claw::redis
