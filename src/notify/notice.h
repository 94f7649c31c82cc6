// An alert in the words of who is told: a signed webhook, Slack, PagerDuty Events v2, Alertmanager v2. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "config/config.h"
#include "policy/alerts.h"

namespace claw::notify {

enum class Event { open, close };

struct Notice {
  std::string agent;
  Event event = Event::open;
  Alert alert;
  WallTime at;
};

// What the store keeps of it.
std::string to_text(const Notice& notice);
Result<Notice> from_text(std::string_view text);
// The same for an alert by itself.
std::string alert_text(const Alert& alert);
Result<Alert> alert_from_text(std::string_view text);

struct Post {
  std::string url;
  std::string body;                                          // JSON
  std::vector<std::pair<std::string, std::string>> headers;  // beside Content-Type
};

// `url`: the route's, whichever way it is configured. `key`: see NotifyRoute::secret. `delivery` names this notice, the same at
// every attempt, so that a receiver can tell a repeated one. A webhook with a key carries X-DeployClaw-Signature: v1=HEX, the
// HMAC-SHA-256 of "TIMESTAMP.BODY" where TIMESTAMP is the header X-DeployClaw-Timestamp (seconds), as receivers of Stripe's or
// Slack's webhooks check them.
Post post_for(const NotifyRoute& route, std::string_view url, std::string_view key, const Notice& notice, const std::string& delivery, WallTime now);

}  // namespace claw::notify
