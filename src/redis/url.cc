#include "redis/url.h"

#include <charconv>

#include "base/text.h"

namespace claw::redis {
namespace {

constexpr std::string_view kExpected =
    "expected redis://[user@]host[:port][,host[:port]…][/db], rediss://… for TLS, redis+unix:///path[?db=N] or redis+sentinel://host[:port][,…]/SERVICE[/db]";
constexpr std::size_t kMostSeeds = 64;
constexpr int kServerPort = 6379;
constexpr int kSentinelPort = 26379;

// What stands before an '@' may be a secret: it is not shown.
Error wrong(std::string_view url, std::string_view why) {
  const std::size_t at = url.rfind('@');
  const std::string shown = at == std::string_view::npos ? std::string(url) : std::string(url.substr(0, url.find("//") + 2)) + "…" + std::string(url.substr(at));
  return make_error(Code::invalid, "url '" + escape(shown, 80) + "'", std::string(why));
}

bool number(std::string_view text, int most, int& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc() && end == text.data() + text.size() && out >= 0 && out <= most && !text.empty();
}

std::string_view cut(std::string_view& rest, char mark) {
  const std::size_t at = rest.find(mark);
  const std::string_view head = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return head;
}

Result<Entry> unix_socket(std::string_view url, std::string_view rest) {
  Endpoint out;
  const std::size_t query = rest.find("?db=");
  if (query != std::string_view::npos && !number(rest.substr(query + 4), 1'000'000, out.database)) return wrong(url, "expected a database number after ?db=");
  out.unix_path = rest.substr(0, query);
  if (!out.unix_path.starts_with('/')) return wrong(url, "expected an absolute path: redis+unix:///run/redis.sock");
  Entry entry;
  entry.seeds.push_back(std::move(out));
  return entry;
}

// host, host:port, [v6], [v6]:port
Result<Endpoint> address(std::string_view url, std::string_view text, int default_port) {
  Endpoint out;
  std::size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return wrong(url, "expected ] after an IPv6 address");
    out.host = text.substr(1, close - 1);
    colon = close + 1 < text.size() && text[close + 1] == ':' ? close + 1 : std::string_view::npos;
    if (colon == std::string_view::npos && close + 1 != text.size()) return wrong(url, kExpected);
  } else {
    out.host = text.substr(0, colon);
  }
  int port = default_port;
  if (colon != std::string_view::npos && (!number(text.substr(colon + 1), 65535, port) || port == 0)) return wrong(url, "expected a port from 1 to 65535");
  out.port = static_cast<std::uint16_t>(port);
  if (out.host.empty()) return wrong(url, kExpected);
  return out;
}

}  // namespace

Result<Entry> parse_url(std::string_view url) {
  std::string_view rest = url;
  const std::size_t mark = rest.find("://");
  if (mark == std::string_view::npos) return wrong(url, kExpected);
  const std::string_view scheme = rest.substr(0, mark);
  rest.remove_prefix(mark + 3);
  if (scheme == "redis+unix") return unix_socket(url, rest);
  const bool sentinel = scheme == "redis+sentinel" || scheme == "rediss+sentinel";
  const bool tls = scheme == "rediss" || scheme == "rediss+sentinel";
  if (!sentinel && !tls && scheme != "redis") return wrong(url, kExpected);

  std::string user;
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    user = rest.substr(0, at);
    if (user.find(':') != std::string::npos) return wrong(url, "a password does not belong in a URL; write password: {env: NAME} in the config");
    rest.remove_prefix(at + 1);
  }
  std::string_view hosts = cut(rest, '/');
  Entry entry;
  if (sentinel) {
    entry.service = cut(rest, '/');
    if (entry.service.empty()) return wrong(url, "expected the name of a service after the sentinels: redis+sentinel://host/SERVICE");
  }
  int database = 0;
  if (!rest.empty() && !number(rest, 1'000'000, database)) return wrong(url, "expected a database number after the last /");
  do {
    CLAW_TRY_ASSIGN(Endpoint one, address(url, cut(hosts, ','), sentinel ? kSentinelPort : kServerPort));
    one.user = user;
    one.database = database;
    if (tls) one.tls.emplace();
    entry.seeds.push_back(std::move(one));
  } while (!hosts.empty() && entry.seeds.size() < kMostSeeds);
  if (!hosts.empty()) return wrong(url, "too many hosts");
  return entry;
}

}  // namespace claw::redis
