#include "sqs/credentials.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr std::size_t kLargestFile = 1u << 20;
constexpr std::size_t kLargestToken = 64u << 10;
constexpr int kDeepestChain = 5;  // role_arn → source_profile → …
constexpr Millis kStsTimeout{10'000};
constexpr Millis kMetadataTimeout{1'000};
constexpr Millis kProcessTimeout{30'000};

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string get(const Section& section, const char* key) {
  const auto found = section.find(key);
  return found == section.end() ? std::string() : found->second;
}

Result<std::optional<WallTime>> expiry_of(const std::string& text, const std::string& source) {
  if (text.empty()) return std::optional<WallTime>();
  const std::size_t fraction = text.find('.');
  const Result<WallTime> at = parse_rfc3339(fraction == std::string::npos ? text : text.substr(0, fraction) + "Z");
  if (!at) return make_error(Code::corrupt, source, "Expiration '" + escape(text, 40) + "', expected a time like 2025-01-18T14:32:17Z");
  return std::optional<WallTime>(*at);
}

Result<Credentials> checked(Credentials credentials) {
  const auto plain = [](std::string_view text) { return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; }); };
  if (credentials.key_id.empty() || credentials.secret.empty())
    return make_error(Code::denied, credentials.source, "expected both an access key id and a secret access key");
  if (!plain(credentials.key_id) || !plain(credentials.secret.reveal()) || !plain(credentials.token.reveal()))
    return make_error(Code::denied, credentials.source, "a key or token holds characters that no AWS credential has");
  return credentials;
}

// Runs `command` by the shell with a bounded answer, as credential_process is documented.
Result<std::string> output_of(const std::string& command, Clock& clock, const std::string& source) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return make_error(Code::unavailable, source, "no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return make_error(Code::unavailable, source, "cannot start a process");
  }
  std::string text;
  const Deadline deadline = Deadline::in(clock, kProcessTimeout);
  bool ended = false;
  while (!ended && !deadline.expired(clock) && text.size() <= kLargestToken) {
    pollfd waiting{.fd = ends[0], .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 250) <= 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(ends[0], buffer, sizeof buffer);
    ended = got <= 0;
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  if (!ended) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!ended) return make_error(Code::timed_out, source, "did not end within 30 s, or said more than 64 KiB");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return make_error(Code::denied, source, fmt::format("ended with status {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1));
  return text;
}

// May a token be sent there? HTTPS, loopback, and the two addresses of container agents.
bool allowed_for_containers(std::string_view url) {
  if (url.starts_with("https://")) return true;
  for (const std::string_view place : {"http://127.0.0.1", "http://localhost", "http://[::1]", "http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]"})
    if (url.starts_with(place) && (url.size() == place.size() || url[place.size()] == ':' || url[place.size()] == '/')) return true;
  return false;
}

class Chain {
 public:
  explicit Chain(Surroundings around) : around_(std::move(around)) {}

  Result<Credentials> get(bool renew) {
    const std::lock_guard lock(mutex_);
    const bool fresh = known_ && (!known_->expires || *known_->expires - around_.clock.now() > kRenewBefore);
    if (fresh && !renew) return known_->clone();
    Result<Credentials> found = find();
    // While the old ones hold, a failed renewal is no failure.
    if (!found && known_ && known_->expires && *known_->expires > around_.clock.now() && !renew) return known_->clone();
    if (!found) return found;
    known_ = found->clone();
    return found;
  }

 private:
  std::string env(const char* name) const { return around_.environment(name); }

  Result<Credentials> find() {
    if (!http_) {
      CLAW_TRY_ASSIGN(http_, Http::open(env("AWS_CA_BUNDLE")));
    }
    if (!env("AWS_ACCESS_KEY_ID").empty()) return from_environment();
    CLAW_TRY_ASSIGN(const Profiles profiles, read_profiles());
    const std::string named = env("AWS_PROFILE"), profile = named.empty() ? "default" : named;
    if (profiles.contains(profile)) {
      const Section& section = profiles.at(profile);
      const bool says_something = std::any_of(std::begin(kSources), std::end(kSources), [&](const char* key) { return section.contains(key); });
      if (says_something) return from_profile(profiles, profile, 0);
    }
    if (!named.empty() && !profiles.contains(profile)) return make_error(Code::denied, "credentials", "profile '" + escape(named, 60) + "' of AWS_PROFILE is not in " + config_file() + " or " + credentials_file());
    if (!env("AWS_WEB_IDENTITY_TOKEN_FILE").empty())
      return web_identity(env("AWS_WEB_IDENTITY_TOKEN_FILE"), env("AWS_ROLE_ARN"), env("AWS_ROLE_SESSION_NAME"), "AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").empty() || !env("AWS_CONTAINER_CREDENTIALS_FULL_URI").empty()) return container();
    if (env("AWS_EC2_METADATA_DISABLED") != "true") return metadata();
    return make_error(Code::denied, "credentials", "none found: looked in the environment, " + config_file() + ", " + credentials_file() + "; web identity and container are not set, instance metadata is disabled");
  }

  static constexpr const char* kSources[] = {"role_arn", "web_identity_token_file", "credential_process", "aws_access_key_id", "sso_session", "sso_start_url"};

  std::string home_file(const char* variable, const char* name) const {
    const std::string given = env(variable);
    return given.empty() ? env("HOME") + "/.aws/" + name : given;
  }
  std::string config_file() const { return home_file("AWS_CONFIG_FILE", "config"); }
  std::string credentials_file() const { return home_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"); }

  Result<Profiles> read_profiles() {
    Profiles all;
    for (const bool is_config : {true, false}) {
      const std::string path = is_config ? config_file() : credentials_file();
      const Result<std::string> text = around_.disk.read_all(path, kLargestFile);
      if (!text && text.error().code == Code::not_found) continue;
      if (!text) return make_error(Code::denied, "credentials", text.error().message());
      CLAW_TRY_ASSIGN(Profiles some, parse_profiles(*text, path, is_config));
      for (auto& [name, section] : some)
        for (auto& [key, value] : section) all[name][key] = std::move(value);  // the credentials file wins
    }
    return all;
  }

  Result<Credentials> from_environment() const {
    return checked({env("AWS_ACCESS_KEY_ID"), Secret(env("AWS_SECRET_ACCESS_KEY")), Secret(env("AWS_SESSION_TOKEN")), std::nullopt, "environment"});
  }

  Result<Credentials> from_profile(const Profiles& profiles, const std::string& name, int depth) {
    const std::string source = "profile '" + escape(name, 60) + "'";
    if (depth > kDeepestChain) return make_error(Code::invalid, source, "source_profile goes on for more than 5 profiles, or in a circle");
    const auto found = profiles.find(name);
    if (found == profiles.end()) return make_error(Code::denied, source, "is not in " + config_file() + " or " + credentials_file());
    const Section& section = found->second;
    const std::string role = sqs::get(section, "role_arn"), token_file = sqs::get(section, "web_identity_token_file");
    // A profile that names itself as source means its own keys.
    if (!token_file.empty()) return web_identity(token_file, role, sqs::get(section, "role_session_name"), source);
    if (!role.empty() && !(depth > 0 && section.contains("aws_access_key_id"))) return assumed(profiles, section, name, depth);
    if (section.contains("aws_access_key_id"))
      return checked({sqs::get(section, "aws_access_key_id"), Secret(sqs::get(section, "aws_secret_access_key")), Secret(sqs::get(section, "aws_session_token")), std::nullopt, source});
    if (const std::string command = sqs::get(section, "credential_process"); !command.empty()) {
      CLAW_TRY_ASSIGN(const std::string text, output_of(command, around_.clock, "credential_process of " + source));
      return credentials_from_json(text, "credential_process of " + source);
    }
    if (section.contains("sso_session") || section.contains("sso_start_url"))
      return make_error(Code::unsupported, source, "uses SSO, which this version does not; use credential_process = aws configure export-credentials --profile " + escape(name, 60));
    return make_error(Code::denied, source, "has no role_arn, web_identity_token_file, credential_process or aws_access_key_id");
  }

  Result<Credentials> assumed(const Profiles& profiles, const Section& section, const std::string& name, int depth) {
    const std::string source = "profile '" + escape(name, 60) + "'", parent = sqs::get(section, "source_profile"), from = sqs::get(section, "credential_source");
    if (parent.empty() == from.empty()) return make_error(Code::invalid, source, "role_arn needs exactly one of source_profile and credential_source");
    Result<Credentials> base = make_error(Code::invalid, source, "credential_source '" + escape(from, 40) + "', expected Environment, EcsContainer or Ec2InstanceMetadata");
    if (!parent.empty()) base = from_profile(profiles, parent, depth + 1);
    else if (from == "Environment") base = from_environment();
    else if (from == "EcsContainer") base = container();
    else if (from == "Ec2InstanceMetadata") base = metadata();
    if (!base) return base;
    std::string query = "Action=AssumeRole&Version=2011-06-15&RoleArn=" + percent_encode(sqs::get(section, "role_arn"), false) + "&RoleSessionName=" + session_name(sqs::get(section, "role_session_name"));
    if (const std::string id = sqs::get(section, "external_id"); !id.empty()) query += "&ExternalId=" + percent_encode(id, false);
    if (const std::string seconds = sqs::get(section, "duration_seconds"); !seconds.empty()) query += "&DurationSeconds=" + percent_encode(seconds, false);
    return ask_sts(query, &*base, "role of " + source);
  }

  static std::string session_name(const std::string& wanted) { return wanted.empty() ? "deployclaw" : percent_encode(wanted, false); }

  Result<Credentials> web_identity(const std::string& token_file, const std::string& role, const std::string& session, const std::string& source) {
    if (role.empty()) return make_error(Code::invalid, source, "a web identity token needs a role (AWS_ROLE_ARN or role_arn)");
    CLAW_TRY_ASSIGN(const std::string token, around_.disk.read_all(token_file, kLargestToken));
    const std::string query = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=" + percent_encode(role, false) + "&RoleSessionName=" + session_name(session) +
                              "&WebIdentityToken=" + percent_encode(trimmed(std::string_view(token).substr(0, token.find('\n'))), false);
    return ask_sts(query, nullptr, "web identity of " + source);
  }

  // `base`: whose signature it carries; null for none.
  Result<Credentials> ask_sts(const std::string& body, const Credentials* base, const std::string& source) {
    CLAW_TRY_ASSIGN(const Endpoint endpoint, endpoint_of(kSts, around_.region, "", around_.environment));
    HttpRequest request{.method = "POST", .url = endpoint.url + endpoint.path, .headers = {}, .body = body};
    const std::string date = amz_date(around_.clock.now());
    request.headers = {{"Host", endpoint.host}, {"X-Amz-Date", date}, {"Content-Type", "application/x-www-form-urlencoded"}};
    if (base != nullptr) {
      if (!base->token.empty()) request.headers.push_back({"X-Amz-Security-Token", std::string(base->token.reveal())});
      const Signable signable{.method = "POST", .path = endpoint.path, .query = "", .headers = request.headers, .body = request.body};
      request.headers.push_back({"Authorization", authorization(*base, {around_.region, "sts"}, date, signable)});
    }
    CLAW_TRY_ASSIGN(const std::string text, answer(std::move(request), kStsTimeout, source));
    return credentials_from_xml(text, source);
  }

  Result<std::string> answer(HttpRequest request, Millis timeout, const std::string& source) {
    std::vector<HttpRequest> one;
    one.push_back(std::move(request));
    Exchange exchange = http_->send(std::move(one), timeout).front();
    if (!exchange.problem.empty()) return make_error(Code::unavailable, source, exchange.problem);
    if (exchange.response.status != 200) return make_error(Code::denied, source, fmt::format("answered HTTP {}", exchange.response.status));
    return std::move(exchange.response.body);
  }

  Result<Credentials> container() {
    std::string url = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (const std::string path = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); !path.empty()) url = "http://169.254.170.2" + path;
    if (!allowed_for_containers(url)) return make_error(Code::invalid, "container credentials", "'" + escape(url, 80) + "': plain http is for loopback and the container agents' addresses only");
    HttpRequest request{.method = "GET", .url = url, .headers = {}, .body = {}};
    std::string token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (const std::string file = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
      CLAW_TRY_ASSIGN(token, around_.disk.read_all(file, kLargestToken));
    }
    token = trimmed(std::string_view(token).substr(0, token.find('\n')));
    if (!token.empty()) request.headers.push_back({"Authorization", token});
    CLAW_TRY_ASSIGN(const std::string text, answer(std::move(request), kMetadataTimeout, "container credentials"));
    return credentials_from_json(text, "container credentials");
  }

  Result<Credentials> metadata() {
    const std::string source = "instance metadata";
    std::string base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (base.empty()) base = "http://169.254.169.254";
    while (base.ends_with('/')) base.pop_back();
    const Result<std::string> token = answer({.method = "PUT", .url = base + "/latest/api/token", .headers = {{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}}, .body = {}}, kMetadataTimeout, source);
    if (!token) return make_error(Code::denied, "credentials", "none found: environment, " + config_file() + ", " + credentials_file() + ", web identity and container are not set; " + token.error().message());
    const auto ask = [&](const std::string& path) { return answer({.method = "GET", .url = base + path, .headers = {{"X-aws-ec2-metadata-token", *token}}, .body = {}}, kMetadataTimeout, source); };
    CLAW_TRY_ASSIGN(std::string role, ask("/latest/meta-data/iam/security-credentials/"));
    role = trimmed(std::string_view(role).substr(0, role.find('\n')));
    if (role.empty()) return make_error(Code::denied, source, "the instance has no role");
    CLAW_TRY_ASSIGN(const std::string text, ask("/latest/meta-data/iam/security-credentials/" + percent_encode(role, false)));
    return credentials_from_json(text, source);
  }

  Surroundings around_;
  std::mutex mutex_;
  std::unique_ptr<Http> http_;
  std::optional<Credentials> known_;
};

std::string tag_text(std::string_view xml, const std::string& tag) {
  const std::size_t open = xml.find("<" + tag + ">");
  if (open == std::string_view::npos) return {};
  const std::size_t from = open + tag.size() + 2, to = xml.find("</" + tag + ">", from);
  return to == std::string_view::npos ? std::string() : std::string(trimmed(xml.substr(from, to - from)));
}

}  // namespace

