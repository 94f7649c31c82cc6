// References between schemas: RFC 3986 section 5.2, without normalisation beyond dot segments.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace claw::content {

std::string resolve_uri(std::string_view base, std::string_view reference);
// ("http://x/y", "frag") of "http://x/y#frag".
std::pair<std::string_view, std::string_view> split_fragment(std::string_view uri);
// %41 → A; a percent sign that begins no escape stays.
std::string percent_decode(std::string_view text);

}  // namespace claw::content
