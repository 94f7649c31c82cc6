#include "api/api.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/call.h"
#include "api/gate.h"
#include "api/site.h"
#include "base/text.h"

namespace claw::api {
namespace {

constexpr std::size_t kMaxText = 4'096;

const http::Headers kGuards = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; "
     "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
};

int status_of(Code code) {
  switch (code) {
    case Code::timed_out: return 503;
    case Code::unavailable: return 503;
    case Code::throttled: return 429;
    case Code::denied: return 403;
    case Code::not_found: return 404;
    case Code::conflict: return 409;
    case Code::lease_lost: return 409;
    case Code::unsupported: return 422;
    case Code::invalid: return 422;
    case Code::refused: return 409;
    case Code::full: return 503;
    case Code::corrupt: return 500;
    case Code::outcome_unknown: return 500;
  }
  return 500;
}

std::string user_of(const std::optional<std::uint32_t>& uid) {
  if (!uid) return "user:unknown";
  passwd entry{}, *found = nullptr;
  std::array<char, 4096> buffer{};
  ::getpwuid_r(*uid, &entry, buffer.data(), buffer.size(), &found);
  return "user:" + (found != nullptr ? std::string(found->pw_name) : std::to_string(*uid));
}

std::vector<std::string_view> segments(std::string_view pattern) {
  std::vector<std::string_view> out;
  for (std::size_t at = 1; at <= pattern.size();) {
    const std::size_t end = std::min(pattern.find('/', at), pattern.size());
    out.push_back(pattern.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// The names in the places of {…}; nullopt when the path is another.
std::optional<std::vector<std::string>> match(std::string_view pattern, const std::vector<std::string>& path) {
  const auto pieces = segments(pattern);
  if (pieces.size() != path.size()) return std::nullopt;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].starts_with('{')) names.push_back(path[i]);
    else if (pieces[i] != path[i]) return std::nullopt;
  }
  return names;
}

}  // namespace

struct Api::Route {
  std::string_view method;
  std::string_view pattern;
  Handler handler;
  Need need = Need::observe;
  bool of_all = false;  // speaks of everybody: not for a token of some tenants
};

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> all = {
      {"GET", "/healthz", &Api::health, Need::nothing},
      {"GET", "/readyz", &Api::ready, Need::nothing},
      {"GET", "/metrics", &Api::metrics, Need::observe, true},
      {"GET", "/api/v1/status", &Api::status},
      {"GET", "/api/v1/tenants", &Api::tenants},
      {"GET", "/api/v1/tenants/{tenant}", &Api::tenant},
      {"GET", "/api/v1/topology", &Api::topology},
      {"GET", "/api/v1/queues/{broker}/{queue}", &Api::queue},
      {"GET", "/api/v1/findings", &Api::findings},
      {"GET", "/api/v1/findings/{finding}", &Api::finding},
      {"GET", "/api/v1/plans", &Api::plans},
      {"GET", "/api/v1/plans/{plan}", &Api::plan},
      {"GET", "/api/v1/executions", &Api::executions},
      {"GET", "/api/v1/executions/{execution}", &Api::execution},
      {"GET", "/api/v1/operations", &Api::operations},
      {"GET", "/api/v1/operations/{operation}", &Api::operation},
      {"GET", "/api/v1/operations/{operation}/result", &Api::operation_result},
      {"GET", "/api/v1/audit/head", &Api::audit_head, Need::observe, true},
      {"GET", "/api/v1/audit/entries", &Api::audit_entries, Need::observe, true},
      {"GET", "/api/v1/audit/proofs/{index}", &Api::audit_proof, Need::observe, true},
      {"GET", "/api/v1/snapshots", &Api::snapshots},
      {"GET", "/api/v1/skills", &Api::skills},
      {"GET", "/api/v1/events", &Api::follow},
      {"POST", "/api/v1/analyses", &Api::wish_analysis},
      {"POST", "/api/v1/topologies", &Api::wish_topology, Need::observe, true},
      {"POST", "/api/v1/scans", &Api::wish_scan, Need::plan},
      {"POST", "/api/v1/plans", &Api::wish_plan, Need::plan},
      {"POST", "/api/v1/findings/{finding}/label", &Api::wish_label, Need::approve},
      {"POST", "/api/v1/plans/{plan}/approve", &Api::wish_approval, Need::approve},
      {"POST", "/api/v1/plans/{plan}/reject", &Api::wish_rejection, Need::approve},
      {"POST", "/api/v1/plans/{plan}/apply", &Api::wish_apply, Need::apply},
      {"POST", "/api/v1/remediations", &Api::wish_remediation, Need::apply},
      {"POST", "/api/v1/rollbacks", &Api::wish_rollback, Need::restore},
      {"POST", "/api/v1/executions/{execution}/verify", &Api::wish_verification},
      {"POST", "/api/v1/restarts", &Api::wish_restart, Need::apply},
      {"POST", "/api/v1/checks", &Api::wish_check, Need::observe, true},
      {"POST", "/api/v1/breakers", &Api::wish_breakers, Need::observe, true},
      {"POST", "/api/v1/breakers/{broker}/reset", &Api::wish_breaker_reset, Need::apply, true},
      {"POST", "/api/v1/operations/{operation}/answer", &Api::answer_question, Need::apply},
      {"POST", "/api/v1/operations/{operation}/cancel", &Api::cancel, Need::apply},
      {"GET", "/api/v1/tokens", &Api::tokens, Need::local},
      {"POST", "/api/v1/tokens", &Api::create_token, Need::local},
      {"POST", "/api/v1/tokens/{token}/revoke", &Api::revoke_token, Need::local},
      {"POST", "/api/v1/brake", &Api::brake, Need::apply, true},
  };
  return all;
}

