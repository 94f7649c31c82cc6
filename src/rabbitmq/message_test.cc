#include "rabbitmq/message.h"

#include <gtest/gtest.h>

#include "rabbitmq/properties.h"

namespace claw::rabbitmq {
namespace {

std::string integer(std::string_view name, std::uint8_t value) { return std::string(1, static_cast<char>(name.size())).append(name) + "l" + std::string(7, '\0') + static_cast<char>(value); }

std::string table(std::string_view name, std::string_view content, char type) {
  return std::string(1, static_cast<char>(name.size())).append(name) + type + wire_table(content);
}

std::string death(std::string_view queue, std::string_view reason, std::uint8_t count) {
  std::string entry = integer("count", count);
  put_string(entry, "queue", queue);
  put_string(entry, "reason", reason);
  return "F" + wire_table(entry);
}

std::string with_headers(const std::string& headers) {
  Properties out;
  const std::string wire = wire_table(headers), expiration = wire_short("60000"), user = wire_short("alice"), id = wire_short("m-1");
  out.set(Property::headers, wire);
  out.set(Property::delivery_mode, "\x01");
  out.set(Property::expiration, expiration);
  out.set(Property::message_id, id);
  out.set(Property::user_id, user);
  return out.encode();
}

std::string headers() {
  std::string out;
  put_string(out, "kept", "yes");
  out += table("CC", "S" + wire_table("other"), 'A');
  out += table("x-death", death("orders", "rejected", 3) + death("orders.retry", "expired", 3) + death("orders", "expired", 9) + death("orders", "delivery_limit", 1), 'A');
  put_string(out, "x-first-death-queue", "orders");
  return out;
}

TEST(Message, what_the_broker_adds_at_each_delivery_is_not_content) {
  const std::string once = with_headers(headers()), again = with_headers(headers() + integer("x-delivery-count", 4));
  const auto a = see({.exchange = "x", .routing_key = "k", .properties = once, .body = "b"}, "orders");
  const auto b = see({.exchange = "x", .routing_key = "k", .properties = again, .body = "b"}, "orders");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->envelope, b->envelope);
  EXPECT_EQ(a->delivery_count, 0u);
  EXPECT_EQ(b->delivery_count, 4u);
}

TEST(Message, rejections_and_delivery_limits_in_this_queue_are_failures_and_expiries_are_not) {
  const std::string raw = with_headers(headers());
  const auto seen = see({.properties = raw}, "orders");
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->dead_lettered, 4u);
  EXPECT_EQ(see({.properties = raw}, "orders.retry")->dead_lettered, 0u);
  EXPECT_EQ(seen->expires_ms, 60'000);
}

TEST(Message, comes_out_of_quarantine_as_it_went_in) {
  const std::string raw = with_headers(headers());
  const auto seen = see({.exchange = "ex", .routing_key = "key", .properties = raw, .body = "body"}, "orders");
  const auto fields = fields_of("body", seen->envelope);
  const auto copy = for_quarantine(fields, "queue_remediation_7", 41);
  ASSERT_TRUE(copy.ok());
  const auto properties = Properties::parse(copy->properties);
  ASSERT_TRUE(properties.ok());
  for (const Property p : {Property::expiration, Property::user_id, Property::priority}) EXPECT_FALSE(properties->has(p));
  EXPECT_EQ(header_text(properties->headers(), "kept"), std::nullopt);
  const auto back = from_quarantine({.properties = copy->properties, .body = copy->body});
  ASSERT_TRUE(back.ok() && *back);
  EXPECT_EQ((*back)->execution_id, "queue_remediation_7");
  EXPECT_EQ((*back)->number, 41u);
  EXPECT_EQ((*back)->fields, fields);
}

TEST(Message, goes_back_without_what_would_make_the_broker_drop_or_copy_or_refuse_it) {
  const std::string raw = with_headers(headers());
  const auto seen = see({.properties = raw, .body = "body"}, "orders");
  const auto fields = fields_of("body", seen->envelope);
  const auto message = for_queue(fields, "agent");
  ASSERT_TRUE(message.ok());
  const auto properties = Properties::parse(message->properties);
  ASSERT_TRUE(properties.ok());
  std::string kept;
  put_string(kept, "kept", "yes");
  EXPECT_EQ(properties->headers(), kept);
  EXPECT_EQ(properties->text(Property::expiration), "60000");
  EXPECT_EQ(properties->text(Property::message_id), "m-1");
  EXPECT_FALSE(properties->has(Property::user_id));
  const auto to_alice = for_queue(fields, "alice");
  const auto alices = Properties::parse(to_alice->properties);
  ASSERT_TRUE(alices.ok());
  EXPECT_TRUE(alices->has(Property::user_id));
}

TEST(Message, of_somebody_else_in_quarantine_is_not_ours) {
  const std::string raw = with_headers(headers());
  const auto back = from_quarantine({.properties = raw, .body = "b"});
  ASSERT_TRUE(back.ok());
  EXPECT_FALSE(back->has_value());
}

TEST(Message, envelope_that_is_cut_off_is_refused) {
  const std::string whole = pack({"exchange", "key", std::string_view("\0\0", 2)});
  for (std::size_t size = 0; size + 2 < whole.size(); ++size) EXPECT_FALSE(unpack(whole.substr(0, size)).ok()) << size;
  ASSERT_TRUE(unpack(whole).ok());
  EXPECT_EQ(unpack(whole)->routing_key, "key");
}

}  // namespace
}  // namespace claw::rabbitmq
