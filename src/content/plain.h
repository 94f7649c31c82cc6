// Bodies without a structure of their own: text by its template, anything else by what its bytes look like.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace claw::content {

// "12 tokens: Payment <*> failed for": how many tokens, and the first ones, those with digits masked. Equal texts but
// for their variables give equal templates; nothing is learnt, so the order of messages does not matter. At most 64 KiB
// of the text are read.
std::string text_template(std::string_view text);

enum class Charset : std::uint8_t { ascii, utf8, utf16, eight_bit, binary };
// By Shannon entropy of a byte, estimated over the first 64 KiB: text lies around 4 to 5, compressed or encrypted above 7.
enum class EntropyBand : std::uint8_t { constant, low, text, dense, random };

struct ByteFacts {
  std::string_view magic;  // "gzip", "zip", "python pickle", …; empty when the first bytes are none that we know
  Charset charset = Charset::ascii;
  EntropyBand entropy = EntropyBand::constant;
  bool operator==(const ByteFacts&) const = default;
};

ByteFacts byte_facts(std::string_view body);
std::string_view name(Charset charset);
std::string_view name(EntropyBand band);

}  // namespace claw::content
