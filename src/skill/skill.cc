#include "skill/skill.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/digest.h"
#include "base/text.h"

namespace claw::skill {
namespace {

using yaml::Node;

constexpr std::string_view kFile = "SKILL.md";
constexpr std::string_view kFence = "```yaml claw-protocol/v1";
constexpr std::size_t kMostBodyLines = 500;

struct Line {
  int number;
  std::string_view text;
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    lines.push_back({number, text.substr(0, end)});
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

// Where a file is in two parts: the front matter between two lines of '---', and the body after it.
struct Parts {
  std::string front;
  int front_line = 2;
  std::vector<Line> body;
};

class Linter {
 public:
  explicit Linter(const Folder& folder) : folder_(folder) {}

  Linted run() {
    const auto file = folder_.files.find(std::string(kFile));
    if (file == folder_.files.end()) return fail(1, "file.missing", "there is no SKILL.md");
    if (file->second.size() > kMaxSkillFile) return fail(1, "file.size", fmt::format("larger than {} KiB", kMaxSkillFile / 1024));
    plain_text(file->second);
    Parts parts;
    split(file->second, parts);
    if (out_.problems.empty()) front_matter(parts);
    if (out_.problems.empty()) protocol(parts);
    std::stable_sort(out_.problems.begin(), out_.problems.end(), [](const Problem& a, const Problem& b) { return a.line < b.line; });
    if (!out_.problems.empty()) return std::move(out_);
    skill_.folder_hash = folder_hash();
    out_.skill = std::move(skill_);
    return std::move(out_);
  }

 private:
  void problem(int line, std::string rule, std::string text) { out_.problems.push_back({line, std::move(rule), std::move(text)}); }
  Linted fail(int line, std::string rule, std::string text) {
    problem(line, std::move(rule), std::move(text));
    return std::move(out_);
  }

  // What a reader cannot see must not be there: control, bidi and zero-width characters, tabs, invalid UTF-8.
  void plain_text(std::string_view text) {
    for (const Line& line : lines_of(text)) {
      const std::string seen = escape(line.text);
      if (line.text.find('\t') != line.text.npos) problem(line.number, "file.tab", "a tab; expected spaces");
      else if (seen != line.text) problem(line.number, "file.hidden-character", fmt::format("hidden or invalid characters: {}", escape(line.text, 60)));
    }
  }

  void split(std::string_view text, Parts& parts) {
    const std::vector<Line> lines = lines_of(text);
    if (lines.empty() || lines[0].text != "---") return problem(1, "front.missing", "expected '---' on the first line");
    const auto end = std::find_if(lines.begin() + 1, lines.end(), [](const Line& line) { return line.text == "---"; });
    if (end == lines.end()) return problem(1, "front.missing", "the front matter has no end: expected a line '---'");
    for (auto line = lines.begin() + 1; line != end; ++line) parts.front.append(line->text).append("\n");
    parts.body.assign(end + 1, lines.end());
    if (parts.body.size() > kMostBodyLines) problem(parts.body[kMostBodyLines].number, "body.length", fmt::format("the body has more than {} lines", kMostBodyLines));
  }

  void yaml_problem(const Error& error) {
    // "SKILL.md:12: what"
    std::string_view detail = error.detail;
    detail.remove_prefix(std::min(detail.size(), kFile.size() + 1));
    int line = 0;
    while (!detail.empty() && detail[0] >= '0' && detail[0] <= '9') {
      line = line * 10 + (detail[0] - '0');
      detail.remove_prefix(1);
    }
    problem(line, "yaml", std::string(detail.substr(std::min<std::size_t>(2, detail.size()))));
  }

  std::string text(const Node& node, std::string_view key, std::size_t most) {
    if (node.kind != Node::Kind::scalar || node.text.empty() || node.text.size() > most)
      problem(node.line, "front.text", fmt::format("{}: expected text of 1 to {} bytes", key, most));
    if (node.text.find("---") != node.text.npos) problem(node.line, "front.dashes", fmt::format("{}: '---' breaks other readers of this format", key));
    return node.text;
  }

  void front_matter(const Parts& parts) {
    for (const Line& line : lines_of(parts.front))
      if (line.text.find('{') != line.text.npos) problem(parts.front_line + line.number - 1, "front.flow", "flow style breaks other readers of this format: write a block");
    const auto root = yaml::parse(parts.front, {.file = std::string(kFile), .first_line = parts.front_line, .op = "skill"});
    if (!root.ok()) return yaml_problem(root.error());
    if (root->kind != Node::Kind::map) return problem(parts.front_line, "front.type", "expected a map");
    for (const auto& [key, value] : root->entries) {
      if (key == "name") skill_.name = text(value, key, 64);
      else if (key == "description") skill_.description = text(value, key, 1024);
      else if (key == "license") skill_.license = text(value, key, 200);
      else if (key == "compatibility") skill_.compatibility = text(value, key, 500);
      else if (key == "allowed-tools") skill_.allowed_tools = text(value, key, 500);
      else if (key == "metadata") metadata(value);
      else problem(value.line, "front.unknown-key", fmt::format("unknown key '{}'; expected name, description, license, compatibility, metadata, allowed-tools", escape(key, 40)));
    }
    check_name(parts.front_line);
    if (skill_.description.empty()) problem(parts.front_line, "front.missing", "'description' is missing");
  }

