// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace claw::content {

// Length of the valid sequence at the front, 0 when there is none.
std::size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);
// Of valid UTF-8.
std::size_t count_code_points(std::string_view text);
// A surrogate or a value beyond U+10FFFF becomes U+FFFD.
void append_utf8(std::string& out, std::uint32_t code_point);

}  // namespace claw::content
