#include "rabbitmq/properties.h"

#include <gtest/gtest.h>

namespace claw::rabbitmq {
namespace {

// content-type, headers {a: "x", n: 7 (l), t: {k: true}}, delivery-mode 2, message-id
std::string sample() {
  std::string table;
  put_string(table, "a", "x");
  table += std::string("\x01n") + "l" + std::string(7, '\0') + '\7';
  table += std::string("\x01t") + "F" + std::string("\0\0\0\4\1kt\1", 8);
  const std::string wire = wire_table(table), type = wire_short("application/json"), id = wire_short("m-1");
  Properties out;
  out.set(Property::content_type, type);
  out.set(Property::headers, wire);
  out.set(Property::delivery_mode, "\x02");
  out.set(Property::message_id, id);
  return out.encode();
}

TEST(Properties, are_read_and_written_byte_for_byte) {
  const std::string raw = sample();
  const auto parsed = Properties::parse(raw);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed->encode(), raw);
  EXPECT_EQ(parsed->text(Property::content_type), "application/json");
  EXPECT_EQ(parsed->text(Property::message_id), "m-1");
  EXPECT_FALSE(parsed->has(Property::expiration));
  EXPECT_EQ(header_text(parsed->headers(), "a"), "x");
  EXPECT_EQ(header_integer(parsed->headers(), "n"), 7);
  EXPECT_EQ(header_text(parsed->headers(), "nothing"), std::nullopt);
}

TEST(Properties, cut_at_any_byte_or_longer_by_one_are_refused) {
  const std::string raw = sample();
  for (std::size_t size = 0; size < raw.size(); ++size) EXPECT_FALSE(Properties::parse(raw.substr(0, size)).ok()) << size;
  EXPECT_FALSE(Properties::parse(raw + "x").ok());
}

TEST(Properties, every_changed_byte_is_read_or_refused_but_never_overrun) {
  const std::string raw = sample();
  for (std::size_t at = 0; at < raw.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string changed = raw;
      changed[at] = static_cast<char>(value);
      const auto parsed = Properties::parse(changed);
      if (parsed.ok()) {
        EXPECT_EQ(parsed->encode(), changed);
      }
    }
}

TEST(Properties, lengths_that_lie_are_refused) {
  for (const std::string& table : {std::string("\1aS\xff\xff\xff\xff", 7), std::string("\xff"
                                                                                    "a", 2), std::string("\1aZ", 3), std::string("\1al\0\0", 5)}) {
    TableCursor cursor(table);
    EXPECT_FALSE(cursor.next());
    EXPECT_FALSE(cursor.ok());
  }
}

TEST(Properties, entries_are_dropped_by_name_and_the_rest_keeps_its_bytes) {
  std::string table, rest;
  put_string(table, "keep", "1");
  rest = table;
  put_string(table, "drop", "2");
  EXPECT_EQ(table_without(table, [](std::string_view name) { return name == "drop"; }), rest);
}

TEST(Properties, integers_have_their_sign_by_type) {
  const auto first = [](const std::string& table) {
    TableCursor cursor(table);
    EXPECT_TRUE(cursor.next());
    return cursor.integer();
  };
  EXPECT_EQ(first("\1nb\xff"), -1);
  EXPECT_EQ(first("\1nB\xff"), 255);
  EXPECT_EQ(first("\1ns\xff\xfe"), -2);
  EXPECT_EQ(first("\1nI\xff\xff\xff\xfd"), -3);
  EXPECT_EQ(first(std::string("\1nd\0\0\0\0\0\0\0\0", 11)), std::nullopt);
}

}  // namespace
}  // namespace claw::rabbitmq
