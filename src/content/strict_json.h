// A strict walk over JSON (RFC 8259) that says where the first error is. No tree, no recursion, bounded depth.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace claw::content {

struct JsonError {
  std::string kind;  // "malformed_json", "invalid_utf8", "too_deep", "json_nan", "json_bom"; empty: no error
  std::string what;  // "string not closed", "bare word", …
  std::string path;  // "customer.address.zip", "items[].sku", "" = the whole document
  std::uint64_t offset = 0;
};

inline constexpr std::size_t kMaxJsonDepth = 64;

// The first error, attributed to the member whose value was being read or came just before; a container that is cut off
// between members is blamed itself.
JsonError walk_json(std::string_view text);

}  // namespace claw::content
