// Foreign bytes as a SKILL.md.
#include <cstdint>
#include <string>

#include "skill/skill.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const claw::skill::Folder folder{.name = "fuzzed", .files = {{"SKILL.md", std::string(reinterpret_cast<const char*>(data), size)}}};
  const claw::skill::Linted linted = claw::skill::lint(folder);
  CLAW_CHECK(linted.skill.has_value() == linted.problems.empty());
  return 0;
}
