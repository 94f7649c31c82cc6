// MessagePack, Protobuf, Avro: bytes that were written by msgpack 1.0.3, protobuf 3.21.12 and avro 1.11.1 for Python.
#include <gtest/gtest.h>

#include <random>

#include "base/digest.h"
#include "content/avro.h"
#include "content/msgpack.h"
#include "content/protobuf.h"
#include "testing/event_text.h"

namespace claw::content {
namespace {

std::string bytes(std::string_view hex_text) { return unhex(hex_text).value(); }

std::string msgpack(std::string_view body) {
  return testing::events([&](Emitter& out) { return read_msgpack(body, out); });
}
std::string protobuf(std::string_view body) {
  return testing::events([&](Emitter& out) { return read_protobuf(body, out); });
}

// Every proper prefix of a good body must be refused: nothing of it is optional.
template <class Read>
void expect_prefixes_refused(const std::string& body, Read&& read) {
  for (std::size_t size = 0; size < body.size(); ++size) EXPECT_TRUE(read(std::string_view(body).substr(0, size)).starts_with("flaw")) << size;
}

const std::string kPacked = bytes(
    "87a26964a161a16e9d007fcc80cdffffce00010000cf0000000100000000cf8000000000000000ffe0d0dfd1ff7fd2ffff63c0d3ffffff0000000000a166cb3ff80000"
    "00000000a162c40200ffa174c3a17ac005a466697665");

TEST(MessagePack, reads_what_python_wrote) {
  EXPECT_EQ(msgpack(kPacked),
            R"({"id":"a","n":[0,127,128,65535,65536,4294967296,9223372036854775808,-1,-32,-33,-129,-40000,-1099511627776],)"
            R"("f":1.5,"b":<00ff>,"t":true,"z":null,"5":"five"})");
  EXPECT_EQ(msgpack(bytes("c70405") + "abcd"), "<0561626364>");
  EXPECT_EQ(msgpack(bytes("d7ff0000000800000001")), "<ff0000000800000001>");
  EXPECT_EQ(msgpack(bytes("ca3dcccccd")), "0.1");
  EXPECT_EQ(msgpack(bytes("cb7ff8000000000000")), "NaN");
  EXPECT_EQ(msgpack(bytes("dc0014000102030405060708090a0b0c0d0e0f10111213")), "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]");
}

TEST(MessagePack, refuses_what_is_cut_off_or_lies_about_its_size) {
  expect_prefixes_refused(kPacked, msgpack);
  EXPECT_EQ(msgpack(bytes("ddffffffff00")), "flaw at 5: longer than the body");
  EXPECT_EQ(msgpack(bytes("c6ffffffff00")), "flaw at 5: cut off");
  EXPECT_EQ(msgpack(bytes("c1")), "flaw at 1: 0xc1, which MessagePack never uses");
  EXPECT_EQ(msgpack(bytes("0000")), "flaw at 1: bytes after the end");
  EXPECT_EQ(msgpack(bytes("81c000")), "flaw at 2: key that is neither text nor an integer");
  EXPECT_EQ(msgpack(std::string(70, '\x91') + '\0'), "flaw at 64: nested too deep");
}

const std::string kMessage = bytes("0a076f726465722d3110ffffffffffffffffff011a0f0a026162100219000000000000f83f1a0310ac0222040102ac022a0300ff803507000000380942060a016b1201764801");

TEST(Protobuf, shows_what_the_wire_says) {
  EXPECT_EQ(protobuf(kMessage),
            R"({"1":"order-1","2":18446744073709551615,"3":{"1":"ab","2":2,"3":4609434218613702656},"3":{"2":300},"4":<0102ac02>,)"
            R"("5":<00ff80>,"6":7,"7":9,"8":{"1":"k","2":"v"},"9":1})");
}

TEST(Protobuf, knows_what_it_is_not) {
  EXPECT_TRUE(protobuf("{\"a\":1}").starts_with("flaw"));
  EXPECT_EQ(protobuf(bytes("0001")), "flaw at 0: no field starts here");
  EXPECT_EQ(protobuf(bytes("0a05616263")), "flaw at 0: no field starts here");
  EXPECT_EQ(protobuf(bytes("0c")), "flaw at 0: end of a group that did not begin");
  EXPECT_EQ(protobuf(bytes("0b0801")), "flaw at 3: group not closed");
  EXPECT_EQ(protobuf(bytes("0b08010c")), R"({"1":{"1":1}})");
}

TEST(Protobuf, is_recognised_without_a_declaration_only_when_chance_is_no_explanation) {
  EXPECT_TRUE(looks_like_protobuf(kMessage));
  EXPECT_FALSE(looks_like_protobuf(bytes("0801")));
  std::mt19937_64 chance(7);
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string body(8 + chance() % 56, '\0');
    for (char& c : body) c = static_cast<char>(chance());
    taken += looks_like_protobuf(body);
  }
  EXPECT_LT(taken, 20);
  for (const char* text : {"plain text of some length", "<xml>hello</xml>", "k=v&x=1234567", "{\"a\": 1, \"b\": 2}", "2024-01-01 ERROR x"})
    EXPECT_FALSE(looks_like_protobuf(text)) << text;
}

TEST(Protobuf, nested_as_deep_as_it_likes_ends_as_bytes) {
  std::string body = bytes("0a0100");
  while (body.size() < 120) body = bytes("0a") + std::string(1, static_cast<char>(body.size())) + body;
  EXPECT_TRUE(protobuf(body).starts_with(R"({"1":{"1":)"));
}

constexpr std::string_view kOrderSchema = R"({"type":"record","name":"Order","namespace":"shop","fields":[
 {"name":"id","type":"string"},{"name":"amount","type":"double"},{"name":"count","type":"int"},{"name":"big","type":"long"},
 {"name":"note","type":["null","string"],"default":null},{"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","PAID"]}},
 {"name":"tags","type":{"type":"array","items":"string"}},{"name":"extra","type":{"type":"map","values":"boolean"}},
 {"name":"hash","type":{"type":"fixed","name":"Md","size":4}},{"name":"raw","type":"bytes"},{"name":"parent","type":["null","Order"]},{"name":"rate","type":"float"}]})";

