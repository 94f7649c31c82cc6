// The escapes of JSON strings.
#pragma once

#include <array>
#include <string_view>

namespace claw::content {

struct Escapes {
  bool well_formed = true;
  bool lone_surrogate = false;
};
// Of a text between its quotes.
Escapes check_escapes(std::string_view raw);

// What the letter behind a backslash stands for; 0: nothing, or more than one.
inline constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> simple{};
  for (const char c : {'"', '\\', '/'}) simple[static_cast<unsigned char>(c)] = c;
  simple['b'] = '\b', simple['f'] = '\f', simple['n'] = '\n', simple['r'] = '\r', simple['t'] = '\t';
  return simple;
}();

// What the \u at `at` stands for, with its partner, written to `to` as UTF-8, never more bytes than it has; `at` goes behind
// it, the end of what was written is returned, null when it is none. The text ends at `end`. U+FFFD for half a pair.
char* put_code_point(const char*& at, const char* end, char* to, bool& lone_surrogate);

}  // namespace claw::content
