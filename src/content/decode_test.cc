// Bodies as real clients leave them: celery 5.2.6 (kombu's Redis transport), bullmq 5, and the documented formats of others.
#include "content/decode.h"

#include <gtest/gtest.h>

#include <random>

#include "base/digest.h"
#include "content/contract.h"
#include "testing/event_text.h"

namespace claw::content {
namespace {

using Fields = std::vector<Field>;

struct Seen {
  Decoded decoded;
  std::string events;
};

Seen decode_fields(const Fields& fields, const AvroSchema* schema = nullptr) {
  testing::EventText text;
  Decoded decoded = decode(fields, text, schema);
  return {std::move(decoded), text.text()};
}
Seen decode_body(std::string_view body) { return decode_fields({{"", body}}); }

constexpr std::string_view kCelery =
    R"({"body": "W1siby0xIl0sIHsiYiI6IDV9LCB7ImNhbGxiYWNrcyI6IG51bGwsICJlcnJiYWNrcyI6IG51bGwsICJjaGFpbiI6IG51bGwsICJjaG9yZCI6IG51bGx9XQ==", )"
    R"("content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "shop.tasks.charge", )"
    R"~("id": "11111111-2222-3333-4444-555555555555", "retries": 2, "timelimit": [null, null], "argsrepr": "('o-1',)", "kwargsrepr": "{'b': 5}"}, )~"
    R"("properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}})";

TEST(Envelope, celery_from_redis) {
  const Seen seen = decode_body(kCelery);
  EXPECT_FALSE(seen.decoded.flaw);
  EXPECT_EQ(seen.decoded.envelope.framework, Framework::celery);
  EXPECT_EQ(seen.decoded.envelope.discriminator, "shop.tasks.charge");
  EXPECT_EQ(seen.decoded.envelope.facts.retries, 2u);
  EXPECT_EQ(seen.decoded.format, Format::json);
  EXPECT_EQ(seen.events, R"([["o-1"],{"b":5},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}])");
}

TEST(Envelope, celery_compressed_inside_its_base64) {
  const Seen seen = decode_body(
      R"({"body": "eJyLjlbK1zVWitVRqK4FYqXkxJycpMTk7GIlK4W80pwcHQWl1KIiNJHkjMTMPGRuflEKlFsbCwApjxpU", "content-encoding": "utf-8", )"
      R"("content-type": "application/json", "headers": {"task": "t", "compression": "application/x-gzip"}, "properties": {"body_encoding": "base64"}})");
  EXPECT_FALSE(seen.decoded.flaw);
  EXPECT_EQ(seen.decoded.compression, Compression::gzip);
  EXPECT_TRUE(seen.events.starts_with(R"([["o-3"],{})")) << seen.events;
}

TEST(Envelope, celery_with_pickle_is_bytes_with_their_magic) {
  const Seen seen = decode_body(
      R"({"body": "gASVPAAAAAAAAACMA28tMpSFlH2UfZQojAljYWxsYmFja3OUTowIZXJyYmFja3OUTowFY2hhaW6UTowFY2hvcmSUTnWHlC4=", "content-encoding": "binary", )"
      R"("content-type": "application/x-python-serialize", "headers": {"task": "t"}, "properties": {"body_encoding": "base64"}})");
  EXPECT_FALSE(seen.decoded.flaw);
  EXPECT_EQ(seen.decoded.format, Format::bytes);
  EXPECT_EQ(seen.decoded.bytes.magic, "python pickle");
}

TEST(Envelope, celery_with_damaged_base64_is_a_flaw_of_the_envelope) {
  const Seen seen = decode_body(R"({"body": "W1s*", "content-type": "application/json", "headers": {"task": "t"}, "properties": {"body_encoding": "base64"}})");
  ASSERT_TRUE(seen.decoded.flaw);
  EXPECT_EQ(seen.decoded.stage, Stage::envelope);
  EXPECT_EQ(seen.decoded.flaw->what, "not base64");
}

