#include "redis/parser.h"

#include <gtest/gtest.h>

#include <cstring>

namespace claw::redis {
namespace {

void feed(Parser& parser, std::string_view bytes) {
  const std::span<char> room = parser.room(bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  parser.commit(bytes.size());
}

std::string show(Reply::View v) {
  if (v.is_array()) {
    std::string out = "[";
    Reply::View child = v.first();
    for (std::size_t i = 0; i < v.size(); ++i, child = child.next()) out += (i ? " " : "") + show(child);
    return out + "]";
  }
  if (v.is_nil()) return "nil";
  if (v.type() == Reply::Type::integer) return std::to_string(v.integer());
  return (v.is_error() ? "!" : "") + std::string(v.text());
}

constexpr std::string_view kStream =
    "*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$4\r\nb\r\nc\r\n*2\r\n$3\r\n2-0\r\n*0\r\n+OK\r\n:-7\r\n$-1\r\n*-1\r\n-ERR no\r\n$0\r\n\r\n";
const std::vector<std::string> kExpected = {"[[1-0 [a b\r\nc]] [2-0 []]]", "OK", "-7", "nil", "nil", "!ERR no", ""};

TEST(Reply, of_another_shape_than_the_one_that_is_read_is_nil_where_nothing_is) {
  for (const std::string_view bytes : {"*0\r\n", "+OK\r\n", "*1\r\n*0\r\n"}) {
    Parser parser;
    feed(parser, bytes);
    Reply reply;
    ASSERT_TRUE(parser.next(reply).value());
    const Reply::View deep = reply.root().first().first().next().next().first();
    EXPECT_TRUE(deep.is_nil()) << bytes;
    EXPECT_EQ(deep.text(), "") << bytes;
    EXPECT_EQ(deep.next().size(), 0u) << bytes;
  }
}

TEST(Parser, understands_replies_cut_at_every_byte) {
  for (std::size_t cut = 0; cut <= kStream.size(); ++cut) {
    Parser parser;
    std::vector<std::string> got;
    for (const std::string_view part : {kStream.substr(0, cut), kStream.substr(cut)}) {
      feed(parser, part);
      Reply reply;
      while (parser.next(reply).value()) got.push_back(show(reply.root()));
    }
    EXPECT_EQ(got, kExpected) << cut;
  }
}

TEST(Parser, one_byte_at_a_time) {
  Parser parser;
  std::vector<std::string> got;
  Reply reply;
  for (const char c : kStream) {
    feed(parser, {&c, 1});
    while (parser.next(reply).value()) got.push_back(show(reply.root()));
  }
  EXPECT_EQ(got, kExpected);
}

TEST(Parser, a_replys_views_survive_a_move_of_its_buffer) {
  Parser parser;
  feed(parser, "$5\r\nhello\r\n");
  Reply reply;
  ASSERT_TRUE(parser.next(reply).value());
  const std::string_view text = reply.root().text();
  const RawBytes buffer = reply.release_buffer();
  EXPECT_EQ(text, "hello");
  EXPECT_GE(text.data(), buffer.data());
}

TEST(Parser, refuses_what_is_not_resp) {
  for (const std::string_view wrong : {"hello\r\n", "$x\r\n", "$-2\r\n", "*99999999999\r\n", ":1\n", "$1\r\nabc\r\n", "HTTP/1.1 400\r\n", "$700000000\r\n"}) {
    Parser parser;
    feed(parser, wrong);
    Reply reply;
    EXPECT_FALSE(parser.next(reply).ok()) << wrong;
  }
  Parser parser;
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "*1\r\n";
  feed(parser, deep);
  Reply reply;
  EXPECT_FALSE(parser.next(reply).ok());
}

TEST(Parser, a_claimed_count_allocates_nothing) {
  Parser parser;
  feed(parser, "*60000000\r\n");
  Reply reply;
  EXPECT_FALSE(parser.next(reply).value());
}

}  // namespace
}  // namespace claw::redis
