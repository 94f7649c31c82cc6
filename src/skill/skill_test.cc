#include "skill/skill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "skill/built_in.h"

namespace claw::skill {
namespace {

std::string text_of(std::string_view name) {
  for (const BuiltInFile& file : built_in_files())
    if (file.name == name) return std::string(file.text);
  return {};
}

const std::string kGood = text_of("aggressive-drain");

Linted lint_text(const std::string& text) { return lint({.name = "aggressive-drain", .files = {{"SKILL.md", text}}}); }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Skill, the_six_built_in_skills_are_sound_and_only_two_of_them_remove) {
  ASSERT_EQ(built_in().size(), 6u);
  for (const auto& [name, skill] : built_in()) {
    EXPECT_EQ(skill.name, name);
    EXPECT_EQ(skill.protocol.removes(), name == "aggressive-drain" || name == "quarantine-poison") << name;
    EXPECT_EQ(skill.folder_hash.substr(0, 3), "h1:");
  }
}

TEST(Skill, the_waves_of_a_skill_become_the_limits_of_its_plans) {
  const Skill& skill = built_in().at("quarantine-poison");
  EXPECT_EQ(skill.protocol.limits.waves_bps, (std::vector<std::int64_t>{100, 500, 2500, 10'000}));
  EXPECT_EQ(skill.protocol.limits.max_messages, 5'000u);
  EXPECT_EQ(built_in().at("observe-only").protocol.limits.max_messages, 0u);
}

struct Hostile {
  const char* what;
  const char* rule;
  std::string text;
};

std::string deep(int levels) {
  std::string text(static_cast<std::size_t>(levels), '[');
  return text + std::string(static_cast<std::size_t>(levels), ']');
}

std::vector<Hostile> hostile() {
  const std::string snapshot = "  - id: snapshot\n    do: snapshot\n", check = "  - id: canary-check\n    do: verify\n    guards:\n      - conservation\n";
  const std::string tenth = "  - id: tenth\n    do: remove\n    share_bps: 1000\n    to: quarantine\n  - id: tenth-check\n    do: verify\n    guards:\n      - conservation\n";
  const std::string block = kGood.substr(kGood.find("```yaml"));
  return {
      {"no snapshot", "stages.snapshot-before-remove", replaced(kGood, snapshot, "")},
      {"a plan after the snapshot", "stages.order", replaced(replaced(kGood, "  - id: plan\n    do: plan\n", ""), snapshot, snapshot + "  - id: plan\n    do: plan\n")},
      {"no verify", "stages.verify-after-move", replaced(kGood, check, "")},
      {"half at once", "waves.first", replaced(kGood, "share_bps: 100\n", "share_bps: 5000\n")},
      {"1% to 100% in one step", "waves.growth", replaced(kGood, tenth, "")},
      {"a wave that shrinks", "waves.growth", replaced(kGood, "share_bps: 1000\n", "share_bps: 50\n")},
      {"a plan carried out in part", "waves.last", replaced(kGood, "share_bps: 10000\n", "share_bps: 9000\n")},
      {"an unknown verb", "schema.word", replaced(kGood, "do: snapshot", "do: purge")},
      {"an extra shell key", "schema.unknown-key", replaced(kGood, "    do: snapshot\n", "    do: snapshot\n    shell: rm -rf /\n")},
      {"two blocks", "block.one", kGood + "\n" + block},
      {"no block", "block.one", replaced(kGood, block, "")},
      {"another version in the fence", "block.fence", replaced(kGood, "claw-protocol/v1\nprotocol", "claw-protocol/v2\nprotocol")},
      {"a fence without an end", "block.fence", kGood.substr(0, kGood.rfind("```"))},
      {"an anchor", "yaml", replaced(kGood, "do: snapshot", "do: &a snapshot")},
      {"an alias", "yaml", replaced(kGood, "do: snapshot", "do: *a")},
      {"a tag", "yaml", replaced(kGood, "do: snapshot", "do: !!str snapshot")},
      {"a merge key", "yaml", replaced(kGood, "    do: snapshot\n", "    do: snapshot\n    <<: x\n")},
      {"a duplicate key", "yaml", replaced(kGood, "    do: snapshot\n", "    do: snapshot\n    do: snapshot\n")},
      {"a bidi character", "file.hidden-character", replaced(kGood, "# Aggressive", "# \u202e Aggressive")},
      {"a zero-width character in an id", "file.hidden-character", replaced(kGood, "id: rest", "id: re\u200bst")},
      {"an escape", "file.hidden-character", replaced(kGood, "# Aggressive", "# \x1b[2J Aggressive")},
      {"a tab", "file.tab", replaced(kGood, "    do: snapshot", "\tdo: snapshot")},
      {"invalid UTF-8", "file.hidden-character", replaced(kGood, "# Aggressive", "# \xff Aggressive")},
      {"an unknown guard", "schema.word", replaced(kGood, "- consumers-back", "- looks-fine")},
      {"guards without conservation", "guards.conservation", replaced(kGood, "      - conservation\n      - consumers-back", "      - consumers-back")},
      {"__proto__", "schema.unknown-key", replaced(kGood, "limits:\n", "__proto__:\n  max_messages: 1\nlimits:\n")},
      {"5,000 levels", "yaml", replaced(kGood, "id: rest", "id: " + deep(5'000))},
      {"a negative number", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: -1")},
      {"a number that overflows", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: 99999999999999999999")},
      {"a number in another base", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: 0x10")},
      {"a number with a leading zero", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: 010")},
      {"a float", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: 1e3")},
      {"a limit wider than the engine's", "schema.number", replaced(kGood, "max_messages: 50000", "max_messages: 50001")},
      {"a share wider than the engine's", "schema.number", replaced(kGood, "max_bps_of_queue: 1000", "max_bps_of_queue: 1001")},
      {"less confidence than the engine asks", "schema.number", replaced(kGood, "confidence_bps: 9500", "confidence_bps: 9499")},
      {"the brake left out", "preconditions.mandatory", replaced(kGood, "  - brake.off\n", "")},
      {"no rollback", "rollback.declared", replaced(kGood, kGood.substr(kGood.find("rollback:"), kGood.rfind("```") - kGood.find("rollback:")), "")},
      {"discard instead of quarantine", "schema.word", replaced(kGood, "to: quarantine", "to: discard")},
      {"an id twice", "stages.id", replaced(kGood, "id: rest", "id: canary")},
      {"another skill's name", "front.name", replaced(kGood, "name: aggressive-drain", "name: observe-only")},
      {"a name with capitals", "front.name", replaced(kGood, "name: aggressive-drain", "name: Aggressive")},
      {"an unknown key in front", "front.unknown-key", replaced(kGood, "license:", "on: true\nlicense:")},
      {"flow style in front", "front.flow", replaced(kGood, "metadata:\n  risk: medium", "metadata: {risk: medium}")},
      {"dashes in a description", "front.dashes", replaced(kGood, "never more.", "never --- more.")},
      {"no front matter", "front.missing", kGood.substr(4)},
      {"a body that never ends", "body.length", kGood + std::string(600, '\n')},
      {"an empty file", "front.missing", ""},
      {"bytes", "file.hidden-character", std::string("\0\1\2\3", 4)},
      {"a file of 300 KiB", "file.size", kGood + std::string(300 * 1024, 'x')},
  };
}

TEST(Skill, refuses_the_hostile_corpus_with_line_and_rule) {
  for (const Hostile& one : hostile()) {
    const Linted linted = lint_text(one.text);
    EXPECT_FALSE(linted.skill.has_value()) << one.what;
    const bool named = std::any_of(linted.problems.begin(), linted.problems.end(), [&](const Problem& p) { return p.rule == one.rule && p.line > 0; });
    EXPECT_TRUE(named) << one.what << ": " << (linted.problems.empty() ? "no problem" : linted.problems.front().rule + " " + linted.problems.front().text);
  }
}

TEST(Skill, says_where_a_problem_is) {
  const auto skill = load({.name = "aggressive-drain", .files = {{"SKILL.md", replaced(kGood, "share_bps: 100\n", "share_bps: 5000\n")}}});
  ASSERT_FALSE(skill.ok());
  const std::size_t line = 1 + static_cast<std::size_t>(std::count(kGood.begin(), kGood.begin() + static_cast<std::ptrdiff_t>(kGood.find("  - id: canary")), '\n'));
  EXPECT_NE(skill.error().detail.find("SKILL.md:" + std::to_string(line) + ": [waves.first]"), std::string::npos) << skill.error().detail;
}

TEST(Skill, no_skill_widens_a_limit) {
  // Every number in every limit position of every built-in skill, far below and far above.
  const Limits engine;
  for (const auto& [name, skill] : built_in()) {
    const Limits& limits = skill.protocol.limits;
    EXPECT_EQ(limits.tightened(engine), limits) << name;
    EXPECT_GE(limits.confidence_bps, engine.confidence_bps) << name;
    EXPECT_LE(limits.waves_bps.front(), 100) << name;
  }
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(1LL << (i % 40));
    for (const char* key : {"max_messages: 50000", "max_bps_of_queue: 1000", "max_bytes: 1073741824", "confidence_bps: 9500"}) {
      const std::string_view text = key;
      const Linted linted = lint_text(replaced(kGood, text, std::string(text.substr(0, text.find(':') + 2)) + number));
      if (!linted.skill) continue;
      EXPECT_EQ(linted.skill->protocol.limits.tightened(engine), linted.skill->protocol.limits) << key << number;
    }
  }
}

TEST(Skill, a_folder_with_a_link_or_a_stranger_in_it_is_refused) {
  namespace fs = std::filesystem;
  std::string dir = (fs::temp_directory_path() / "claw-skill-XXXXXX").string();
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const std::string folder = dir + "/aggressive-drain";
  fs::create_directories(folder + "/references");
  std::ofstream(folder + "/SKILL.md") << kGood;
  std::ofstream(folder + "/references/why.md") << "why";
  const auto read = read_folder(system_disk(), folder);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->files.size(), 2u);
  const auto skill = load(*read);
  ASSERT_TRUE(skill.ok()) << skill.error().message();
  EXPECT_NE(skill->folder_hash, built_in().at("aggressive-drain").folder_hash) << "the hash covers the whole folder";
  EXPECT_EQ(skill->block_hash, built_in().at("aggressive-drain").block_hash);

  fs::create_symlink("/etc/passwd", folder + "/references/link");
  EXPECT_EQ(read_folder(system_disk(), folder).error().code, Code::invalid);
  fs::remove(folder + "/references/link");
  std::ofstream(folder + "/run.sh") << "x";
  EXPECT_EQ(read_folder(system_disk(), folder).error().code, Code::invalid);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace claw::skill
