#include "content/contract.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iostream>
#include <map>

#include "content/pattern.h"
#include "content/uri.h"
#include "testing/test_data.h"

namespace claw::content {
namespace {

// The JSON Schema Test Suite ---------------------------------------------------------------------------------------------

const std::map<std::string, std::string> kDrafts = {{"draft7", "http://json-schema.org/draft-07/schema#"},
                                                    {"draft2019-09", "https://json-schema.org/draft/2019-09/schema"},
                                                    {"draft2020-12", "https://json-schema.org/draft/2020-12/schema"}};

// Required tests that we do not pass, as "draft/file: group: test", each with its reason.
const std::map<std::string, std::string> kExceptions = {};

// What the suite expects to be known: its remotes below http://localhost:1234, and the drafts' own schemas.
std::map<std::string, std::string> known_documents() {
  std::map<std::string, std::string> out;
  for (auto& [name, bytes] : testing::test_data("json-schema-test-suite/remotes")) out["http://localhost:1234/" + name] = std::move(bytes);
  for (auto& [name, bytes] : testing::test_data("json-schema-test-suite/metaschemas")) {
    Document document;
    EXPECT_FALSE(read_json(bytes, document)) << name;
    std::string uri(document.root().find("$id")->text());
    if (uri.ends_with('#')) uri.pop_back();
    out[uri] = std::move(bytes);
  }
  return out;
}

std::string json(Value value) {
  std::string out;
  const auto quoted = [](std::string_view text) {
    std::string q = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') q += '\\';
      if (static_cast<unsigned char>(c) < 0x20) q += fmt::format("\\u{:04x}", c);
      else q += c;
    }
    return q + '"';
  };
  switch (value.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return value.truth() ? "true" : "false";
    case Kind::number: return std::string(value.text());
    case Kind::string: case Kind::bytes: return quoted(value.text());
    case Kind::array:
      for (const Value child : value) out += (out.empty() ? "[" : ",") + json(child);
      return (out.empty() ? "[" : out) + "]";
    case Kind::object:
      for (const Value child : value) out += (out.empty() ? "{" : ",") + quoted(child.key()) + ":" + json(child);
      return (out.empty() ? "{" : out) + "}";
  }
  return out;
}

// A schema of the suite without $schema is of the draft of its folder.
std::string with_dialect(Value schema, const std::string& draft) {
  const std::string text = json(schema);
  if (schema.kind() != Kind::object || schema.find("$schema")) return text;
  return "{\"$schema\":\"" + kDrafts.at(draft) + "\"" + (schema.size() > 0 ? "," : "") + text.substr(1);
}

TEST(Contract, passes_the_required_tests_of_three_drafts) {
  const Contract::Options options{.documents = known_documents()};
  std::map<std::string, std::pair<int, int>> score;
  for (const auto& [file, bytes] : testing::test_data("json-schema-test-suite/tests")) {
    const std::string draft = file.substr(0, file.find('/'));
    Document suite;
    ASSERT_FALSE(read_json(bytes, suite)) << file;
    for (const Value group : suite.root()) {
      const auto contract = Contract::compile(with_dialect(*group.find("schema"), draft), options);
      const Value tests = *group.find("tests");
      for (const Value test : tests) {
        const std::string name = fmt::format("{}: {}: {}", file, group.find("description")->text(), test.find("description")->text());
        ++score[draft].second;
        const auto expected = test.find("valid")->truth() ? Contract::Answer::meets : Contract::Answer::violates;
        Document body;
        ASSERT_FALSE(read_json(json(*test.find("data")), body));
        const bool passes = contract.ok() && contract->check(body.root()) == expected;
        score[draft].first += passes;
        EXPECT_EQ(passes, !kExceptions.contains(name)) << name << " " << (contract.ok() ? "" : contract.error().message());
        if (!contract.ok()) continue;
        EXPECT_EQ(contract->explain(body.root()).empty(), contract->check(body.root()) == Contract::Answer::meets) << name;
      }
    }
  }
  ASSERT_EQ(score.size(), 3u);
  for (const auto& [draft, passed] : score) {
    std::cout << draft << ": " << passed.first << " of " << passed.second << "\n";
    EXPECT_GT(passed.second, 800) << draft;
    EXPECT_GE(passed.first, 0.99 * passed.second) << draft;
  }
}

// Words ------------------------------------------------------------------------------------------------------------------

std::vector<std::string> sentences(std::string_view schema, std::string_view body) {
  const auto contract = Contract::compile(schema);
  EXPECT_TRUE(contract.ok()) << contract.error().message();
  Document document;
  EXPECT_FALSE(read_json(body, document));
  std::vector<std::string> out;
  for (const Violation& violation : contract->explain(document.root())) out.push_back(violation.sentence());
  return out;
}
using Sentences = std::vector<std::string>;

TEST(Contract, says_what_is_wrong_where_and_never_the_value) {
  constexpr std::string_view schema = R"({"type":"object","required":["id"],"additionalProperties":false,"properties":{
    "id":{"type":"string","pattern":"^o-"},"amount":{"type":"integer","minimum":5},"items":{"type":"array","items":{"properties":{"sku":{"type":["string","null"]}}}},
    "kind":{"enum":["a","b"]},"note":{"maxLength":3},"when":{"anyOf":[{"type":"integer"},{"type":"null"}]}}})";
  EXPECT_EQ(sentences(schema, R"({"id":"o-1","amount":"123"})"), Sentences{"amount: expected integer, is a string of digits"});
  EXPECT_EQ(sentences(schema, R"({"id":"o-1","amount":4})"), Sentences{"amount: expected at least 5, is an integer"});
  EXPECT_EQ(sentences(schema, R"({"amount":5})"), Sentences{"body: member 'id' is missing"});
  EXPECT_EQ(sentences(schema, R"({"id":"o-1","items":[{},{"sku":7}]})"), Sentences{"items.1.sku: expected null or string, is an integer"});
  EXPECT_EQ(sentences(schema, R"({"id":"x","kind":"c","extra":1,"note":"four","when":"now"})"),
            (Sentences{"id: expected a match of ^o-, is a string", "kind: expected one of 2 values, is another: a string", "body: member 'extra' is not allowed",
                       "note: expected at most 3 characters, is a string of 4", "when: is a string and meets none of 2 alternatives"}));
}

