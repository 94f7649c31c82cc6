// AWS Signature Version 4 over headers. Pure: the time is an argument.
// Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; held to the official
// vectors in testing/sqs/aws-signing-test-suite.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/secret.h"

namespace claw::sqs {

struct Credentials {
  std::string key_id;
  Secret secret;
  Secret token;                     // empty: long-lived credentials
  std::optional<WallTime> expires;  // nullopt: never
  std::string source;               // in words, for doctor: "profile 'prod' of ~/.aws/config"

  Credentials clone() const { return {key_id, secret.clone(), token.clone(), expires, source}; }
};

struct Header {
  std::string name;
  std::string value;
};

struct Scope {
  std::string region;
  std::string service;
};

struct Signable {
  std::string_view method;
  std::string_view path;   // as it goes over the wire, or decoded: it is encoded once
  std::string_view query;  // without '?'
  std::span<const Header> headers;  // all of them are signed; Host and X-Amz-Date (and the token's) must be there
  std::string_view body;
  bool normalize_path = true;
};

std::string canonical_request(const Signable& request);
// "20150830T123600Z"
std::string amz_date(WallTime time);
// The value of the Authorization header. `date` is what X-Amz-Date says.
std::string authorization(const Credentials& credentials, const Scope& scope, std::string_view date, const Signable& request);

// "%E1%88%B4": everything but unreserved characters, and '/' when `keep_slash`.
std::string percent_encode(std::string_view text, bool keep_slash);

}  // namespace claw::sqs