TEST(Envelope, celery_over_amqp_by_its_headers) {
  const Seen seen = decode_fields({{"", R"([["o-1"], {}, {}])"}, {"task", "shop.tasks.charge"}, {"id", "1"}, {"lang", "py"}, {"retries", "1"}, {"content_type", "application/json"}});
  EXPECT_EQ(seen.decoded.envelope.framework, Framework::celery);
  EXPECT_TRUE(seen.decoded.envelope.facts.failed());
  EXPECT_EQ(seen.events, R"([["o-1"],{},{}])");
}

TEST(Envelope, sidekiq_tells_of_its_failures) {
  const Seen fresh = decode_body(R"({"retry":true,"queue":"default","class":"ChargeJob","args":[{"id":1}, "x"],"jid":"b4a577edbccf1d805744efa9","created_at":1.5})");
  EXPECT_EQ(fresh.decoded.envelope.framework, Framework::sidekiq);
  EXPECT_FALSE(fresh.decoded.envelope.facts.failed());
  EXPECT_EQ(fresh.decoded.body(), R"([{"id":1}, "x"])");
  const Seen failed = decode_body(
      R"({"class":"ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper","wrapped":"ChargeJob","args":[],"jid":"b","retry_count":0,"error_class":"NoMethodError","error_message":"undefined"})");
  EXPECT_EQ(failed.decoded.envelope.discriminator, "ChargeJob");
  EXPECT_EQ(failed.decoded.envelope.facts, (DeliveryFacts{.retries = 1, .error_class = "NoMethodError"}));
}

TEST(Envelope, bullmq_job_that_failed_three_times) {
  const Fields fields = {{"data", R"({"id":"o-1","amount":5})"}, {"delay", "0"}, {"name", "charge"}, {"priority", "0"}, {"opts", R"({"jobId":"j1","attempts":3})"},
                         {"failedReason", "amount is not a number"}, {"stacktrace", R"(["TypeError: amount is not a number\n    at Worker"])"},
                         {"timestamp", "1795581225209"}, {"atm", "3"}, {"ats", "3"}};
  const Seen seen = decode_fields(fields);
  EXPECT_EQ(seen.decoded.envelope.framework, Framework::bullmq);
  EXPECT_EQ(seen.decoded.envelope.discriminator, "charge");
  EXPECT_EQ(seen.decoded.envelope.facts, (DeliveryFacts{.retries = 3, .error_class = "TypeError"}));
  EXPECT_EQ(seen.events, R"({"id":"o-1","amount":5})");
}

TEST(Envelope, a_bullmq_job_that_was_only_tried_has_not_failed) {
  const Seen seen = decode_fields({{"data", "{}"}, {"name", "charge"}, {"opts", "{}"}, {"timestamp", "1"}, {"atm", "1"}, {"returnvalue", "null"}});
  EXPECT_EQ(seen.decoded.envelope.framework, Framework::bullmq);
  EXPECT_FALSE(seen.decoded.envelope.facts.failed());
}

