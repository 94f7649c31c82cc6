#include "rabbitmq/url.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"

namespace claw::rabbitmq {
namespace {

constexpr std::string_view kExpected = "expected amqp://[user@]host[:port][,host[:port]…][/vhost], or amqps://… for TLS";
constexpr std::size_t kMostHosts = 16;

Error wrong(std::string_view url, std::string_view why) {
  // What stands before an '@' may hold a password.
  const std::size_t shown = url.find('@') == std::string_view::npos ? url.size() : 8;
  return make_error(Code::invalid, "url '" + escape(url.substr(0, shown), 80) + "'", std::string(why));
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, problem] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
    if (problem != std::errc() || end != text.data() + i + 3) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<Host> host_of(std::string_view text, std::uint16_t port) {
  Host host{.name = {}, .port = port};
  std::size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host.name = text.substr(1, close - 1);
    if (close + 1 == text.size()) colon = std::string_view::npos;
    else if (text[close + 1] != ':') return std::nullopt;
  } else {
    host.name = text.substr(0, colon);
  }
  if (colon != std::string_view::npos) {
    const auto [end, problem] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), host.port);
    if (problem != std::errc() || end != text.data() + text.size() || host.port == 0) return std::nullopt;
  }
  if (host.name.empty()) return std::nullopt;
  return host;
}

}  // namespace

std::string Endpoint::text() const {
  std::string out;
  for (const Host& host : hosts) out += fmt::format("{}{}:{}", out.empty() ? "" : ",", host.name, host.port);
  return out + " vhost " + escape(vhost, 80);
}

Result<Endpoint> parse_url(std::string_view url) {
  Endpoint out;
  std::string_view rest = url;
  std::uint16_t port = 5672;
  if (rest.starts_with("amqps://")) {
    rest.remove_prefix(8);
    out.tls.emplace();
    port = 5671;
  } else if (rest.starts_with("amqp://")) {
    rest.remove_prefix(7);
  } else {
    return wrong(url, kExpected);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const auto vhost = percent_decode(rest.substr(slash + 1));
    if (!vhost || rest.find('/', slash + 1) != std::string_view::npos) return wrong(url, "expected one vhost after the host, a '/' within it written as %2f");
    if (!vhost->empty()) out.vhost = *vhost;
    rest = rest.substr(0, slash);
  }
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    if (rest.substr(0, at).find(':') != std::string_view::npos) return wrong(url, "a password does not belong in a URL; write password: {env: NAME} in the config");
    const auto user = percent_decode(rest.substr(0, at));
    if (!user || user->empty()) return wrong(url, kExpected);
    out.user = *user;
    rest.remove_prefix(at + 1);
  }
  for (std::size_t from = 0; from <= rest.size();) {
    const std::size_t comma = std::min(rest.find(',', from), rest.size());
    const auto host = host_of(rest.substr(from, comma - from), port);
    if (!host) return wrong(url, kExpected);
    if (out.hosts.size() == kMostHosts) return wrong(url, "expected at most 16 hosts");
    out.hosts.push_back(*host);
    from = comma + 1;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (plain) out += c;
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace claw::rabbitmq
