// An AWS API of the JSON 1.0 protocol (SQS; CloudWatch beside it): signed calls, answered or explained.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "sqs/http.h"
#include "sqs/sigv4.h"

namespace claw::sqs {

// Gives credentials that are good for some minutes more; `renew`: the last ones were refused as expired.
using CredentialSource = std::function<Result<Credentials>(bool renew)>;

struct Service {
  std::string_view name;      // in the scope of signatures and in the public host
  std::string_view target;    // what X-Amz-Target starts with
  const char* variable;       // environment variable that names another endpoint
};
inline constexpr Service kSqs{"sqs", "AmazonSQS.", "AWS_ENDPOINT_URL_SQS"};
inline constexpr Service kSts{"sts", "", "AWS_ENDPOINT_URL_STS"};  // of the query protocol: for its endpoint only
inline constexpr Service kCloudWatch{"monitoring", "GraniteServiceVersion20100801.", "AWS_ENDPOINT_URL_CLOUDWATCH"};

struct Endpoint {
  Service service;
  std::string url;     // "https://sqs.eu-west-1.amazonaws.com"
  std::string host;    // as in the Host header
  std::string path;    // "/"
  std::string region;  // the scope of signatures, never derived from the host
};

// `endpoint_url` empty: the service's own variable, then $AWS_ENDPOINT_URL, then the region's public endpoint (FIPS when
// $AWS_USE_FIPS_ENDPOINT is true).
Result<Endpoint> endpoint_of(const Service& service, const std::string& region, const std::string& endpoint_url,
                             const std::function<std::string(const char*)>& environment);

// What a call is when the connection breaks under it.
enum class Repeat {
  harmless,  // asking again changes nothing that asking once did not
  never,     // Code::outcome_unknown instead
};

// Used by one thread. Throttled and, where harmless, failed calls are repeated with jitter until the deadline; a clock that is
// off and a token that has expired are corrected once.
class Client {
 public:
  Client(Endpoint endpoint, CredentialSource credentials, std::unique_ptr<Http> http, Clock& clock, Random& random)
      : endpoint_(std::move(endpoint)), credentials_(std::move(credentials)), http_(std::move(http)), clock_(clock), random_(random) {}

  struct Call {
    std::string action;  // "ReceiveMessage"
    std::string body;    // JSON
    Repeat repeat = Repeat::harmless;
  };
  // Calls under way: begun now, so that the caller can work while they are answered.
  struct Flight {
    Http::Ticket ticket = 0;
    std::vector<Call> calls;
    Deadline deadline;
  };

  Result<Flight> begin(std::vector<Call> calls, Deadline deadline);
  // An answer a call, in order: the text of a JSON object.
  std::vector<Result<std::string>> finish(Flight flight);
  void nudge() { http_->nudge(); }

  std::vector<Result<std::string>> call_all(std::vector<Call> calls, Deadline deadline);
  Result<nlohmann::json> call(std::string action, const nlohmann::json& body, Deadline deadline, Repeat repeat = Repeat::harmless);

  const Endpoint& endpoint() const { return endpoint_; }
  std::uint64_t throttled() const { return throttled_; }  // answers "slow down" so far
  Millis skew() const { return skew_; }                   // server's time minus ours, as far as it had to be corrected
  Clock& clock() const { return clock_; }

 private:
  Result<HttpRequest> signed_request(const Call& call, bool renew);
  Result<std::string> answer_of(const Call& call, Exchange exchange);
  bool correct_clock(const std::string& date);

  Endpoint endpoint_;
  CredentialSource credentials_;
  std::unique_ptr<Http> http_;
  Clock& clock_;
  Random& random_;
  Millis skew_{0};
  std::uint64_t throttled_ = 0;
  std::string last_date_;
};

// Parses an answer; foreign text that is not what the protocol says is Code::corrupt.
Result<nlohmann::json> parse_answer(std::string_view action, std::string_view text);
// "QueueDoesNotExist" → what the caller can do.
Code code_of(std::string_view error_type, long status);

}  // namespace claw::sqs
