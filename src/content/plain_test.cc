#include "content/plain.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "base/digest.h"
#include "content/inflate.h"

namespace claw::content {
namespace {

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string outcome(Compression how, std::string_view body) {
  const auto result = inflate(how, body);
  if (const Flaw* flaw = std::get_if<Flaw>(&result)) return "flaw: " + std::string(flaw->what);
  return std::get<std::string>(result);
}

TEST(Inflate, gives_back_what_was_compressed) {
  const std::string text = R"({"a":1})";
  EXPECT_EQ(outcome(Compression::gzip, gzip(text)), text);
  EXPECT_EQ(outcome(Compression::zstd, zstd(text)), text);
  EXPECT_EQ(outcome(Compression::none, text), text);
  EXPECT_EQ(outcome(Compression::gzip, gzip("one,") + gzip("two")), "one,two");
  // What Celery calls application/x-gzip.
  EXPECT_EQ(outcome(Compression::gzip, unbase64("eJyLjlbK1zVWitVRqK4FYqXkxJycpMTk7GIlK4W80pwcHQWl1KIiNJHkjMTMPGRuflEKlFsbCwApjxpU").value()),
            R"([["o-3"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}])");
}

TEST(Inflate, refuses_cut_damaged_and_followed_bodies) {
  std::string body;
  for (int i = 0; i < 500; ++i) body += std::to_string(i * 7919);
  for (const auto how : {Compression::gzip, Compression::zstd}) {
    const std::string packed = how == Compression::gzip ? gzip(body) : zstd(body);
    for (std::size_t size = 0; size < packed.size(); size += 1 + packed.size() / 40)
      EXPECT_TRUE(outcome(how, packed.substr(0, size)).starts_with("flaw")) << size;
    EXPECT_TRUE(outcome(how, packed + "x").starts_with("flaw"));
    EXPECT_TRUE(outcome(how, body).starts_with("flaw"));
  }
}

TEST(Inflate, a_bomb_goes_off_at_a_hundredfold_or_at_16_mib) {
  const std::string zeros(4u << 20, '\0');
  EXPECT_EQ(outcome(Compression::gzip, gzip(zeros)), "flaw: inflates more than a hundredfold");
  EXPECT_EQ(outcome(Compression::zstd, zstd(zeros)), "flaw: inflates more than a hundredfold");
  std::string mixed;
  for (std::uint32_t x = 1; mixed.size() < (17u << 20); x = x * 1664525 + 1013904223) mixed.append(16, static_cast<char>(x >> 24));
  EXPECT_EQ(outcome(Compression::gzip, gzip(mixed)), "flaw: inflates to more than 16 MiB");
}

TEST(Inflate, knows_the_declarations_of_real_clients) {
  EXPECT_EQ(declared_compression("GZIP"), Compression::gzip);
  EXPECT_EQ(declared_compression("application/x-gzip"), Compression::gzip);
  EXPECT_EQ(declared_compression("zstd"), Compression::zstd);
  EXPECT_EQ(declared_compression("utf-8"), Compression::none);
  EXPECT_EQ(declared_compression("br"), std::nullopt);
}

TEST(TextTemplate, equal_texts_but_for_their_variables_are_one) {
  EXPECT_EQ(text_template("Payment 123 failed for user bob"), "6 tokens: Payment <*> failed for");
  EXPECT_EQ(text_template("Payment 99x failed for user alice"), text_template("Payment 1 failed for user bob"));
  EXPECT_NE(text_template("Payment 1 failed"), text_template("Payment 1 failed again"));
  EXPECT_EQ(text_template(" \t\n"), "0 tokens:");
  EXPECT_LT(text_template(std::string(1u << 20, 'x')).size(), 100u);
}

TEST(ByteFacts, tells_what_bytes_look_like) {
  EXPECT_EQ(byte_facts(gzip("hello")).magic, "gzip");
  EXPECT_EQ(byte_facts(unhex("80049500").value()).magic, "python pickle");
  EXPECT_EQ(byte_facts("hello there, this is text").charset, Charset::ascii);
  EXPECT_EQ(byte_facts("h\xc3\xa9llo").charset, Charset::utf8);
  EXPECT_EQ(byte_facts("h\xe9llo").charset, Charset::eight_bit);
  EXPECT_EQ(byte_facts(std::string("a\0b", 3)).charset, Charset::binary);
  EXPECT_EQ(byte_facts(std::string("\xff\xfe" "a\0", 4)).charset, Charset::utf16);
  EXPECT_EQ(byte_facts("").entropy, EntropyBand::constant);
  EXPECT_EQ(byte_facts(std::string(100, 'a')).entropy, EntropyBand::constant);
  std::string noise;
  for (std::uint32_t x = 1; noise.size() < 4096; x = x * 1664525 + 1013904223) noise += static_cast<char>(x >> 24);
  EXPECT_EQ(byte_facts(noise).entropy, EntropyBand::random);
  std::string prose;
  while (prose.size() < 4096) prose += "the quick brown fox jumps over the lazy dog ";
  EXPECT_EQ(byte_facts(prose).entropy, EntropyBand::text);
}

}  // namespace
}  // namespace claw::content
