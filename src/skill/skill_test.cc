#include "skill/skill.h"

#include <gtest/gtest.h>

#include <random>

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

// 100,000 skills: whatever stands in the numbers of one, what comes out is never wider than the engine allows. A text is refused
// or within the limits; a protocol that no loader would let through is cut down all the same.
TEST(Skill, no_skill_widens_a_limit) {
  const Limits engine;
  const auto within = [&](const Limits& limits, std::int64_t tenant, const std::string& what) {
    EXPECT_LE(limits.max_messages, engine.max_messages) << what;
    EXPECT_LE(limits.max_queue_bps, engine.max_queue_bps) << what;
    EXPECT_LE(limits.max_bytes, engine.max_bytes) << what;
    EXPECT_LE(limits.refuse_above_bps, engine.refuse_above_bps) << what;
    EXPECT_LE(limits.block_budget, engine.block_budget) << what;
    EXPECT_GE(limits.confidence_bps, std::max(engine.confidence_bps, tenant)) << what;
    EXPECT_LE(limits.waves_bps.front(), engine.waves_bps.front()) << what;
    return !::testing::Test::HasFailure();
  };
  for (const auto& [name, skill] : built_in()) within(effective_limits(skill.protocol, 0), 0, name);

  std::mt19937_64 random(20'261'128);
  const auto number = [&] { return random() >> (random() % 64); };
  const auto bps = [&] { return static_cast<std::int64_t>(number() % (random() % 2 == 0 ? 10'001 : 1'000'000)); };
  for (int i = 0; i < 98'000; ++i) {
    Protocol wild;
    wild.limits = {.max_messages = number(), .max_queue_bps = bps(), .max_bytes = number(), .refuse_above_bps = bps(), .confidence_bps = bps(), .waves_bps = {}, .block_budget = Millis(bps())};
    for (std::uint64_t w = 0; w < random() % 5; ++w) wild.limits.waves_bps.push_back(bps());
    const std::int64_t tenant = bps();
    ASSERT_TRUE(within(effective_limits(wild, tenant), tenant, std::to_string(i)));
  }
  int let_through = 0;
  for (int i = 0; i < 2'000; ++i) {
    std::string text = kGood;
    for (const char* key : {"max_messages: 50000", "max_bps_of_queue: 1000", "max_bytes: 1073741824", "confidence_bps: 9500", "share_bps: 100\n", "cooldown_s: 1800", "max_runtime_s: 900"}) {
      if (random() % 3 != 0) continue;
      const std::string_view line = key;
      text = replaced(text, line, std::string(line.substr(0, line.find(':') + 2)) + std::to_string(number() % 60'000) + (line.ends_with('\n') ? "\n" : ""));
    }
    const Linted linted = lint_text(text);
    if (!linted.skill) continue;
    ++let_through;
    const Limits& limits = linted.skill->protocol.limits;
    ASSERT_TRUE(within(effective_limits(linted.skill->protocol, 0), 0, text));
    ASSERT_EQ(limits.tightened(engine).max_messages, limits.max_messages) << "a wider number is refused, not cut down in silence";
    ASSERT_EQ(limits.tightened(engine).max_queue_bps, limits.max_queue_bps);
    ASSERT_EQ(limits.tightened(engine).max_bytes, limits.max_bytes);
  }
  EXPECT_GT(let_through, 100) << "a test in which every text is refused shows nothing";
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
