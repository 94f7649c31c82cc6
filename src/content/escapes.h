// The escapes of JSON strings.
#pragma once

#include <string>
#include <string_view>

namespace claw::content {

struct Unescaped {
  bool well_formed = true;
  bool lone_surrogate = false;  // \ud800 to \udfff without its partner; U+FFFD stands in its place
};

// `raw` as it stands between quotes, without control characters; `out` is overwritten.
Unescaped unescape(std::string_view raw, std::string& out);
// The same verdict without the text.
Unescaped check_escapes(std::string_view raw);

}  // namespace claw::content
