// Where AWS users keep their credentials, in the order that they expect: environment; the profile of the shared config
// and credentials files (role_arn with source_profile or credential_source, web_identity_token_file, credential_process,
// keys); web identity from the environment; container; instance metadata (IMDSv2).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "base/result.h"
#include "sqs/client.h"
#include "sqs/http.h"
#include "sqs/sigv4.h"

namespace claw::sqs {

inline constexpr Millis kRenewBefore = std::chrono::minutes(5);

// What the chain reads. Everything outlives it.
struct Surroundings {
  std::function<std::string(const char*)> environment;  // empty text when unset
  Disk& disk;
  Clock& clock;
  std::string region;  // for STS
};

using Section = std::map<std::string, std::string>;  // key → value
using Profiles = std::map<std::string, Section>;

// INI as the AWS tools read it: "[profile name]" (config) or "[name]" (credentials); "[default]" in both; comments
// with # or ; on their own line or after white space; nested settings (indented) are skipped. Errors name the line.
Result<Profiles> parse_profiles(std::string_view text, const std::string& file, bool is_config);

// {"AccessKeyId", "SecretAccessKey", "SessionToken"|"Token", "Expiration"}: containers, IMDS and credential_process.
Result<Credentials> credentials_from_json(std::string_view text, const std::string& source);
// The answer of STS AssumeRole and AssumeRoleWithWebIdentity.
Result<Credentials> credentials_from_xml(std::string_view text, const std::string& source);

// Remembers what it got and renews it five minutes before it ends. Thread-safe, and one caller at a time renews
// while the others wait. Nothing of it is ever logged.
std::function<Result<Credentials>(bool renew)> credential_chain(Surroundings surroundings);

}  // namespace claw::sqs
