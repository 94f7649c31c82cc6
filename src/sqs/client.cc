#include "sqs/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr Millis kExchangeTimeout{30'000};
constexpr Millis kShortestPause{100};
constexpr Millis kLongestPause{5'000};
constexpr int kMostRepeats = 12;       // of throttled calls, none of which came through
constexpr int kMostReconnections = 2;  // of one that was not answered
constexpr Millis kSkewWorthCorrecting = std::chrono::minutes(4);

bool one_of(std::string_view type, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [type](std::string_view name) { return type == name; });
}

bool is_expired_token(std::string_view type) { return one_of(type, {"ExpiredToken", "ExpiredTokenException"}); }

bool may_be_the_clock(std::string_view type) {
  return one_of(type, {"InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"});
}

// {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": …}
struct Complaint {
  std::string type;
  std::string message;
};

Complaint complaint_of(const HttpResponse& response) {
  Complaint out{.type = "HTTP " + std::to_string(response.status), .message = {}};
  const json body = json::parse(response.body, nullptr, false);
  if (!body.is_object()) return out;
  if (const auto type = body.find("__type"); type != body.end() && type->is_string()) {
    out.type = type->get<std::string>();
    out.type.erase(0, out.type.rfind('#') + 1);
  }
  for (const char* key : {"message", "Message"})
    if (const auto text = body.find(key); text != body.end() && text->is_string()) out.message = text->get<std::string>();
  return out;
}

