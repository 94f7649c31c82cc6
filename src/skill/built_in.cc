#include "skill/built_in.h"
#include "skill/skill.h"

namespace claw::skill {

const std::map<std::string, Skill>& built_in() {
  static const std::map<std::string, Skill> skills = [] {
    std::map<std::string, Skill> out;
    for (const BuiltInFile& file : built_in_files()) {
      Linted linted = lint({.name = std::string(file.name), .files = {{"SKILL.md", std::string(file.text)}}});
      CLAW_CHECK(linted.skill.has_value());
      out.emplace(file.name, std::move(*linted.skill));
    }
    return out;
  }();
  return skills;
}

}  // namespace claw::skill
