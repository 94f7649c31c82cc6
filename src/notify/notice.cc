#include "notify/notice.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/text.h"

namespace claw::notify {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPagerDuty = "https://events.pagerduty.com/v2/enqueue";
constexpr Millis kForAlertmanager = std::chrono::days(7);  // it ends by itself what it is not told again; we tell the end

Json to_json(const Alert& alert) {
  return {{"id", alert.id}, {"tenant", alert.tenant.empty() ? Json(nullptr) : Json(alert.tenant)}, {"severity", alert.severity},
          {"summary", escape(alert.summary)}, {"details", alert.details}, {"since", rfc3339(alert.since)}};
}

Alert from_json(const Json& j) {
  const Result<WallTime> since = parse_rfc3339(j.at("since").get<std::string>());
  return {.id = j.at("id"), .tenant = j.at("tenant").is_null() ? TenantId() : j.at("tenant").get<TenantId>(), .severity = j.at("severity"),
          .summary = j.at("summary"), .details = j.at("details").get<std::vector<std::string>>(), .since = since ? *since : WallTime{}};
}

template <class T, class F>
Result<T> read(std::string_view text, F&& how) {
  try {
    return how(Json::parse(text));
  } catch (const Json::exception&) {
    return make_error(Code::corrupt, "state.db", "an alert in it is not one");
  }
}

const char* name(Event event) { return event == Event::open ? "open" : "close"; }

Json webhook(const Notice& n) { return {{"event", name(n.event)}, {"at", rfc3339(n.at)}, {"agent", n.agent}, {"alert", to_json(n.alert)}}; }

// Its markup knows three characters.
std::string for_slack(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else out += c;
  }
  return out;
}

Json slack(const Notice& n) {
  std::string text = n.event == Event::open ? fmt::format(":rotating_light: *{}* {}", n.alert.severity, for_slack(escape(n.alert.summary)))
                                            : fmt::format(":white_check_mark: over after {}: {}", human(n.at - n.alert.since), for_slack(escape(n.alert.summary)));
  if (n.event == Event::open)
    for (std::size_t i = 1; i < n.alert.details.size(); ++i) text += "\n• " + for_slack(escape(n.alert.details[i]));
  return {{"text", text + "\n_" + for_slack(n.agent) + "_"}};
}

Json pagerduty(const Notice& n, std::string_view key) {
  Json out = {{"routing_key", std::string(key)}, {"event_action", n.event == Event::open ? "trigger" : "resolve"}, {"dedup_key", "deployclaw/" + n.agent + "/" + n.alert.id}};
  if (n.event == Event::open)
    out["payload"] = {{"summary", escape(n.alert.summary, 1'000)}, {"source", n.agent}, {"severity", n.alert.severity}, {"timestamp", rfc3339(n.alert.since)},
                      {"component", n.alert.tenant.empty() ? n.alert.id : n.alert.tenant}, {"custom_details", {{"details", n.alert.details}}}};
  return out;
}

Json alertmanager(const Notice& n) {
  Json labels = {{"alertname", n.alert.tenant.empty() ? "DeployClawBrokerUnreachable" : "DeployClawTenantInTrouble"}, {"severity", n.alert.severity}, {"agent", n.agent}, {"id", n.alert.id}};
  if (!n.alert.tenant.empty()) labels["tenant"] = n.alert.tenant;
  return Json::array({{{"labels", labels}, {"annotations", {{"summary", escape(n.alert.summary)}}}, {"startsAt", rfc3339(n.alert.since)},
                       {"endsAt", rfc3339(n.event == Event::open ? n.at + kForAlertmanager : n.at)}}});
}

}  // namespace

std::string to_text(const Notice& notice) { return webhook(notice).dump(); }

Result<Notice> from_text(std::string_view text) {
  return read<Notice>(text, [](const Json& j) -> Result<Notice> {
    CLAW_TRY_ASSIGN(const WallTime at, parse_rfc3339(j.at("at").get<std::string>()));
    return Notice{.agent = j.at("agent"), .event = j.at("event") == "open" ? Event::open : Event::close, .alert = from_json(j.at("alert")), .at = at};
  });
}

std::string alert_text(const Alert& alert) { return to_json(alert).dump(); }

Result<Alert> alert_from_text(std::string_view text) {
  return read<Alert>(text, [](const Json& j) -> Result<Alert> { return from_json(j); });
}

Post post_for(const NotifyRoute& route, std::string_view url, std::string_view key, const Notice& notice, const std::string& delivery, WallTime now) {
  Post post{.url = std::string(url), .body = {}, .headers = {}};
  switch (route.kind) {
    case NotifyRoute::Kind::webhook: {
      post.body = webhook(notice).dump();
      post.headers.emplace_back("X-DeployClaw-Delivery", delivery);
      if (key.empty()) break;
      const std::string stamp = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
      post.headers.emplace_back("X-DeployClaw-Timestamp", stamp);
      post.headers.emplace_back("X-DeployClaw-Signature", "v1=" + hex(view(hmac_sha256(key, stamp + "." + post.body))));
      break;
    }
    case NotifyRoute::Kind::slack: post.body = slack(notice).dump(); break;
    case NotifyRoute::Kind::pagerduty:
      post.body = pagerduty(notice, key).dump();
      if (post.url.empty()) post.url = kPagerDuty;
      break;
    case NotifyRoute::Kind::alertmanager:
      post.body = alertmanager(notice).dump();
      post.url += post.url.ends_with('/') ? "api/v2/alerts" : "/api/v2/alerts";
      break;
  }
  return post;
}

}  // namespace claw::notify