std::string advice(std::string_view type) {
  if (is_expired_token(type)) return "; get a new session token";
  if (type == "InvalidSignatureException" || type == "SignatureDoesNotMatch") return "; check the secret key, the region and the clock";
  if (one_of(type, {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSecurity"})) return "; check the access key and the session token";
  if (type.starts_with("Kms")) return "; the queue is encrypted with a key that these credentials may not use";
  if (type == "QueueDoesNotExist") return "; check the name, the region and the account";
  return {};
}

}  // namespace

Code code_of(std::string_view type, long status) {
  constexpr std::string_view kOld = "AWS.SimpleQueueService.";
  if (type.starts_with(kOld)) type.remove_prefix(kOld.size());
  if (one_of(type, {"RequestThrottled", "ThrottlingException", "Throttling", "RequestThrottledException", "TooManyRequestsException", "KmsThrottled", "SlowDown"}))
    return Code::throttled;
  if (one_of(type, {"QueueDoesNotExist", "NonExistentQueue", "ResourceNotFoundException"})) return Code::not_found;
  if (type == "OverLimit") return Code::full;
  if (one_of(type, {"ReceiptHandleIsInvalid", "MessageNotInflight"})) return Code::lease_lost;
  if (one_of(type, {"QueueNameExists", "QueueAlreadyExists"})) return Code::conflict;
  if (one_of(type, {"QueueDeletedRecently", "ServiceUnavailable", "InternalFailure", "InternalError"})) return Code::unavailable;
  if (type == "UnsupportedOperation") return Code::unsupported;
  if (type.starts_with("Kms") || status == 401 || status == 403 || one_of(type, {"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InvalidSecurity", "InvalidAddress"}))
    return Code::denied;
  if (status == 429) return Code::throttled;
  if (status >= 500) return Code::unavailable;
  return Code::invalid;
}

Result<Endpoint> endpoint_of(const Service& service, const std::string& region, const std::string& endpoint_url,
                             const std::function<std::string(const char*)>& environment) {
  const std::string what(service.name);
  if (region.empty() || region.size() > 40 || region.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    return make_error(Code::invalid, what + " region", "'" + escape(region, 60) + "', expected one like eu-west-1");
  std::string url = endpoint_url;
  for (const char* variable : {service.variable, "AWS_ENDPOINT_URL"})
    if (url.empty()) url = environment(variable);
  if (url.empty()) {
    url = "https://" + std::string(service.name) + (environment("AWS_USE_FIPS_ENDPOINT") == "true" ? "-fips." : ".") + region + (region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
  }
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos || (!url.starts_with("http://") && !url.starts_with("https://")) || url.find('@') != std::string::npos ||
      url.find_first_of(" \t\r\n?#") != std::string::npos || url.size() > 300)
    return make_error(Code::invalid, what + " endpoint", "'" + escape(url, 80) + "', expected http://host:port or https://host");
  const std::size_t slash = url.find('/', scheme + 3);
  Endpoint out{.service = service, .url = url.substr(0, slash), .host = url.substr(scheme + 3, slash == std::string::npos ? slash : slash - scheme - 3),
               .path = slash == std::string::npos ? "/" : url.substr(slash), .region = region};
  if (out.host.empty()) return make_error(Code::invalid, what + " endpoint", "'" + escape(url, 80) + "' has no host");
  return out;
}

Result<json> parse_answer(std::string_view action, std::string_view text) {
  if (text.empty()) return json::object();  // SQS answers some calls with nothing
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return make_error(Code::corrupt, std::string(action), "the answer is not a JSON object: " + escape(text, 80));
  return value;
}

Result<HttpRequest> Client::signed_request(const Call& call, bool renew) {
  CLAW_TRY_ASSIGN(const Credentials credentials, credentials_(renew));
  const std::string date = amz_date(clock_.now() + skew_);
  HttpRequest request{.method = "POST", .url = endpoint_.url + endpoint_.path, .headers = {}, .body = call.body, .once = call.repeat == Repeat::never};
  request.headers = {{"Host", endpoint_.host}, {"X-Amz-Date", date}, {"X-Amz-Target", std::string(endpoint_.service.target) + call.action}, {"Content-Type", "application/x-amz-json-1.0"}};
  if (!credentials.token.empty()) request.headers.push_back({"X-Amz-Security-Token", std::string(credentials.token.reveal())});
  const Signable signable{.method = request.method, .path = endpoint_.path, .query = "", .headers = request.headers, .body = request.body};
  request.headers.push_back({"Authorization", authorization(credentials, {endpoint_.region, std::string(endpoint_.service.name)}, date, signable)});
  return request;
}

Result<Client::Flight> Client::begin(std::vector<Call> calls, Deadline deadline) {
  std::vector<HttpRequest> requests;
  for (const Call& call : calls) {
    CLAW_TRY_ASSIGN(HttpRequest request, signed_request(call, false));
    requests.push_back(std::move(request));
  }
  const Millis timeout = std::clamp(deadline.remaining(clock_), Millis(1), kExchangeTimeout);
  const Http::Ticket ticket = http_->begin(std::move(requests), timeout);
  return Flight{.ticket = ticket, .calls = std::move(calls), .deadline = deadline};
}

Result<std::string> Client::answer_of(const Call& call, Exchange exchange) {
  const std::string op = call.action + " at " + endpoint_.host;
  if (!exchange.problem.empty()) {
    if (call.repeat == Repeat::never && exchange.response.was_sent) return make_error(Code::outcome_unknown, op, exchange.problem);
    return make_error(exchange.timed_out ? Code::timed_out : Code::unavailable, op, exchange.problem);
  }
  last_date_ = exchange.response.date;
  if (exchange.response.status == 200) return std::move(exchange.response.body);
  const Complaint complaint = complaint_of(exchange.response);
  const Code code = code_of(complaint.type, exchange.response.status);
  if (code == Code::throttled) ++throttled_;
  if (code == Code::unavailable && call.repeat == Repeat::never) return make_error(Code::outcome_unknown, op, complaint.type + ": " + escape(complaint.message, 200));
  return make_error(code, op, complaint.type + (complaint.message.empty() ? "" : ": " + escape(complaint.message, 200)) + advice(complaint.type));
}

// True when our clock was off by enough to explain a refused signature: the next one is made with the server's time.
bool Client::correct_clock(const std::string& date) {
  if (date.empty()) return false;
  const time_t at = curl_getdate(date.c_str(), nullptr);
  if (at < 0) return false;
  const Millis skew = std::chrono::duration_cast<Millis>(WallTime(std::chrono::seconds(at)) - clock_.now());
  const Millis change = skew > skew_ ? skew - skew_ : skew_ - skew;
  if (change < kSkewWorthCorrecting) return false;
  skew_ = skew;
  return true;
}

std::vector<Result<std::string>> Client::finish(Flight flight) {
  std::vector<Exchange> exchanges = http_->finish(flight.ticket);
  std::vector<Result<std::string>> answers;
  std::vector<std::size_t> again;
  bool renew = false, clock_corrected = false;
  int repeat = 0;
  const auto judge = [&](std::size_t i) {
    const Error* error = answers[i].ok() ? nullptr : &answers[i].error();
    if (error == nullptr) return;
    const std::string_view type = std::string_view(error->detail).substr(0, error->detail.find(':'));
    const bool unanswered = error->code == Code::unavailable || error->code == Code::timed_out;
    const bool wait = error->code == Code::throttled || (unanswered && flight.calls[i].repeat == Repeat::harmless && repeat < kMostReconnections);
    const bool skewed = may_be_the_clock(type) && (clock_corrected || correct_clock(last_date_));
    clock_corrected |= skewed;
    const bool expired = is_expired_token(type.substr(0, type.find(';')));
    renew |= expired;
    if (wait || skewed || expired) again.push_back(i);
  };
  for (std::size_t i = 0; i < exchanges.size(); ++i) {
    answers.push_back(answer_of(flight.calls[i], std::move(exchanges[i])));
    judge(i);
  }
  Millis pause = kShortestPause;
  int fruitless = 0;
  while (!again.empty() && fruitless < kMostRepeats) {
    ++repeat;
    const bool corrected = renew || clock_corrected;
    if (corrected && repeat > 2) break;  // corrected once, and refused again
    if (!corrected) {
      pause = std::min(kLongestPause, kShortestPause + Millis(random_.below(static_cast<std::uint64_t>(3 * pause.count()))));  // decorrelated jitter
      if (flight.deadline.remaining(clock_) <= pause) break;
      clock_.sleep(pause);
    }
    std::vector<HttpRequest> requests;
    for (const std::size_t i : again) {
      Result<HttpRequest> request = signed_request(flight.calls[i], renew);
      renew = false;
      if (!request) {
        answers[i] = request.error();
        return answers;
      }
      requests.push_back(std::move(*request));
    }
    clock_corrected = false;
    const Millis timeout = std::clamp(flight.deadline.remaining(clock_), Millis(1), kExchangeTimeout);
    std::vector<Exchange> more = http_->send(std::move(requests), timeout);
    const std::vector<std::size_t> asked = std::exchange(again, {});
    for (std::size_t k = 0; k < asked.size(); ++k) {
      answers[asked[k]] = answer_of(flight.calls[asked[k]], std::move(more[k]));
      judge(asked[k]);
    }
    // Where some came through the rate is as it should be; only a server that takes nothing is given more and more time.
    const bool progress = again.size() < asked.size();
    fruitless = progress ? 0 : fruitless + 1;
    if (progress) pause = kShortestPause;
  }
  return answers;
}

std::vector<Result<std::string>> Client::call_all(std::vector<Call> calls, Deadline deadline) {
  const std::size_t count = calls.size();
  Result<Flight> flight = begin(std::move(calls), deadline);
  if (!flight) return std::vector<Result<std::string>>(count, flight.error());
  return finish(std::move(*flight));
}

Result<json> Client::call(std::string action, const json& body, Deadline deadline, Repeat repeat) {
  std::vector<Call> calls;
  calls.push_back({.action = std::move(action), .body = body.dump(), .repeat = repeat});
  const std::string name = calls.front().action;
  CLAW_TRY_ASSIGN(const std::string text, call_all(std::move(calls), deadline).front());
  return parse_answer(name, text);
}

}  // namespace claw::sqs