Result<Profiles> parse_profiles(std::string_view text, const std::string& file, bool is_config) {
  Profiles out;
  Section* section = nullptr;
  std::size_t number = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    const std::string_view raw = text.substr(from, to - from), line = trimmed(raw);
    from = to + 1;
    ++number;
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      const std::size_t close = line.find(']');
      if (close == std::string_view::npos) return make_error(Code::invalid, fmt::format("{}:{}", file, number), "a section that is not closed, expected [profile NAME]");
      std::string_view title = trimmed(line.substr(1, close - 1));
      const bool prefixed = title.starts_with("profile ") || title.starts_with("profile\t");
      if (prefixed) title = trimmed(title.substr(8));
      // In the config file only "default" goes without the word; sso-session and services sections are none of ours.
      section = is_config && !prefixed && title != "default" ? nullptr : &out[std::string(title)];
      continue;
    }
    if (raw.front() == ' ' || raw.front() == '\t') continue;
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return make_error(Code::invalid, fmt::format("{}:{}", file, number), "expected key = value");
    std::string_view value = line.substr(equals + 1);
    for (std::size_t i = 1; i < value.size(); ++i)
      if ((value[i] == '#' || value[i] == ';') && (value[i - 1] == ' ' || value[i - 1] == '\t')) value = value.substr(0, i);
    std::string key(trimmed(line.substr(0, equals)));
    for (char& c : key) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (section != nullptr) (*section)[key] = trimmed(value);
  }
  return out;
}

Result<Credentials> credentials_from_json(std::string_view text, const std::string& source) {
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return make_error(Code::corrupt, source, "the answer is not a JSON object");
  const auto field = [&](const char* key) {
    const auto found = value.find(key);
    return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (value.contains("Version") && value["Version"] != 1) return make_error(Code::unsupported, source, "an answer of another Version than 1");
  CLAW_TRY_ASSIGN(const auto expires, expiry_of(field("Expiration"), source));
  const std::string token = field("SessionToken").empty() ? field("Token") : field("SessionToken");
  return checked({field("AccessKeyId"), Secret(field("SecretAccessKey")), Secret(token), expires, source});
}

Result<Credentials> credentials_from_xml(std::string_view text, const std::string& source) {
  CLAW_TRY_ASSIGN(const auto expires, expiry_of(tag_text(text, "Expiration"), source));
  return checked({tag_text(text, "AccessKeyId"), Secret(tag_text(text, "SecretAccessKey")), Secret(tag_text(text, "SessionToken")), expires, source});
}

std::function<Result<Credentials>(bool)> credential_chain(Surroundings surroundings) {
  return [chain = std::make_shared<Chain>(std::move(surroundings))](bool renew) { return chain->get(renew); };
}

}  // namespace claw::sqs