TEST(Envelope, laravel_masstransit_cloudevents_and_sns) {
  const Seen laravel = decode_body(
      R"({"uuid":"u","displayName":"App\\Jobs\\Charge","job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":3,"data":{"commandName":"App\\Jobs\\Charge","command":"O:15"},"attempts":1})");
  EXPECT_EQ(laravel.decoded.envelope.discriminator, "App\\Jobs\\Charge");
  EXPECT_EQ(laravel.decoded.envelope.facts.retries, 1u);
  const Seen bus = decode_body(R"({"messageId":"m","messageType":["urn:message:Shop:OrderPlaced"],"message":{"id":7},"headers":{}})");
  EXPECT_EQ(bus.decoded.envelope.framework, Framework::masstransit);
  EXPECT_EQ(bus.decoded.envelope.discriminator, "Shop:OrderPlaced");
  EXPECT_EQ(bus.events, R"({"id":7})");
  const Seen event = decode_body(R"({"specversion":"1.0","type":"order.placed","source":"/shop","id":"1","datacontenttype":"application/json","data":{"id":7}})");
  EXPECT_EQ(event.decoded.envelope.framework, Framework::cloudevents);
  EXPECT_EQ(event.events, R"({"id":7})");
  const Seen packed = decode_body(R"({"specversion":"1.0","type":"t","source":"/s","id":"1","data_base64":"eyJpZCI6N30="})");
  EXPECT_EQ(packed.events, R"({"id":7})");
  const Seen binary = decode_fields({{"", R"({"id":7})"}, {"ce-specversion", "1.0"}, {"ce-type", "order.placed"}, {"content-type", "application/json; charset=utf-8"}});
  EXPECT_EQ(binary.decoded.envelope.discriminator, "order.placed");
  const Seen sns = decode_body(R"({"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:1:orders","Message":"{\"id\":7}"})");
  EXPECT_EQ(sns.decoded.envelope.discriminator, "orders");
  EXPECT_EQ(sns.events, R"({"id":7})");
}

TEST(Envelope, broker_and_client_headers_are_evidence_only_when_they_mean_failure) {
  const auto facts = [](std::string_view name, std::string_view value) { return decode_fields({{"", "{}"}, {name, value}}).decoded.envelope.facts; };
  EXPECT_TRUE(facts("x-death", R"([{"reason":"rejected","count":3,"queue":"orders"}])").failed());
  EXPECT_TRUE(facts("x-first-death-reason", "delivery_limit").failed());
  EXPECT_FALSE(facts("x-death", R"([{"reason":"expired","count":3}])").failed());
  EXPECT_FALSE(facts("x-death", R"([{"reason":"maxlen"}])").failed());
  EXPECT_EQ(facts("x-exception-stacktrace", "java.lang.NumberFormatException: For input\n at x").error_class, "java.lang.NumberFormatException");
  const Seen bus = decode_fields({{"", "{}"}, {"NServiceBus.EnclosedMessageTypes", "Shop.OrderPlaced, Shop, Version=1.0"},
                                  {"NServiceBus.ContentType", "application/json"}, {"NServiceBus.ExceptionInfo.ExceptionType", "System.FormatException"}});
  EXPECT_EQ(bus.decoded.envelope.discriminator, "Shop.OrderPlaced");
  EXPECT_EQ(bus.decoded.envelope.facts.error_class, "System.FormatException");
}

TEST(Envelope, what_only_resembles_a_framework_is_left_whole) {
  for (const char* body : {R"({"class":"economy","args":[1],"seat":"12"})", R"({"specversion":"1.0","type":"t"})", R"({"jid":7,"class":"x","args":[]})",
                           R"({"messageType":"order","message":{}})", R"({"note":"the \"jid\" field","class":"A"})", R"({"Type":"Notification","Message":"m"})"}) {
    const Seen seen = decode_body(body);
    EXPECT_EQ(seen.decoded.envelope.framework, Framework::none) << body;
    EXPECT_EQ(seen.decoded.body(), body);
  }
}

TEST(Decode, compression_around_the_envelope_is_undone_once_and_only_where_declared) {
  const std::string packed = unhex("1f8b0800000000000203ab564a54b232ac0500afac1b5607000000").value();  // {"a":1}
  EXPECT_EQ(decode_fields({{"", packed}, {"content-encoding", "gzip"}}).events, R"({"a":1})");
  EXPECT_EQ(decode_fields({{"", packed}}).decoded.bytes.magic, "gzip");
  const std::string damaged = unhex("1f8b0800000000000203ab564a54b232ac050056e3a6fb07000000").value();  // another checksum
  const Seen broken = decode_fields({{"", damaged}, {"content-encoding", "gzip"}});
  ASSERT_TRUE(broken.decoded.flaw);
  EXPECT_EQ(broken.decoded.stage, Stage::compression);
  const Seen bad = decode_fields({{"", R"({"a":1})"}, {"content-encoding", "gzip"}});
  EXPECT_EQ(bad.decoded.stage, Stage::compression);
  const Seen foreign = decode_fields({{"", R"({"a":1})"}, {"content-encoding", "br"}});
  ASSERT_TRUE(foreign.decoded.flaw);
  EXPECT_EQ(foreign.decoded.flaw->what, "declared compression that is not known here");
}