std::vector<std::string> Api::all_routes() {
  std::vector<std::string> all;
  for (const Route& route : routes()) all.push_back(fmt::format("{} {}", route.method, route.pattern));
  return all;
}

http::Response Api::answer(const http::Request& request, const std::string& address) {
  http::Response response = admitted(request, address);
  response.headers.insert(response.headers.end(), kGuards.begin(), kGuards.end());
  if (!request.path.empty() && request.path[0] == "api") response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

http::Response Api::admitted(const http::Request& request, const std::string& address) {
  constexpr std::string_view kScheme = "Bearer ";
  Who who{.actor = user_of(request.peer.uid), .token = {}};
  const std::string_view shown = request.header("authorization");
  if (!shown.empty()) {
    Result<std::optional<Token>> token = shown.starts_with(kScheme) ? token_of(shown.substr(kScheme.size()), d_.agent.store(), d_.clock) : std::optional<Token>();
    if (!token) return problem(token.error());
    if (!*token) {
      http::Response response = problem(401, "denied", "the token is not known, was revoked or has expired");
      response.headers.emplace_back("WWW-Authenticate", "Bearer");
      return response;
    }
    who = {.actor = "token:" + (*token)->name, .token = std::move(*token)};
  }
  if (const auto refused = admit(request, {.address = address, .own_uid = ::geteuid(), .token = who.token.has_value()})) return problem(refused->status, "denied", refused->why);
  return dispatch(request, who);
}

http::Response Api::dispatch(const http::Request& request, const Who& who) {
  bool other_method = false;
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  for (const Route& route : routes()) {
    auto names = match(route.pattern, request.path);
    if (!names) continue;
    if (route.method != method) {
      other_method = true;
      continue;
    }
    if (!who.may(route.need)) return problem(403, "denied", route.need == Need::local ? "tokens are the agent's own user's affair" : "the token has not the scope that this asks for");
    if (route.of_all && !who.sees_all()) return problem(403, "denied", "this speaks of all tenants, and the token is for some");
    Json body = Json::object();
    if (!request.body.empty()) {
      Result<Json> parsed = parse_json(request.body, "body");
      if (!parsed) return problem(parsed.error());
      body = std::move(*parsed);
      if (!body.is_object()) return problem(422, "invalid", "the body must be an object");
    }
    Result<http::Response> response = (this->*route.handler)({.request = request, .names = std::move(*names), .body = body, .who = who, .actor = who.actor});
    return response ? std::move(*response) : problem(response.error());
  }
  if (other_method) return problem(405, "invalid", "this path is asked with another method");
  if (!request.path.empty() && request.path[0] == "api") return problem(404, "not_found", "no such path; openapi.yaml has them all");
  return page(request);
}

// A path that is no file is a page of the dashboard: its script shows it.
http::Response Api::page(const http::Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return problem(405, "invalid", "pages are read only");
  const std::string path = request.target.substr(0, request.target.find('?'));
  std::optional<Asset> found = asset(path);
  const bool fixed = found && path.starts_with("/assets/");
  if (!found && path.starts_with("/assets/")) return problem(404, "not_found", "no such file");
  if (!found) found = asset("/index.html");
  if (!found) return {.status = 503, .type = "text/plain; charset=utf-8", .body = "This program was built without the dashboard: ./dev build makes it. The API is at /api/v1.\n"};
  http::Headers headers = {{"ETag", std::string(found->etag)}, {"Cache-Control", fixed ? "public, max-age=31536000, immutable" : "no-cache"}, {"Vary", "Accept-Encoding"}};
  if (request.header("if-none-match") == found->etag) return {.status = 304, .type = std::string(found->type), .headers = std::move(headers)};
  headers.emplace_back("Content-Encoding", "gzip");  // every browser takes it; curl --compressed
  return {.status = 200, .type = std::string(found->type), .headers = std::move(headers), .body = std::string(found->gzip)};
}

http::Response json_answer(const Json& json, int status) { return {.status = status, .body = json.dump()}; }

http::Response problem(int status, std::string_view code, std::string_view detail) {
  return {.status = status, .type = "application/problem+json",
          .body = Json{{"type", "about:blank"}, {"title", http::reason(status)}, {"status", status}, {"code", code}, {"op", ""}, {"detail", detail}}.dump()};
}

http::Response problem(const Error& error) {
  const int status = status_of(error.code);
  return {.status = status, .type = "application/problem+json",
          .body = Json{{"type", "about:blank"}, {"title", http::reason(status)}, {"status", status}, {"code", std::string(name(error.code))}, {"op", escape(error.op)}, {"detail", escape(error.detail)}}.dump()};
}

Result<std::string> text_of(const Json& body, const char* key) {
  const auto it = body.find(key);
  if (it == body.end() || !it->is_string() || it->get_ref<const std::string&>().empty()) return make_error(Code::invalid, std::string("body.") + key, "expected a text");
  if (it->get_ref<const std::string&>().size() > kMaxText) return make_error(Code::invalid, std::string("body.") + key, fmt::format("at most {} bytes", kMaxText));
  return it->get<std::string>();
}

Result<std::string> text_or(const Json& body, const char* key, std::string fallback) { return body.contains(key) ? text_of(body, key) : Result<std::string>(std::move(fallback)); }

Result<std::vector<std::string>> texts_of(const Json& body, const char* key) {
  constexpr std::size_t kMost = 1'000;
  const auto it = body.find(key);
  if (it == body.end() || !it->is_array() || it->empty() || it->size() > kMost) return make_error(Code::invalid, std::string("body.") + key, fmt::format("expected 1 to {} texts", kMost));
  std::vector<std::string> out;
  for (const Json& one : *it) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty() || one.get_ref<const std::string&>().size() > kMaxText) return make_error(Code::invalid, std::string("body.") + key, "expected texts");
    out.push_back(one.get<std::string>());
  }
  return out;
}

Result<std::uint64_t> number_of(const http::Request& request, const char* key, std::uint64_t fallback, std::uint64_t most) {
  const std::string_view text = request.param(key);
  if (text.empty()) return fallback;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return make_error(Code::invalid, key, fmt::format("expected a number up to {}", most));
  return value;
}

}  // namespace claw::api
