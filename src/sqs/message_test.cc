#include "sqs/message.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sqs/queue.h"

namespace claw::sqs {
namespace {

using nlohmann::json;

constexpr const char* kId = "0a1b2c3d-4e5f-4678-9abc-def012345678";

json message_json(const std::string& body, const json& attributes, const std::string& attributes_md5) {
  json out = {{"MessageId", kId}, {"ReceiptHandle", "r1"}, {"Body", body}, {"MD5OfBody", md5(body)},
              {"Attributes", {{"ApproximateReceiveCount", "3"}, {"SentTimestamp", "1700000000000"}, {"SenderId", "AIDA"}, {"MessageGroupId", "g"}}}};
  if (!attributes.empty()) out["MessageAttributes"] = attributes;
  if (!attributes_md5.empty()) out["MD5OfMessageAttributes"] = attributes_md5;
  return out;
}

Result<std::vector<Received>> received(const json& message) { return parse_received(json{{"Messages", {message}}}.dump()); }

// As a quarantine queue would give the copy back.
Received copy_of(const Outgoing& outgoing) {
  const json entry = json::parse(outgoing.entry);
  const auto copies = received(message_json(entry["MessageBody"], entry["MessageAttributes"], outgoing.attributes_md5));
  EXPECT_TRUE(copies.ok()) << copies.error().message();
  return copies->front();
}

Message message_with(int attributes) {
  Message message{.id = kId, .key = *uuid_key(kId), .fields = {{"", "{\"a\":1}"}}, .groups = {}};
  for (int i = 0; i < attributes; ++i) message.fields.push_back({"attr:n" + std::to_string(i) + ":" + (i % 2 == 0 ? "String" : "Binary.x"), i % 2 == 0 ? "text" : std::string("\0\xff", 2)});
  message.fields.push_back({"sys:MessageGroupId", "g"});
  message.fields.push_back({"sys:SentTimestamp", "1700000000000"});
  return message;
}

TEST(SqsMessage, a_uuid_is_a_key_and_back_and_never_looks_like_evidence) {
  for (const std::string id : {kId, "ffffffff-ffff-4fff-bfff-ffffffffffff", "00000000-0000-4000-8000-000000000000"}) {
    const auto key = uuid_key(id);
    ASSERT_TRUE(key.ok());
    EXPECT_EQ(uuid_text(*key), id);
    EXPECT_EQ(key->high >> 62, 0u);
  }
  for (const std::string wrong : {"", "x", "0a1b2c3d-4e5f-4678-1abc-def012345678", "0A1b2c3d-4e5f-4678-9abc-def012345678", "0a1b2c3d-4e5f-4678-9abc-def0123456789"})
    EXPECT_FALSE(uuid_key(wrong).ok()) << wrong;
}

// The attributes' value is what fauxqs 2.4.1 answers; the live tests compare with every message that an endpoint gives.
TEST(SqsMessage, md5s_are_those_of_sqs) {
  EXPECT_EQ(md5("Hello"), "8b1a9953c4611296a827abf8c47804d7");
  const std::vector<OwnedField> fields = {{"", "x"}, {"attr:city:String", "Any City"}, {"attr:population:Number", "1250800"}};
  EXPECT_EQ(md5_of_attributes(fields), "22eded0215818e9b7029c90b92db5ccd");
  const std::vector<OwnedField> swapped = {fields[0], fields[2], fields[1]};
  EXPECT_EQ(md5_of_attributes(fields), md5_of_attributes(swapped));
}

TEST(SqsMessage, damaged_bytes_are_refused) {
  json message = message_json("body", json::object(), "");
  EXPECT_TRUE(received(message).ok());
  message["Body"] = "bodY";
  EXPECT_EQ(received(message).error().code, Code::corrupt);
  message = message_json("body", {{"a", {{"DataType", "String"}, {"StringValue", "v"}}}}, md5("something else"));
  EXPECT_EQ(received(message).error().code, Code::corrupt);
  for (const char* text : {"[]", "{\"Messages\":[1]}", "{\"Messages\":[{}]}", "{", "{\"Messages\":[{\"MessageId\":7}]}"}) EXPECT_FALSE(parse_received(text).ok()) << text;
  EXPECT_TRUE(parse_received("").ok());
  EXPECT_TRUE(parse_received("{\"Messages\":null}").ok());
}

TEST(SqsMessage, what_goes_to_quarantine_comes_back_byte_equal_with_up_to_ten_attributes) {
  for (const int attributes : {0, 1, 9, 10}) {
    const Message message = message_with(attributes);
    const Outgoing outgoing = to_quarantine(message, "queue_remediation_7", 41, false);
    EXPECT_LE(json::parse(outgoing.entry)["MessageAttributes"].size(), kMostAttributes);
    const auto origin = from_quarantine(copy_of(outgoing));
    ASSERT_TRUE(origin.ok() && *origin) << attributes;
    EXPECT_EQ((*origin)->execution_id, "queue_remediation_7");
    EXPECT_EQ((*origin)->number, 41u);
    EXPECT_EQ((*origin)->message.id, message.id);
    EXPECT_EQ((*origin)->message.fields, message.fields) << attributes;
    const Outgoing back = to_source((*origin)->message.fields, true, "token");
    EXPECT_EQ(json::parse(back.entry)["MessageGroupId"], "g");
    EXPECT_EQ(json::parse(back.entry).value("MessageAttributes", json::object()).size(), static_cast<std::size_t>(attributes));
  }
}

TEST(SqsMessage, somebody_elses_message_in_quarantine_is_not_ours) {
  Received other{.id = kId, .key = {}, .receipt = "r", .fields = {{"", "x"}}};
  EXPECT_FALSE(*from_quarantine(other));
  other.fields.push_back({"attr:deployclaw:String", "{\"v\":2}"});
  EXPECT_EQ(from_quarantine(other).error().code, Code::corrupt);
}

TEST(SqsMessage, a_fifo_copy_is_a_group_of_its_own) {
  const json one = json::parse(to_quarantine(message_with(1), "e", 1, true).entry), two = json::parse(to_quarantine(message_with(1), "e", 2, true).entry);
  EXPECT_NE(one["MessageGroupId"], two["MessageGroupId"]);
  EXPECT_EQ(json::parse(to_quarantine(message_with(1), "e", 1, true).entry)["MessageDeduplicationId"], one["MessageDeduplicationId"]);
}

TEST(SqsQueue, quarantine_names_fit_and_are_told_apart) {
  EXPECT_EQ(quarantine_of("orders"), "orders-deployclaw-quarantine");
  EXPECT_EQ(quarantine_of("orders.fifo"), "orders-deployclaw-quarantine.fifo");
  const std::string a = quarantine_of(std::string(79, 'a') + "1"), b = quarantine_of(std::string(79, 'a') + "2");
  EXPECT_EQ(a.size(), 80u);
  EXPECT_NE(a, b);
  EXPECT_TRUE(is_quarantine(a) && is_quarantine("orders-deployclaw-quarantine.fifo"));
  EXPECT_FALSE(is_quarantine("orders"));
}

}  // namespace
}  // namespace claw::sqs
