#include "api/gate.h"


namespace claw::api {
namespace {

bool our_host(std::string_view host, const std::string& address) {
  const std::string port = address.substr(address.rfind(':'));
  return host == address || host == "localhost" + port || host == "127.0.0.1" + port || host == "[::1]" + port;
}

bool for_everybody(const http::Request& request) {
  return request.path.size() == 1 && (request.path[0] == "healthz" || request.path[0] == "readyz" || request.path[0] == "metrics");
}

// A link in a chat leads to a page; nothing else of another site may ask.
bool foreign_site(const http::Request& request) {
  const std::string_view site = request.header("sec-fetch-site");
  if (site.empty() || site == "same-origin" || site == "none") return false;
  const bool page = request.method == "GET" && request.header("sec-fetch-mode") == "navigate" && (request.path.empty() || request.path[0] != "api");
  return !page;
}

}  // namespace

std::optional<Refused> admit(const http::Request& request, const Door& door) {
  const bool changes = request.method != "GET" && request.method != "HEAD";
  if (!request.peer.unix_socket) {
    const std::string_view host = request.header("host");
    if (!our_host(host, door.address)) return Refused{421, "this is not the host you asked for"};
    const std::string_view origin = request.header("origin");
    if (!origin.empty() && origin != "http://" + std::string(host)) return Refused{403, "a foreign origin may not ask"};
    if (foreign_site(request)) return Refused{403, "another site may not ask"};
    if (!door.token && !for_everybody(request) && (!request.peer.uid || (*request.peer.uid != door.own_uid && *request.peer.uid != 0)))
      return Refused{403, "only the agent's own user and root may ask here, and who has a token"};
  }
  if (!changes) return std::nullopt;
  const std::string_view type = request.header("content-type");
  if (type != "application/json" && !type.starts_with("application/json;")) return Refused{415, "send application/json"};
  return std::nullopt;
}

}  // namespace claw::api
