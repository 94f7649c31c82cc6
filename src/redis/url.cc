#include "redis/url.h"

#include <charconv>

#include "base/text.h"

namespace claw::redis {
namespace {

constexpr std::string_view kExpected = "expected redis://[user@]host[:port][/db], rediss://… for TLS or redis+unix:///path[?db=N]";

Error wrong(std::string_view url, std::string_view why) {
  return make_error(Code::invalid, "url '" + escape(url.substr(0, url.find('@') == std::string_view::npos ? url.size() : 8), 80) + "'", std::string(why));
}

bool number(std::string_view text, int most, int& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc() && end == text.data() + text.size() && out >= 0 && out <= most && !text.empty();
}

}  // namespace

Result<Endpoint> parse_url(std::string_view url) {
  Endpoint out;
  std::string_view rest = url;
  if (rest.starts_with("redis+unix://")) {
    rest.remove_prefix(13);
    const std::size_t query = rest.find("?db=");
    if (query != std::string_view::npos && !number(rest.substr(query + 4), 1'000'000, out.database)) return wrong(url, "expected a database number after ?db=");
    out.unix_path = rest.substr(0, query);
    if (!out.unix_path.starts_with('/')) return wrong(url, "expected an absolute path: redis+unix:///run/redis.sock");
    return out;
  }
  if (rest.starts_with("rediss://")) {
    rest.remove_prefix(9);
    out.tls.emplace();
  } else if (rest.starts_with("redis://")) {
    rest.remove_prefix(8);
  } else {
    return wrong(url, kExpected);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    if (slash + 1 < rest.size() && !number(rest.substr(slash + 1), 1'000'000, out.database)) return wrong(url, "expected a database number after the last /");
    rest = rest.substr(0, slash);
  }
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    out.user = rest.substr(0, at);
    if (out.user.find(':') != std::string::npos) return wrong(url, "a password does not belong in a URL; write password: {env: NAME} in the config");
    rest.remove_prefix(at + 1);
  }
  std::size_t colon = rest.rfind(':');
  if (rest.starts_with('[')) {
    const std::size_t close = rest.find(']');
    if (close == std::string_view::npos) return wrong(url, "expected ] after an IPv6 address");
    out.host = rest.substr(1, close - 1);
    colon = close + 1 < rest.size() && rest[close + 1] == ':' ? close + 1 : std::string_view::npos;
    if (colon == std::string_view::npos && close + 1 != rest.size()) return wrong(url, kExpected);
  } else {
    out.host = rest.substr(0, colon);
  }
  int port = 6379;
  if (colon != std::string_view::npos && (!number(rest.substr(colon + 1), 65535, port) || port == 0)) return wrong(url, "expected a port from 1 to 65535");
  out.port = static_cast<std::uint16_t>(port);
  if (out.host.empty()) return wrong(url, kExpected);
  return out;
}

}  // namespace claw::redis
