#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/digest.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/text.h"

namespace claw {
namespace {

TEST(Duration, reads_one_number_and_one_unit) {
  EXPECT_EQ(parse_duration("5m").value(), Millis(300'000));
  EXPECT_EQ(parse_duration("250ms").value(), Millis(250));
  for (const char* wrong : {"", "5", "m", "5 m", "-5m", "5mm", "99999999999999d"})
    EXPECT_FALSE(parse_duration(wrong).ok()) << wrong;
}

TEST(Duration, shows_two_units_at_most) {
  EXPECT_EQ(human(Millis(514'000)), "8m 34s");
  EXPECT_EQ(human(Millis(156)), "156ms");
  EXPECT_EQ(human(Millis(6'120'000)), "1h 42m");
}

TEST(Time, goes_through_rfc3339_and_back) {
  EXPECT_EQ(rfc3339(parse_rfc3339("2025-01-18T14:32:17Z").value()), "2025-01-18T14:32:17Z");
  for (const char* wrong : {"2025-02-30T00:00:00Z", "2025-01-18 14:32:17Z", "2025-01-18T14:32:17Z ", ""})
    EXPECT_FALSE(parse_rfc3339(wrong).ok()) << wrong;
}

TEST(Digest, equals_the_published_vectors) {
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Base64, is_strict_and_has_one_text_a_value) {
  for (const std::string bytes : {"", "f", "fo", "foo", "foob"}) EXPECT_EQ(unbase64(base64(bytes)).value(), bytes);
  for (const char* wrong : {"Zg", "Zh==", "Zg==\n", "Z===", "Zg=a", "####"}) EXPECT_FALSE(unbase64(wrong).ok()) << wrong;
}

TEST(Escape, makes_hostile_bytes_visible_on_one_line) {
  EXPECT_EQ(escape("a\x1b[2Jb\nc"), "a\\x1b[2Jb\\nc");
  EXPECT_EQ(escape("\xe2\x80\xae" "evil"), "\\u202e" "evil");
  EXPECT_EQ(escape("\xff\xc0\xaf ok \xc3\xa9"), "\\xff\\xc0\\xaf ok \xc3\xa9");
  EXPECT_EQ(escape("abcdef", 3), "abc…");
}

TEST(Canonical, sorts_keys_and_refuses_what_has_two_forms) {
  EXPECT_EQ(canonical({{"b", 1}, {"a", {true, "\n"}}}).value(), R"({"a":[true,"\n"],"b":1})");
  EXPECT_FALSE(canonical({{"a", 1.5}}).ok());
  EXPECT_FALSE(canonical({{"a", nullptr}}).ok());
  EXPECT_FALSE(canonical({{"A", 1}}).ok());
  EXPECT_FALSE(canonical({{"a", (1ll << 53)}}).ok());
  EXPECT_FALSE(canonical({{"a", "\xff"}}).ok());
}

TEST(ParseJson, refuses_duplicate_keys_depth_and_trailing_bytes) {
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"c":[{"b":1}]})", "f").ok());
  EXPECT_FALSE(parse_json(R"({"a":1,"a":2})", "f").ok());
  EXPECT_FALSE(parse_json("{} x", "f").ok());
  EXPECT_FALSE(parse_json(std::string(10'000, '['), "f").ok());
}

TEST(Secret, is_empty_after_it_moved) {
  Secret a(std::string("hunter2"));
  const Secret b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): this is the promise
  EXPECT_EQ(b.reveal(), "hunter2");
}

TEST(Grouped, puts_commas_by_thousands) {
  EXPECT_EQ(grouped(847293), "847,293");
  EXPECT_EQ(grouped(12), "12");
}

}  // namespace
}  // namespace claw
