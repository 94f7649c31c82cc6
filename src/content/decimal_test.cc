#include "content/decimal.h"

#include <gtest/gtest.h>

namespace claw::content {
namespace {

Decimal decimal(std::string_view text) {
  const auto parsed = Decimal::parse(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

TEST(Decimal, equal_values_are_equal_however_spelt) {
  for (const char* one : {"100", "1e2", "100.0", "1.00E+2", "0.1e3", "10000e-2"}) EXPECT_EQ(decimal(one), decimal("100")) << one;
  EXPECT_EQ(decimal("0"), decimal("-0.0e5"));
  EXPECT_NE(decimal("9007199254740993"), decimal("9007199254740992"));
}

TEST(Decimal, orders_by_value) {
  const char* ascending[] = {"-1e400", "-2", "-1.5", "-0.01", "0", "0.001", "0.01", "0.1", "1", "1.0000000000000000000001", "2", "10", "99", "1e3", "1e400"};
  for (std::size_t i = 0; i < std::size(ascending); ++i)
    for (std::size_t j = 0; j < std::size(ascending); ++j)
      EXPECT_EQ(decimal(ascending[i]) <=> decimal(ascending[j]), i <=> j) << ascending[i] << " " << ascending[j];
}

TEST(Decimal, multiples_are_exact) {
  EXPECT_TRUE(decimal("0.0075").is_multiple_of(decimal("0.0001")));
  EXPECT_FALSE(decimal("0.00751").is_multiple_of(decimal("0.0001")));
  EXPECT_TRUE(decimal("19.99").is_multiple_of(decimal("0.01")));
  EXPECT_TRUE(decimal("-4.5").is_multiple_of(decimal("1.5")));
  EXPECT_TRUE(decimal("1e300").is_multiple_of(decimal("7e-3")) == false);
  EXPECT_TRUE(decimal("1e999999999").is_multiple_of(decimal("2")));
  EXPECT_TRUE(decimal("0").is_multiple_of(decimal("1e30")));
  EXPECT_FALSE(decimal("1").is_multiple_of(decimal("1e99")));
  EXPECT_TRUE(decimal("12391239123").is_multiple_of(decimal("1e-8")));
}

TEST(Decimal, reads_numbers_of_json_and_nothing_else) {
  for (const char* bad : {"", "-", "01", "1.", ".5", "1e", "+1", "0x1", "1 ", "NaN", "1e9999999999"}) EXPECT_FALSE(Decimal::parse(bad)) << bad;
  EXPECT_TRUE(decimal("1.0").is_integer());
  EXPECT_TRUE(decimal("15e-1").is_integer() == false);
  EXPECT_TRUE(decimal("-0").is_negative() == false);
}

}  // namespace
}  // namespace claw::content
