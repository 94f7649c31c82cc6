// nst/JSONTestSuite: every y_ is accepted, every n_ refused, every i_ (real parsers differ) answered without a crash.
#include <gtest/gtest.h>

#include "content/document.h"
#include "content/strict_json.h"
#include "testing/test_data.h"

namespace claw::content {
namespace {

TEST(JsonSuite, strict_walk_agrees_with_every_file) {
  std::size_t must_accept = 0, must_refuse = 0, either = 0;
  for (const auto& [name, bytes] : testing::test_data("json-test-suite")) {
    const JsonError error = walk_json(bytes);
    if (name.starts_with("y_")) {
      ++must_accept;
      EXPECT_EQ(error.kind, "") << name << ": " << error.what;
    } else if (name.starts_with("n_")) {
      ++must_refuse;
      EXPECT_NE(error.kind, "") << name;
    } else if (name.starts_with("i_")) {
      ++either;
    }
  }
  EXPECT_EQ(must_accept, 95u);
  EXPECT_EQ(must_refuse, 188u);
  EXPECT_EQ(either, 35u);
}

TEST(JsonSuite, events_are_as_strict_as_the_walk) {
  Document document;
  for (const auto& [name, bytes] : testing::test_data("json-test-suite"))
    EXPECT_EQ(!read_json(bytes, document), walk_json(bytes).kind.empty()) << name;
}

}  // namespace
}  // namespace claw::content
