#include "content/read_json.h"

#include <gtest/gtest.h>

#include "content/document.h"
#include "testing/event_text.h"

namespace claw::content {
namespace {

std::string events(std::string_view text) {
  return testing::events([&](Emitter& out) { return read_json(text, out); });
}

TEST(ReadJson, keeps_numbers_as_spelt_and_duplicate_keys) {
  EXPECT_EQ(events(R"( {"a":1.50e+2, "a":[-0,12345678901234567890], "b":{}} )"), R"({"a":1.50e+2,"a":[-0,12345678901234567890],"b":{}})");
}

TEST(ReadJson, unescapes_and_mends_lone_surrogates) {
  EXPECT_EQ(events(R"(["a\n\"\\\/\u00e9\ud83d\ude00","\ud800x","\udc00","\ud800\u0041","long text before \t and after it"])"),
            "[\"a\n\"\\/é😀\",\"\xef\xbf\xbdx\",\"\xef\xbf\xbd\",\"\xef\xbf\xbd" "A\",\"long text before \t and after it\"]");
}

TEST(ReadJson, says_what_and_where) {
  EXPECT_EQ(events(R"({"a":tru})"), "flaw at 5: bare word");
  EXPECT_EQ(events(R"({"a":1,})"), "flaw at 7: expected a key");
  EXPECT_EQ(events(R"(["abc)"), "flaw at 5: string not closed");
  EXPECT_EQ(events("[1] x"), "flaw at 4: text after the end");
  EXPECT_EQ(events(""), "flaw at 0: value missing");
}

TEST(ReadJson, depth_is_64_and_not_more) {
  const std::string fits = std::string(64, '[') + std::string(64, ']');
  EXPECT_EQ(events(fits), fits);
  EXPECT_EQ(events(std::string(65, '[') + std::string(65, ']')), "flaw at 64: nested too deep");
  EXPECT_EQ(events(std::string(1u << 20, '[')), "flaw at 64: nested too deep");
}

TEST(Emitter, holds_events_and_bytes_to_their_limits) {
  testing::EventText text;
  Emitter few(text, {.events = 3});
  EXPECT_EQ(read_json("[1,2,3]", few)->what, "more parts than one body may have");
  Emitter small(text, {.bytes = 4});
  EXPECT_EQ(read_json(R"({"abc":"de"})", small)->what, "more text than one body may have");
}

TEST(Document, walks_members_and_finds_the_last_of_a_name) {
  Document document;
  ASSERT_FALSE(read_json(R"({"a":[1,[2,3],{"x":true}],"b":"t","a":null})", document));
  const Value root = document.root();
  EXPECT_EQ(root.size(), 3u);
  EXPECT_EQ(root.find("a")->kind(), Kind::null);
  EXPECT_EQ(root.find("b")->text(), "t");
  EXPECT_EQ(root.find("b")->at(), 30u);
  EXPECT_FALSE(root.find("c"));
  std::string seen;
  for (const Value member : root) seen += fmt::format("{}:{} ", member.key(), member.size());
  EXPECT_EQ(seen, "a:3 b:0 a:0 ");
  const Value list = *root.begin();
  EXPECT_EQ(std::distance(list.begin(), list.end()), 3);
}

TEST(Document, names_the_class_of_a_value_never_the_value) {
  const auto class_of = [](std::string_view text) {
    Document document;
    EXPECT_FALSE(read_json(text, document));
    return value_class(document.root());
  };
  EXPECT_EQ(class_of("\"1234\""), "a string of digits");
  EXPECT_EQ(class_of("\"12.5\""), "a string that spells a number");
  EXPECT_EQ(class_of("\"\""), "an empty string");
  EXPECT_EQ(class_of("\" \""), "a blank string");
  EXPECT_EQ(class_of("\"x\""), "a string");
  EXPECT_EQ(class_of("12"), "an integer");
  EXPECT_EQ(class_of("-12"), "a negative integer");
  EXPECT_EQ(class_of("1.0"), "an integer");
  EXPECT_EQ(class_of("1.5"), "a number with a fraction");
  EXPECT_EQ(class_of("[1,2]"), "an array of 2");
  EXPECT_EQ(class_of("{}"), "an empty object");
}

}  // namespace
}  // namespace claw::content
