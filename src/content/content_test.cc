#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"
#include "content/byte_sets.h"
#include "content/features.h"
#include "content/stops.h"
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

// Two ways to decide, one by structure with SIMD, one byte by byte: they must agree on any bytes.
TEST(FeatureReader, agrees_with_the_strict_walk_on_damaged_bodies) {
  const std::vector<std::string> bodies = {
      R"({"a":[1,-2.5e+3,{"b":"\u00e9\n"}],"c":null,"d":true,"meta":"{\"id\": 5}","":"","long":"0123456789012345678901234567890123456789012345678901234567890123456789"})",
      R"( [ {"k" : "v\\" , "k":0 } , [ ] , { } , "\ud83d\ude00" , 1e5 , false ] )", R"({"type":"sale","id":"ord_1","amount":12.5,"country":"DE"})"};
  const std::string alphabet = "\"\\{}[]:,0123456789eE+-.tfnux \n\t\x01\x80\xc3\xa9";
  FeatureReader reader;
  for (int i = 0; i < 100; ++i)
    for (const std::string& text : bodies) {
      const Body body(text);
      const Field field = body.field();
      reader.learn(std::span(&field, 1), true);
    }
  reader.freeze();
  std::uint64_t state = 12345;
  const auto below = [&](std::size_t n) { return (state = state * 6364136223846793005ull + 1442695040888963407ull, static_cast<std::size_t>(state >> 33) % n); };
  std::size_t broken = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string text = bodies[below(bodies.size())];
    for (std::size_t damage = 1 + below(3); damage-- > 0 && !text.empty();) {
      const std::size_t at = below(text.size());
      if (below(3) == 0) text.erase(at, 1 + below(4));
      else if (below(2) == 0) text.insert(at, 1, alphabet[below(alphabet.size())]);
      else text[at] = alphabet[below(alphabet.size())];
    }
    if (text.find_first_not_of(" \t\r\n") == text.npos || (text[text.find_first_not_of(" \t\r\n")] != '{' && text[text.find_first_not_of(" \t\r\n")] != '[')) continue;
    const bool valid = walk_json(text).kind.empty();
    const Body body(text);
    const Field field = body.field();
    const Features& seen = reader.read(std::span(&field, 1));
    const bool outer_defect = seen.defect && seen.defect->inner.empty();
    ASSERT_EQ(valid, !outer_defect) << text;
    // A body that the structure refused and the walk took would be silent: its features would be those of an empty one.
    ASSERT_TRUE(!valid || reader.understood()) << text;
    broken += !valid;
  }
  EXPECT_GT(broken, 20'000u);
}

TEST(FeatureReader, tells_what_is_unusual_and_nothing_else) {
  FeatureReader reader;
  const std::vector<std::string> usual = {R"({"type":"sale","amount":12.5})", R"({"type":"refund","amount":7.25})"};
  for (int i = 0; i < 50; ++i)
    for (const std::string& text : usual) {
      const Body body(text);
      const Field field = body.field();
      reader.learn(std::span(&field, 1), true);
    }
  reader.freeze();
  const auto read = [&](const std::string& text) {
    const Body body(text);
    const Field field = body.field();
    std::string out;
    for (const Deviation& d : reader.read(std::span(&field, 1)).deviations) out += reader.path(d.slot()) + "=" + words_of(d.code()) + ";";
    return out;
  };
  EXPECT_EQ(read(usual[0]), "");
  EXPECT_EQ(read(R"({"amount":1.5,"type":"sale"})"), "");
  EXPECT_EQ(read(R"({"type":"sale","amount":null})"), "amount=null;");
  EXPECT_EQ(read(R"({"type":"sale"})"), "amount=missing;");
  EXPECT_EQ(read(R"({"type":"sale","amount":1.5,"amount":2.5})"), "amount=a key that comes twice;");
  EXPECT_EQ(read(R"({"ty\u0070e":"sale","amount":1.5})"), "");
  EXPECT_EQ(read(R"({"type":"sale","amount":1e400})"), "amount=a number beyond double precision;");
  EXPECT_EQ(read(R"({"type":"\ud800","amount":1.5})"), "type=a lone surrogate;");
  EXPECT_EQ(read(R"({"type":"sale","amount":123456789012345678901234567890})"), "amount=an integer beyond 64 bits;");
}

