// The escapes of JSON strings.
#pragma once

#include <string>
#include <string_view>

namespace claw::content {

// A text that ends at its closing quote.
struct Unescaped {
  const char* end = nullptr;    // the quote; null when there is none before the end, or something before it that no text has
  bool ascii = true;            // false: the text may have bytes beyond 0x7f, and nobody has looked at them
  bool lone_surrogate = false;  // \ud800 to \udfff without its partner; U+FFFD stands in its place
};

// From `text` on, which ends at `end`; Batch::kPadding bytes behind that are readable. `out` is overwritten.
Unescaped unescape(const char* text, const char* end, std::string& out);

struct Escapes {
  bool well_formed = true;
  bool lone_surrogate = false;
};
// Of a text between its quotes.
Escapes check_escapes(std::string_view raw);

}  // namespace claw::content