const std::string kOrder = bytes(
    "066f2d313d0ad7a370fd334005808080808040020468690204026102620002027801006162636404000102066f2d313d0ad7a370fd33400580808080804002046869"
    "02040261026200020278010061626364040001000000003f0000003f");

std::string avro(const AvroSchema& schema, std::string_view body) {
  return testing::events([&](Emitter& out) { return schema.read(body, out); });
}

TEST(Avro, reads_what_python_wrote) {
  const auto schema = AvroSchema::parse(kOrderSchema);
  ASSERT_TRUE(schema.ok()) << schema.error().message();
  const std::string inner = R"({"id":"o-1","amount":19.99,"count":-3,"big":1099511627776,"note":"hi","state":"PAID","tags":["a","b"],"extra":{"x":true},)"
                            R"("hash":<61626364>,"raw":<0001>,"parent":)";
  EXPECT_EQ(avro(*schema, kOrder), inner + inner + R"(null,"rate":0.5},"rate":0.5})");
  expect_prefixes_refused(kOrder, [&](std::string_view body) { return avro(*schema, body); });
  EXPECT_EQ(avro(*schema, kOrder + "x"), fmt::format("flaw at {}: bytes after the end", kOrder.size()));
}

TEST(Avro, canonical_form_and_fingerprint_are_those_of_the_specification) {
  EXPECT_EQ(AvroSchema::parse(kOrderSchema)->canonical_form(),
            R"({"name":"shop.Order","type":"record","fields":[{"name":"id","type":"string"},{"name":"amount","type":"double"},)"
            R"({"name":"count","type":"int"},{"name":"big","type":"long"},{"name":"note","type":["null","string"]},)"
            R"({"name":"state","type":{"name":"shop.State","type":"enum","symbols":["NEW","PAID"]}},{"name":"tags","type":{"type":"array","items":"string"}},)"
            R"({"name":"extra","type":{"type":"map","values":"boolean"}},{"name":"hash","type":{"name":"shop.Md","type":"fixed","size":4}},)"
            R"({"name":"raw","type":"bytes"},{"name":"parent","type":["null","shop.Order"]},{"name":"rate","type":"float"}]})");
  EXPECT_EQ(AvroSchema::parse(R"("null")")->fingerprint(), 0x63dd24e7cc258f8au);
  EXPECT_EQ(AvroSchema::parse(R"({"type":"int"})")->fingerprint(), 0x7275d51a3f395c8fu);
}

TEST(Avro, a_single_object_names_its_schema) {
  const auto schema = AvroSchema::parse(R"("int")");
  const auto read = [&](std::string_view body) { return testing::events([&](Emitter& out) { return schema->read_single_object(body, out); }); };
  EXPECT_EQ(read(bytes("c3018f5c393f1ad5757205")), "-3");
  EXPECT_EQ(read(bytes("c3018f5c393f1ad5757305")), "flaw at 2: written with another schema");
  EXPECT_EQ(read(bytes("c302")), "flaw at 0: does not begin with C3 01");
}

TEST(Avro, entries_of_no_bytes_cannot_keep_us_busy) {
  const auto schema = AvroSchema::parse(R"({"type":"array","items":"null"})");
  EXPECT_TRUE(avro(*schema, bytes("feffffffffffffffff01")).ends_with("more parts than one body may have"));
  const auto endless = AvroSchema::parse(R"({"type":"record","name":"R","fields":[{"name":"r","type":"R"}]})");
  EXPECT_TRUE(avro(*endless, "").ends_with("nested too deep"));
}

TEST(Avro, says_where_a_schema_is_wrong) {
  EXPECT_EQ(AvroSchema::parse(R"({"type":"record","name":"R","fields":[{"name":"a","type":"strin"}]})").error().message(),
            "Avro schema fields[0].type: unknown type 'strin', expected a primitive or a name defined before (invalid)");
  for (const char* nested : {R"([["null"]])", R"([{"type": ["null", "string"]}])"})
    EXPECT_NE(AvroSchema::parse(nested).error().message().find("a union directly inside a union"), std::string::npos) << nested;
  for (const char* bad : {"", "{", "5", "[]", "[[\"int\"]]", R"({"type":"record","name":"R"})", R"({"type":"enum","name":"E","symbols":[]})", R"({"type":"fixed","name":"F","size":-1})",
                          R"({"type":"record","name":"a b","fields":[]})", R"([{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}])"})
    EXPECT_FALSE(AvroSchema::parse(bad).ok()) << bad;
}

}  // namespace
}  // namespace claw::content