// Texts like those of a queue: optional members in changing order, arrays of changing length, JSON in JSON, blanks.
std::string random_text(std::size_t (*below)(std::size_t)) {
  const auto scalar = [&]() -> std::string {
    static const char* kScalars[] = {"1", "0", "-12", "12.50", "1e9", "true", "false", "null", "\"EUR\"", "\"\"", "\"tx_1f\"", "\"a longer text that does not fit into the first lanes\"", "\"caf\u00e9 \\\"x\\\"\"", "[]", "{}", "\"2026-03-14T12:32:33Z\""};
    return kScalars[below(std::size(kScalars))];
  };
  const std::string blank = below(4) == 0 ? " " : "";
  std::vector<std::string> members = {"\"v\":" + blank + scalar()};
  if (below(2) == 0) members.push_back("\"payer\":{\"name\":" + scalar() + "," + blank + "\"country\":" + scalar() + "}");
  if (below(2) == 0) {
    std::string items = "\"items\":[";
    for (std::size_t i = below(4); i-- > 0;) items += "{\"sku\":" + scalar() + (below(3) == 0 ? ",\"qty\":" + scalar() : "") + "}" + (i > 0 ? "," : "");
    members.push_back(items + "]");
  }
  if (below(3) == 0) members.push_back("\"tags\":[" + scalar() + "," + scalar() + "]");
  if (below(3) == 0) members.push_back(R"("raw":"{\"cart\":\"c-1\",\"n\":[1,{\"x\":null}]}")");
  if (below(6) == 0) members.push_back("\"v\":2");
  std::swap(members[below(members.size())], members[below(members.size())]);
  std::string text = "{";
  for (const std::string& member : members) text += (text.size() == 1 ? "" : "," + blank) + member;
  return text + "}";
}

std::string told(FeatureReader& reader, std::string_view text, std::string_view behind) {
  std::string bytes = std::string(text) + std::string(behind);
  bytes.resize(bytes.size() + Batch::kPadding);
  const Field field{"", std::string_view(bytes).substr(0, text.size())};
  const Features& features = reader.read(std::span(&field, 1));
  std::vector<std::string> all;
  for (const Deviation& d : features.deviations) all.push_back(reader.path(d.slot()) + "=" + words_of(d.code()));
  std::sort(all.begin(), all.end());  // what was not learnt has a place by when it was met
  std::string out = features.defect ? features.defect->path + ": " + features.defect->what + ";" : "";
  for (const std::string& one : all) out += one + ";";
  for (const std::uint8_t id : features.values) out += std::to_string(id) + ",";
  return out;
}

// What a reader remembers of earlier texts makes it faster and nothing else, and what stands behind a text in memory is
// not part of it.
TEST(FeatureReader, says_the_same_of_a_text_whatever_it_read_before_and_whatever_follows) {
  static std::uint64_t state = 7;
  std::size_t (*below)(std::size_t) = [](std::size_t n) { return (state = state * 6364136223846793005ull + 1442695040888963407ull, static_cast<std::size_t>(state >> 33) % n); };
  FeatureReader teacher;
  for (int i = 0; i < 400; ++i) {
    const Body body(random_text(below));
    const Field field = body.field();
    teacher.learn(std::span(&field, 1), true);
  }
  teacher.freeze();
  FeatureReader practised(teacher);
  std::size_t odd = 0, broken = 0;
  for (int i = 0; i < 4'000; ++i) {
    std::string text = random_text(below);
    const std::string whole = text;
    if (below(8) == 0) text.resize(1 + below(text.size()));
    FeatureReader fresh(teacher);
    const std::string expected = told(fresh, text, "");
    ASSERT_EQ(told(practised, text, ""), expected) << text;
    ASSERT_EQ(told(practised, text, whole.substr(text.size())), expected) << text;
    ASSERT_EQ(told(practised, text, whole), expected) << text;
    ASSERT_TRUE(practised.understood()) << text;
    odd += expected.find('=') != std::string::npos;
    broken += !walk_json(text).kind.empty();
  }
  EXPECT_GT(odd, 1'000u);
  EXPECT_GT(broken, 200u);
}

// Every byte in every place of texts of every length, with others behind them.
template <class Way>
void every_text(Way way) {
  for (int c = 0; c < 256; ++c)
    for (std::size_t size = 1; size <= kShapeBytes; ++size) {
      std::array<char, 3 * kShapeBytes> text;
      text.fill(static_cast<char>(255 - c));
      std::fill_n(text.begin(), size, '7');
      text[(static_cast<std::size_t>(c) * 31 + size) % size] = static_cast<char>(c);
      ASSERT_NO_FATAL_FAILURE(way(std::string_view(text.data(), size)));
    }
}

TEST(Classes, are_the_same_by_every_way_of_this_machine) {
  const std::span<const ClassifyWay> ways = classify_ways();
  ASSERT_GE(ways.size(), 1u);
  EXPECT_STREQ(ways.back().name, "portable");
  every_text([&](std::string_view text) {
    for (const ClassifyWay& way : ways) ASSERT_EQ(way.classify(text, false), ways.back().classify(text, false)) << way.name << " " << escape(text, 80);
  });
}

TEST(Sets, are_the_same_by_every_way_of_this_machine) {
  EXPECT_EQ(portable_sets("a9-", 0), 0u);
  EXPECT_EQ(portable_sets("a9-", 3), set::kHexLower | set::kDigit | set::kDash);
#if defined(__x86_64__)
  every_text([](std::string_view text) {
    const Sets expected = portable_sets(text.data(), text.size());
    const bool avx512 = __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    ASSERT_EQ(__builtin_cpu_supports("avx2") ? avx2_sets(text.data(), text.size()) : expected, expected) << escape(text, 80);
    ASSERT_EQ(avx512 ? avx512_sets(text.data(), text.size()) : expected, expected) << escape(text, 80);
  });
#endif
}

TEST(Stops, are_the_same_by_every_way_of_this_machine) {
#if defined(__x86_64__)
  every_text([](std::string_view text) {
    std::array<std::uint64_t, 2> expected{}, bits{};
    portable_stops(text.data(), 2 * kStopsBlock, expected.data());
    const auto check = [&](bool has, auto mark) {
      if (!has) return;
      mark(text.data(), 2 * kStopsBlock, bits.data());
      ASSERT_EQ(bits, expected) << escape(text, 80);
    };
    check(true, sse2_stops);
    check(__builtin_cpu_supports("avx2"), avx2_stops);
    check(__builtin_cpu_supports("avx512bw"), avx512_stops);
  });
#endif
}

// JSON in a text is walked in the middle of the text around it, and has the same keys.
TEST(FeatureReader, does_not_take_what_follows_a_text_for_what_follows_in_the_json_within_it) {
  const auto body = [](int a, int b) { return Body(R"({"raw":"{\"x\":1,\"b\":)" + std::to_string(a) + R"(}","b":)" + std::to_string(b) + "}"); };
  FeatureReader learner;
  for (int i = 0; i < 40; ++i) learner.learn(std::array{body(i, 100'000 + i).field()}, true);
  learner.freeze();
  FeatureReader reader(learner);
  // Past a short queue, gaps are remembered: first those within, in texts that end behind it, then those around it.
  const Body short_one(R"({"raw":"{\"x\":1,\"b\":7}"})");
  const Body odd(R"({"raw":"{\"x\":1,\"b\":7}","b":null})");
  for (int turn = 0; turn < 600; ++turn) {
    const Body& one = turn % 3 == 0 ? odd : short_one;
    const Features& features = reader.read(std::array{one.field()});
    std::string told;
    for (const Deviation& d : features.deviations) told += reader.path(d.slot()) + "=" + words_of(d.code()) + " ";
    ASSERT_EQ(told, turn % 3 == 0 ? "b=null " : "b=missing ") << turn;
  }
}

// Of texts sound and broken, cut anywhere, with escapes, with JSON within, longer than one block.
TEST(FeatureReader, says_the_same_by_every_way_of_this_machine) {
  const std::string inner = R"({\"a\":[1,\"x\\\"y\",null],\"b\":\"\\u00e9\\ud83d\\ude00\"})";
  std::vector<std::string> texts;
  for (int i = 0; i < 400; ++i) {
    const std::string n = std::to_string(i);
    texts.push_back("{\"id\":\"tx_" + n + "\",\"currency\":\"" + (i % 3 == 0 ? "EUR" : "USD") + "\",\"amount\":" + n + (i % 2 == 0 ? ".50" : "") + ",\"raw\":\"" + inner + "\",\"note\":\"" +
                    std::string(static_cast<std::size_t>(i % 150), 'n') + (i % 5 == 0 ? "\xc3\xbc" : "") + "\"" + (i % 7 == 0 ? ",\"tags\":[\"a\",true,{}]" : "") + "}");
  }
  for (std::size_t cut = 1; cut < texts.front().size(); ++cut) texts.push_back(texts.front().substr(0, cut));
  std::vector<std::vector<std::string>> said;
  for (const FeatureReader::Way& way : FeatureReader::ways()) {
    FeatureReader learner;
    for (int i = 0; i < 400; ++i) learner.learn(std::array{Body(texts[static_cast<std::size_t>(i)]).field()}, true);
    learner.freeze();
    FeatureReader reader(learner);
    std::vector<std::string>& words = said.emplace_back();
    for (int turn = 0; turn < 2; ++turn)
      for (const std::string& text : texts) {
        const Body body(text);
        const Features& features = way.read(reader, std::array{body.field()});
        std::string& of = words.emplace_back();
        for (const Deviation& d : features.deviations) of += reader.path(d.slot()) + "=" + std::to_string(d.code()) + " ";
        for (const std::uint8_t value : features.values) of += std::to_string(value) + ",";
        if (features.defect) of += features.defect->path + ": " + features.defect->what + " at " + std::to_string(features.defect->offset);
      }
    EXPECT_EQ(words, said.front()) << way.name;
  }
}

TEST(Stops, are_found_wherever_they_are) {
  std::vector<std::uint64_t> room;
  for (const std::size_t size : {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65}, Stops::kShortText, Stops::kShortText + 1, std::size_t{10'000}})
    for (const std::size_t at : {std::size_t{0}, size / 3, size / 2, size - 1}) {
      std::string text(size, 'x');
      text[at] = '"';
      text.append(kStopsBlock, '"');  // behind it
      const Stops stops(text.data(), size, room, portable_stops);
      for (const std::size_t from : {std::size_t{0}, at / 2, at}) EXPECT_EQ(stops.next(text.data() + from) - text.data(), static_cast<std::ptrdiff_t>(at)) << size;
      EXPECT_EQ(stops.next(text.data() + at + 1) - text.data(), static_cast<std::ptrdiff_t>(size)) << size;
      EXPECT_EQ(stops.next(text.data() + size) - text.data(), static_cast<std::ptrdiff_t>(size)) << size;
    }
}

TEST(FeatureReader, is_bounded_on_wide_and_deep_bodies) {
  std::string wide = "{";
  for (int i = 0; i < 20'000; ++i) wide += "\"k" + std::to_string(i) + "\":[" + std::to_string(i) + ",null],";
  wide.back() = '}';
  EXPECT_FALSE(inspect(wide));
  EXPECT_FALSE(inspect(std::string(64, '[') + std::string(64, ']')));
  EXPECT_EQ(inspect(std::string(65, '[') + std::string(65, ']'))->kind, "too_deep");
  EXPECT_FALSE(inspect("{\"a\":\"" + std::string(17u << 20, 'x') + "\"}"));
}

TEST(Walker, refuses_every_proper_prefix_and_accepts_the_whole) {
  const std::string body = R"({"a":[1,-2.5e+3,{"b":"\u00e9\n"}],"c":null,"d":true})";
  EXPECT_TRUE(walk_json(body).kind.empty());
  for (std::size_t i = 1; i < body.size(); ++i) EXPECT_FALSE(walk_json(body.substr(0, i)).kind.empty()) << i;
}

}  // namespace
}  // namespace claw::content