TEST(Decode, formats_by_declaration_and_by_their_looks) {
  EXPECT_EQ(decode_body(R"({"a":)").decoded.format, Format::json);
  EXPECT_TRUE(decode_body(R"({"a":)").decoded.flaw);
  EXPECT_EQ(decode_body(unhex("82a16101a162c0").value()).events, R"({"a":1,"b":null})");
  EXPECT_EQ(decode_body(unhex("0a076f726465722d3110ffffffffffffffffff01").value()).decoded.format, Format::protobuf);
  EXPECT_EQ(decode_body("Payment 12 failed").decoded.text_template, "3 tokens: Payment <*> failed");
  EXPECT_EQ(decode_body("").decoded.format, Format::text);
  const Seen declared = decode_fields({{"", "plain"}, {"content-type", "application/json"}});
  EXPECT_EQ(declared.decoded.flaw->what, "no value starts like this");
  const auto schema = AvroSchema::parse(R"("string")");
  EXPECT_EQ(decode_fields({{"", unhex("00000000070461").value() + "b"}}, &*schema).events, "\"ab\"");
  EXPECT_EQ(decode_fields({{"", unhex("0461").value() + "b"}}, &*schema).decoded.format, Format::avro) << "a bare datum";
  EXPECT_EQ(decode_fields({{"", "{\"a\":1}"}}, &*schema).decoded.format, Format::json);
}

TEST(Decode, a_contract_judges_whatever_format_the_body_has) {
  const auto contract = Contract::compile(R"({"properties":{"amount":{"type":"integer"}},"required":["amount"]})");
  const auto verdict = [&](std::string_view body) {
    Document document;
    const Field field{"", body};
    EXPECT_FALSE(decode(std::span(&field, 1), document).flaw);
    const auto found = contract->explain(document.root());
    return found.empty() ? std::string("meets") : found[0].sentence();
  };
  EXPECT_EQ(verdict(R"({"amount":5})"), "meets");
  EXPECT_EQ(verdict(R"({"amount":"5"})"), "amount: expected integer, is a string of digits");
  EXPECT_EQ(verdict(unhex("81a6616d6f756e7405").value()), "meets");
  EXPECT_EQ(verdict(unhex("81a6616d6f756e74a135").value()), "amount: expected integer, is a string of digits");
}

// A mixed corpus: every body cut, flipped and spliced with others a few thousand times, and nothing but answers.
TEST(Decode, survives_any_mixture) {
  const std::vector<std::string> seeds = {std::string(kCelery), R"({"class":"A","args":[1],"jid":"j"})", unhex("82a16101a162c0").value(),
                                          unhex("0a076f726465722d3110ffffffffffffffffff01").value(), "plain text 12", R"({"a":{"b":[1,2.5e3,"\u00e9"]}})"};
  std::mt19937_64 chance(3);
  const auto pick = [&](std::size_t size) { return static_cast<std::size_t>(chance() % size); };
  for (int i = 0; i < 3000; ++i) {
    std::string body = seeds[pick(seeds.size())];
    const std::string& other = seeds[pick(seeds.size())];
    body = body.substr(0, pick(body.size() + 1)) + other.substr(pick(other.size()));
    if (!body.empty()) body[pick(body.size())] = static_cast<char>(chance());
    Document document;
    const Field field{"", body};
    const Decoded decoded = decode(std::span(&field, 1), document);
    EXPECT_TRUE(decoded.flaw || document.complete());
  }
}

}  // namespace
}  // namespace claw::content