  void metadata(const Node& node) {
    if (node.kind != Node::Kind::map || node.entries.size() > 32) return problem(node.line, "front.metadata", "expected a map of at most 32 texts");
    for (const auto& [key, value] : node.entries) skill_.metadata[key] = text(value, "metadata", 500);
  }

  void check_name(int line) {
    const std::string& name = skill_.name;
    const bool letters = std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
    if (name.empty() || !letters || name.starts_with('-') || name.ends_with('-') || name.find("--") != name.npos)
      problem(line, "front.name", "expected a name of 1 to 64 of a-z, 0-9 and single hyphens");
    else if (name != folder_.name) problem(line, "front.name", fmt::format("the name is '{}', its folder is '{}'", name, escape(folder_.name, 64)));
  }

  // Exactly one fenced block is the protocol; other fenced blocks are prose.
  void protocol(const Parts& parts) {
    int first_line = 0;
    std::string_view fence;
    bool ours = false;
    for (const Line& line : parts.body) {
      const std::size_t ticks = std::min(line.text.find_first_not_of('`'), line.text.size());
      if (fence.empty()) {
        if (line.text.find("claw-protocol") != line.text.npos && line.text.find("```") != line.text.npos && line.text != kFence)
          return problem(line.number, "block.fence", fmt::format("expected exactly '{}'", kFence));
        if (ticks < 3) continue;
        fence = line.text.substr(0, ticks);
        ours = line.text == kFence;
        if (ours && first_line != 0) return problem(line.number, "block.one", "a second protocol block: there is exactly one");
        if (ours) first_line = line.number + 1;
      } else if (ticks >= fence.size() && line.text.find_first_not_of("` ") == line.text.npos) {
        fence = {};
        ours = false;
      } else if (ours) {
        skill_.block.append(line.text).append("\n");
      }
    }
    if (!fence.empty()) return problem(parts.body.back().number, "block.fence", "a fenced block has no end");
    if (first_line == 0) return problem(1, "block.one", fmt::format("there is no block '{}'", kFence));
    check_block(first_line);
  }

  void check_block(int first_line) {
    const auto root = yaml::parse(skill_.block, {.file = std::string(kFile), .first_line = first_line, .op = "skill"});
    if (!root.ok()) return yaml_problem(root.error());
    Checked checked = check_protocol(*root);
    for (Problem& p : checked.problems) out_.problems.push_back(std::move(p));
    if (checked.protocol) skill_.protocol = std::move(*checked.protocol);
    skill_.block_hash = sha256_label(skill_.block);
  }

  std::string folder_hash() const {
    std::string list;
    for (const auto& [path, bytes] : folder_.files) list += fmt::format("{}  {}/{}\n", hex(sha256(bytes)), folder_.name, path);
    return "h1:" + base64(view(sha256(list)));
  }

  const Folder& folder_;
  Linted out_;
  Skill skill_;
};

Status read_file(Disk& disk, const std::string& path, const std::string& name, Folder& out) {
  if (std::filesystem::is_symlink(path)) return make_error(Code::invalid, "read skill " + path, "is a symbolic link; a skill is plain files");
  if (out.files.size() == kMaxSkillFiles) return make_error(Code::invalid, "read skill " + path, fmt::format("more than {} files", kMaxSkillFiles));
  CLAW_TRY_ASSIGN(out.files[name], disk.read_all(path, kMaxSkillFile));
  return {};
}

}  // namespace

Result<Folder> read_folder(Disk& disk, const std::string& path) {
  Folder out;
  out.name = std::filesystem::path(path).filename().string();
  CLAW_TRY_ASSIGN(const auto names, disk.list(path));
  for (const std::string& name : names) {
    if (name == kFile) {
      CLAW_TRY(read_file(disk, path + "/" + name, name, out));
      continue;
    }
    if (name != "scripts" && name != "references" && name != "assets")
      return make_error(Code::invalid, "read skill " + path, fmt::format("'{}' does not belong here; expected SKILL.md, scripts, references, assets", escape(name, 60)));
    if (std::filesystem::is_symlink(path + "/" + name)) return make_error(Code::invalid, "read skill " + path, fmt::format("'{}' is a symbolic link", name));
    CLAW_TRY_ASSIGN(const auto inner, disk.list(path + "/" + name));
    for (const std::string& file : inner) CLAW_TRY(read_file(disk, path + "/" + name + "/" + file, name + "/" + file, out));
  }
  return out;
}

Linted lint(const Folder& folder) { return Linter(folder).run(); }

Result<Skill> load(const Folder& folder) {
  Linted linted = lint(folder);
  if (linted.skill) return std::move(*linted.skill);
  std::string detail;
  for (const Problem& p : linted.problems) detail += fmt::format("{}{}:{}: [{}] {}", detail.empty() ? "" : "\n", kFile, p.line, p.rule, p.text);
  return make_error(Code::invalid, "skill " + folder.name, detail);
}

Limits effective_limits(const Protocol& protocol, std::int64_t tenant_confidence_bps) {
  Limits limits = protocol.limits.tightened(Limits{});
  if (!protocol.limits.waves_bps.empty() && protocol.limits.waves_bps.front() <= Limits{}.waves_bps.front()) limits.waves_bps = protocol.limits.waves_bps;
  limits.confidence_bps = std::max(limits.confidence_bps, tenant_confidence_bps);
  return limits;
}

}  // namespace claw::skill
