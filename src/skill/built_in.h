// The SKILL.md files of skills/, made into data by cmake/BuiltInSkills.cmake.
#pragma once

#include <string_view>
#include <vector>

namespace claw::skill {

struct BuiltInFile {
  std::string_view name;  // of the skill
  std::string_view text;  // of its SKILL.md
};
const std::vector<BuiltInFile>& built_in_files();

}  // namespace claw::skill
