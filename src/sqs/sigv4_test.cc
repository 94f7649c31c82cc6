#include "sqs/sigv4.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/disk.h"

namespace claw::sqs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string slurp(const fs::path& path) {
  Result<std::string> text = system_disk().read_all(path.string(), 1u << 20);
  EXPECT_TRUE(text.ok()) << path;
  return text.ok() ? *text : std::string();
}

struct Parsed {
  std::string method, path, query, body;
  std::vector<Header> headers;
};

// The suite's request.txt: header lines that start with a space go on with the line before.
Parsed parse(const std::string& text) {
  Parsed out;
  const std::size_t end_of_first = text.find('\n');
  const std::string first = text.substr(0, end_of_first);
  out.method = first.substr(0, first.find(' '));
  std::string target = first.substr(first.find(' ') + 1);
  target.resize(target.rfind(' '));
  const std::size_t question = target.find('?');
  out.path = target.substr(0, question);
  if (question != std::string::npos) out.query = target.substr(question + 1);
  std::size_t at = end_of_first == std::string::npos ? text.size() : end_of_first + 1;
  while (at < text.size() && text[at] != '\n') {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (line.front() == ' ') out.headers.back().value += "\n" + line;
    else out.headers.push_back({line.substr(0, line.find(':')), line.substr(line.find(':') + 1)});
    at = end + 1;
  }
  if (at + 1 < text.size()) out.body = text.substr(at + 1);
  return out;
}

void expect_vector(const fs::path& dir) {
  SCOPED_TRACE(dir.filename().string());
  const json context = json::parse(slurp(dir / "context.json"));
  const Result<WallTime> time = parse_rfc3339(context.at("timestamp").get<std::string>());
  ASSERT_TRUE(time.ok());
  const json& given = context.at("credentials");
  const std::string token = given.value("token", "");
  const Credentials credentials{given.at("access_key_id"), Secret(given.at("secret_access_key").get<std::string>()), Secret(token), std::nullopt, ""};
  Parsed request = parse(slurp(dir / "request.txt"));
  const std::string date = amz_date(*time);
  request.headers.push_back({"X-Amz-Date", date});
  if (!token.empty() && !context.value("omit_session_token", false)) request.headers.push_back({"X-Amz-Security-Token", token});
  const std::string canonical = slurp(dir / "header-canonical-request.txt");
  if (context.at("sign_body").get<bool>()) request.headers.push_back({"x-amz-content-sha256", canonical.substr(canonical.rfind('\n') + 1)});
  const Signable signable{.method = request.method, .path = request.path, .query = request.query, .headers = request.headers, .body = request.body,
                          .normalize_path = context.at("normalize").get<bool>()};
  EXPECT_EQ(canonical_request(signable), canonical);
  const std::string value = authorization(credentials, {context.at("region"), context.at("service")}, date, signable);
  EXPECT_TRUE(value.ends_with("Signature=" + slurp(dir / "header-signature.txt"))) << value;
}

TEST(SigV4, signs_the_38_official_vectors_as_aws_does) {
  int vectors = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(CLAW_SOURCE_DIR) / "testing/sqs/aws-signing-test-suite/v4")) {
    expect_vector(entry.path());
    ++vectors;
  }
  EXPECT_EQ(vectors, 38);
}

TEST(SigV4, a_changed_byte_changes_the_signature) {
  const Credentials credentials{"AKIDEXAMPLE", Secret("secret"), Secret(), std::nullopt, ""};
  const std::vector<Header> headers = {{"Host", "sqs.us-east-1.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}};
  const auto sign = [&](std::string_view body, const std::string& region) {
    return authorization(credentials, {region, "sqs"}, "20150830T123600Z", {.method = "POST", .path = "/", .query = "", .headers = headers, .body = body});
  };
  EXPECT_EQ(sign("{}", "us-east-1"), sign("{}", "us-east-1"));
  EXPECT_NE(sign("{}", "us-east-1"), sign("{ }", "us-east-1"));
  EXPECT_NE(sign("{}", "us-east-1"), sign("{}", "us-east-2"));
}

}  // namespace
}  // namespace claw::sqs