TEST(Contract, a_violation_names_instance_rule_and_schema_place) {
  const auto contract = Contract::compile(R"({"$defs":{"m":{"type":"integer"}},"properties":{"a/b":{"items":{"$ref":"#/$defs/m"}}}})");
  Document body;
  ASSERT_FALSE(read_json(R"({"a/b":[1,"x"]})", body));
  const auto found = contract->explain(body.root());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].instance, "/a~1b/1");
  EXPECT_EQ(found[0].keyword, "type");
  EXPECT_EQ(found[0].schema, "/$defs/m/type");
}

TEST(Contract, a_bad_schema_is_refused_with_its_place) {
  const auto error = [](std::string_view schema) {
    const auto contract = Contract::compile(schema);
    return contract.ok() ? std::string("none") : contract.error().message();
  };
  EXPECT_EQ(error("{"), "contract: object not closed at byte 1, expected JSON (invalid)");
  EXPECT_EQ(error("[]"), "contract : is an empty array, expected a schema: an object, true or false (invalid)");
  EXPECT_EQ(error(R"({"properties":{"amount":{"minimum":"5"}}})"), "contract /properties/amount/minimum: is a string of digits, expected a number (invalid)");
  EXPECT_EQ(error(R"({"type":"int"})"), "contract /type: unknown type 'int' (invalid)");
  EXPECT_EQ(error(R"({"$ref":"#/$defs/x"})"), "contract /$ref: '#/$defs/x' leads nowhere (invalid)");
  EXPECT_EQ(error(R"({"$ref":"https://example.com/s"})"), "contract /$ref: 'https://example.com/s' leads out of the document; nothing is fetched (unsupported)");
  EXPECT_EQ(error(R"({"$schema":"http://json-schema.org/draft-04/schema#"})"),
            "contract /$schema: 'http://json-schema.org/draft-04/schema#' is not known, expected draft-07, 2019-09 or 2020-12 (unsupported)");
  EXPECT_EQ(error(R"({"$ref":"#"})"), "contract /$ref: leads back to itself without looking at a part of the value (invalid)");
  EXPECT_TRUE(error(R"({"pattern":"(?=a)b"})").ends_with("look-around and back-references have no time bound (unsupported)")) << error(R"({"pattern":"(?=a)b"})");
  EXPECT_TRUE(error(R"({"pattern":"("})").starts_with("contract /pattern: pattern '('"));
}

TEST(Contract, exponential_schemas_are_undecided_and_no_evidence) {
  std::string schema = R"({"$defs":{"d0":{"type":"integer"})";
  for (int i = 1; i < 40; ++i) schema += fmt::format(R"(,"d{}":{{"oneOf":[{{"$ref":"#/$defs/d{}"}},{{"$ref":"#/$defs/d{}"}}]}})", i, i - 1, i - 1);
  schema += R"(},"$ref":"#/$defs/d39"})";
  const auto contract = Contract::compile(schema);
  ASSERT_TRUE(contract.ok()) << contract.error().message();
  Document body;
  ASSERT_FALSE(read_json("\"x\"", body));
  EXPECT_EQ(contract->check(body.root()), Contract::Answer::undecided);
  EXPECT_TRUE(contract->explain(body.root()).empty());
}

TEST(Contract, asserts_formats_only_when_asked) {
  const std::string schema = R"({"format":"date-time"})";
  Document body;
  ASSERT_FALSE(read_json("\"yesterday\"", body));
  EXPECT_EQ(Contract::compile(schema)->check(body.root()), Contract::Answer::meets);
  const auto strict = Contract::compile(schema, {.assert_formats = true});
  EXPECT_EQ(strict->check(body.root()), Contract::Answer::violates);
  ASSERT_FALSE(read_json("\"2025-01-18T14:32:17Z\"", body));
  EXPECT_EQ(strict->check(body.root()), Contract::Answer::meets);
}

TEST(Pattern, speaks_ecma) {
  EXPECT_TRUE(Pattern::compile("^\\u00e9\\/\\cA$")->matches("é/\x01"));
  EXPECT_TRUE(Pattern::compile("^\\p{Letter}+$")->matches("Ünï"));
  EXPECT_TRUE(Pattern::compile("(?<year>\\d{4})")->matches("in 2024"));
  EXPECT_TRUE(Pattern::compile("^[\\s[a]+$")->matches(" [a\xc2\xa0"));
  EXPECT_FALSE(Pattern::compile("^\\S+$")->matches("a b"));
  EXPECT_FALSE(Pattern::compile("^a$")->matches("a\n"));
  EXPECT_TRUE(Pattern::compile("^\\ud83d\\ude00$")->matches("😀"));
}

TEST(Uri, resolves_as_rfc_3986_does) {
  constexpr std::string_view base = "http://a/b/c/d;p?q";
  for (const auto& [reference, expected] : std::map<std::string, std::string>{
           {"g:h", "g:h"}, {"g", "http://a/b/c/g"}, {"./g", "http://a/b/c/g"}, {"g/", "http://a/b/c/g/"}, {"/g", "http://a/g"}, {"//g", "http://g"},
           {"?y", "http://a/b/c/d;p?y"}, {"g?y", "http://a/b/c/g?y"}, {"#s", "http://a/b/c/d;p?q#s"}, {"", "http://a/b/c/d;p?q"}, {"..", "http://a/b/"},
           {"../g", "http://a/b/g"}, {"../../g", "http://a/g"}, {"../../../g", "http://a/g"}, {"/./g", "http://a/g"}, {"./g/.", "http://a/b/c/g/"}})
    EXPECT_EQ(resolve_uri(base, reference), expected) << reference;
  EXPECT_EQ(resolve_uri("urn:uuid:1", "#x"), "urn:uuid:1#x");
  EXPECT_EQ(percent_decode("a%25b%4"), "a%b%4");
}

}  // namespace
}  // namespace claw::content
