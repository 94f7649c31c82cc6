// SKILL.md files: what people read is what runs, and one hash covers both.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "skill/protocol.h"

namespace claw::skill {

struct Skill {
  std::string name;
  std::string description;
  std::string license;
  std::string compatibility;
  std::map<std::string, std::string> metadata;
  std::string allowed_tools;
  Protocol protocol;
  std::string block;        // the protocol's text as it stands in the file
  std::string block_hash;   // "sha256:<64 hex>" of it
  std::string folder_hash;  // "h1:<base64>" as golang.org/x/mod/sumdb/dirhash computes it, names "<skill>/<path>"
};

// A folder's files, read once; everything after that works on this memory.
struct Folder {
  std::string name;                          // of the skill: the folder's own name
  std::map<std::string, std::string> files;  // by path within the folder, with '/'
};

inline constexpr std::size_t kMaxSkillFile = 256 * 1024;
inline constexpr std::size_t kMaxSkillFiles = 64;

// Reads SKILL.md and the files of scripts/, references/ and assets/. Symbolic links, other folders, more than kMaxSkillFiles
// files and files above kMaxSkillFile are Code::invalid.
Result<Folder> read_folder(Disk& disk, const std::string& path);

struct Linted {
  std::optional<Skill> skill;     // only without problems
  std::vector<Problem> problems;  // by line
};
Linted lint(const Folder& folder);

// The same as an error that lists the problems: "SKILL.md:12: [waves.first] …".
Result<Skill> load(const Folder& folder);

// What holds when a tenant runs this skill: the strictest of the engine's, the skill's and the tenant's word, member by member.
// The waves are the skill's own: the loader lets none through that are wider than the engine's.
Limits effective_limits(const Protocol& protocol, std::int64_t tenant_confidence_bps);

// The skills that the program brings along, by name. Valid by test; a broken one ends the program.
const std::map<std::string, Skill>& built_in();

}  // namespace claw::skill
