#include "content/plain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "content/utf8.h"

namespace claw::content {
namespace {

constexpr std::size_t kMostRead = 64u << 10;
constexpr std::size_t kLeadingTokens = 4;
constexpr std::size_t kMaxTokenShown = 32;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }

std::string_view next_token(std::string_view& text) {
  const auto start = std::find_if_not(text.begin(), text.end(), is_blank);
  const auto end = std::find_if(start, text.end(), is_blank);
  const std::string_view token(start, end);
  text = std::string_view(end, text.end());
  return token;
}

// Cut at a character, not inside one.
std::string_view shorten(std::string_view token) {
  if (token.size() <= kMaxTokenShown) return token;
  std::size_t end = kMaxTokenShown;
  while (end > 0 && (static_cast<unsigned char>(token[end]) & 0xc0) == 0x80) --end;
  return token.substr(0, end);
}

bool is_variable(std::string_view token) {
  return std::any_of(token.begin(), token.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct Magic {
  std::string_view bytes;
  std::string_view name;
};
using namespace std::string_view_literals;
constexpr std::array kMagic = {
    Magic{"\x1f\x8b"sv, "gzip"}, Magic{"\x28\xb5\x2f\xfd"sv, "zstd"}, Magic{"\x04\x22\x4d\x18"sv, "lz4"}, Magic{"BZh"sv, "bzip2"},
    Magic{"\xfd"
          "7zXZ\0"sv, "xz"},
    Magic{"PK\x03\x04"sv, "zip"}, Magic{"\x89PNG\r\n\x1a\n"sv, "png"}, Magic{"\xff\xd8\xff"sv, "jpeg"}, Magic{"GIF8"sv, "gif"},
    Magic{"%PDF-"sv, "pdf"}, Magic{"\xac\xed\x00\x05"sv, "java object"}, Magic{"\x80\x02"sv, "python pickle"},
    Magic{"\x80\x03"sv, "python pickle"}, Magic{"\x80\x04\x95"sv, "python pickle"}, Magic{"\x80\x05\x95"sv, "python pickle"},
    Magic{"\x04\x08"sv, "ruby marshal"}, Magic{"Obj\x01"sv, "avro file"}, Magic{"\xc3\x01"sv, "avro single object"},
    Magic{"PAR1"sv, "parquet"}, Magic{"\x7f"
                                      "ELF"sv, "elf"},
    Magic{"<?xml"sv, "xml"}, Magic{"SQLite format 3\0"sv, "sqlite"},
};

bool is_utf16(std::string_view body) { return body.size() % 2 == 0 && (body.starts_with("\xff\xfe") || body.starts_with("\xfe\xff")); }

Charset charset_of(std::string_view body) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 && !is_blank(c) && c != '\x1b'; };
  if (is_utf16(body)) return Charset::utf16;
  if (std::any_of(body.begin(), body.end(), control)) return Charset::binary;
  if (std::all_of(body.begin(), body.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return Charset::ascii;
  return is_utf8(body) ? Charset::utf8 : Charset::eight_bit;
}

EntropyBand entropy_of(std::string_view body) {
  std::array<std::uint32_t, 256> counts{};
  for (const char c : body) ++counts[static_cast<unsigned char>(c)];
  double bits = 0;
  for (const std::uint32_t count : counts)
    if (count > 0) bits -= count * std::log2(static_cast<double>(count) / static_cast<double>(body.size()));
  if (!body.empty()) bits /= static_cast<double>(body.size());
  // A short body cannot show more than log2 of its size.
  const double most = std::min(8.0, std::log2(static_cast<double>(std::max<std::size_t>(body.size(), 2))));
  if (bits < 0.01) return EntropyBand::constant;
  if (bits < 3) return EntropyBand::low;
  if (bits < 5.5 || most < 6) return EntropyBand::text;
  return bits < 0.9 * most ? EntropyBand::dense : EntropyBand::random;
}

}  // namespace

std::string text_template(std::string_view text) {
  text = text.substr(0, kMostRead);
  std::string leading;
  std::size_t tokens = 0;
  for (std::string_view token = next_token(text); !token.empty(); token = next_token(text)) {
    if (++tokens > kLeadingTokens) continue;
    leading += ' ';
    leading += is_variable(token) ? std::string_view("<*>") : shorten(token);
  }
  return fmt::format("{} tokens:{}", tokens, leading);
}

ByteFacts byte_facts(std::string_view body) {
  const std::string_view part = body.substr(0, kMostRead);
  ByteFacts facts{.charset = charset_of(body), .entropy = entropy_of(part)};
  for (const auto& [bytes, magic] : kMagic)
    if (body.starts_with(bytes)) facts.magic = magic;
  return facts;
}

std::string_view name(Charset charset) {
  switch (charset) {
    case Charset::ascii: return "ASCII";
    case Charset::utf8: return "UTF-8";
    case Charset::utf16: return "UTF-16";
    case Charset::eight_bit: return "8-bit text";
    case Charset::binary: return "binary";
  }
  return {};
}

std::string_view name(EntropyBand band) {
  switch (band) {
    case EntropyBand::constant: return "constant";
    case EntropyBand::low: return "low";
    case EntropyBand::text: return "text-like";
    case EntropyBand::dense: return "dense";
    case EntropyBand::random: return "random-like";
  }
  return {};
}

}  // namespace claw::content
