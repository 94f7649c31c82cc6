#include "sqs/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "testing/fault_disk.h"

namespace claw::sqs {
namespace {

using ::testing::HasSubstr;

struct Home {
  testing::FaultDisk disk;
  std::map<std::string, std::string> variables = {{"HOME", "/home/u"}, {"AWS_EC2_METADATA_DISABLED", "true"}};

  Home() { EXPECT_TRUE(disk.make_dirs("/home/u/.aws").ok()); }
  void write(const std::string& path, const std::string& text) { EXPECT_TRUE(disk.write_atomically(path, text, Mode::owner_only).ok()); }
  Result<Credentials> find() {
    return credential_chain({.environment = [this](const char* name) { return variables[name]; }, .disk = disk, .clock = system_clock(), .region = "us-east-1"})(false);
  }
};

TEST(Credentials, the_environment_comes_first) {
  Home home;
  home.write("/home/u/.aws/credentials", "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n");
  home.variables["AWS_ACCESS_KEY_ID"] = "ENV";
  home.variables["AWS_SECRET_ACCESS_KEY"] = "e";
  home.variables["AWS_SESSION_TOKEN"] = "t";
  const auto found = home.find();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->key_id, "ENV");
  EXPECT_EQ(found->token.reveal(), "t");
}

TEST(Credentials, profiles_are_read_as_the_aws_tools_do) {
  Home home;
  home.write("/home/u/.aws/config", "# mine\n[default]\nregion = x\n[profile prod]\naws_access_key_id=CONFIG ; old\ns3 =\n  max_concurrent_requests = 20\n[sso-session s]\nsso_region = y\n");
  home.write("/home/u/.aws/credentials", "[prod]\n  ignored = indented\nAWS_ACCESS_KEY_ID = SHARED\naws_secret_access_key = a=b#c\n");
  home.variables["AWS_PROFILE"] = "prod";
  const auto found = home.find();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->key_id, "SHARED");
  EXPECT_EQ(found->secret.reveal(), "a=b#c");
}

TEST(Credentials, what_is_wrong_is_said_and_never_shows_a_secret) {
  struct Case { std::string config, profile, expected; };
  const Case cases[] = {
      {"[profile a]\nrole_arn = r\n", "a", "exactly one of source_profile and credential_source"},
      {"[profile a]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = a\n", "a", "circle"},
      {"[profile a]\nrole_arn = r\nsource_profile = nobody\n", "a", "'nobody'"},
      {"[profile a]\nrole_arn = r\ncredential_source = Moon\n", "a", "expected Environment, EcsContainer or Ec2InstanceMetadata"},
      {"[profile a]\naws_access_key_id = K\n", "a", "both"},
      {"[profile a]\nsso_start_url = https://x\n", "a", "SSO"},
      {"[profile a]\naws_access_key_id = K\naws_secret_access_key = canary secret\n", "a", "characters"},
      {"[profile a\n", "a", "config:1"},
      {"[profile a]\nnonsense\n", "a", "config:2"},
      {"[profile a]\ncredential_process = echo canary; exit 3\n", "a", "status 3"},
      {"[profile a]\ncredential_process = echo '{\"Version\": 2}'\n", "a", "Version"},
      {"", "gone", "'gone' of AWS_PROFILE"},
      {"", "", "none found"},
  };
  for (const Case& one : cases) {
    Home home;
    home.write("/home/u/.aws/config", one.config);
    home.variables["AWS_PROFILE"] = one.profile;
    const auto found = home.find();
    ASSERT_FALSE(found.ok()) << one.config;
    EXPECT_THAT(found.error().message(), HasSubstr(one.expected));
    EXPECT_EQ(found.error().message().find("canary"), std::string::npos);
  }
}

TEST(Credentials, credential_process_is_asked_again_only_near_the_end) {
  Home home;
  const std::string ends = rfc3339(system_clock().now() + std::chrono::hours(1));
  home.write("/home/u/.aws/config", "[default]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"P'$$'\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\",\"Expiration\":\"" + ends + "\"}'\n");
  const auto chain = credential_chain({.environment = [&](const char* name) { return home.variables[name]; }, .disk = home.disk, .clock = system_clock(), .region = "us-east-1"});
  const auto first = chain(false), second = chain(false), renewed = chain(true);
  ASSERT_TRUE(first.ok() && second.ok() && renewed.ok()) << first.error().message();
  EXPECT_EQ(first->key_id, second->key_id);
  EXPECT_NE(first->key_id, renewed->key_id);
}

TEST(Endpoint, is_the_configs_then_the_environments_then_the_regions) {
  std::map<std::string, std::string> variables;
  const auto environment = [&](const char* name) { return variables[name]; };
  EXPECT_EQ(endpoint_of(kSqs, "eu-west-1", "", environment)->url, "https://sqs.eu-west-1.amazonaws.com");
  EXPECT_EQ(endpoint_of(kSqs, "cn-north-1", "", environment)->url, "https://sqs.cn-north-1.amazonaws.com.cn");
  variables["AWS_USE_FIPS_ENDPOINT"] = "true";
  EXPECT_EQ(endpoint_of(kSqs, "us-east-1", "", environment)->url, "https://sqs-fips.us-east-1.amazonaws.com");
  variables["AWS_ENDPOINT_URL_SQS"] = "https://vpce-1.sqs.us-east-1.vpce.amazonaws.com/";
  EXPECT_EQ(endpoint_of(kSqs, "us-east-1", "", environment)->host, "vpce-1.sqs.us-east-1.vpce.amazonaws.com");
  EXPECT_EQ(endpoint_of(kSqs, "us-east-1", "http://127.0.0.1:9/x", environment)->path, "/x");
  for (const char* wrong : {"127.0.0.1:9", "ftp://x", "http://", "http://user:pw@x", "http://x/?a"}) EXPECT_FALSE(endpoint_of(kSqs, "us-east-1", wrong, environment).ok()) << wrong;
  for (const char* wrong : {"", "US-EAST-1", "us east", "us/../x"}) EXPECT_FALSE(endpoint_of(kSqs, wrong, "http://x", environment).ok()) << wrong;
}

TEST(Client, error_types_say_what_to_do) {
  EXPECT_EQ(code_of("RequestThrottled", 400), Code::throttled);
  EXPECT_EQ(code_of("AWS.SimpleQueueService.NonExistentQueue", 400), Code::not_found);
  EXPECT_EQ(code_of("KmsAccessDenied", 400), Code::denied);
  EXPECT_EQ(code_of("OverLimit", 403), Code::full);
  EXPECT_EQ(code_of("InvalidParameterValue", 400), Code::invalid);
  EXPECT_EQ(code_of("HTTP 503", 503), Code::unavailable);
}

}  // namespace
}  // namespace claw::sqs
