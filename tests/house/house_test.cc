// The rules of the house as a test: what nothing checks does not stay true.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = CLAW_SOURCE_DIR;

std::string slurp(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// module → modules it may include, read from the table that builds the program.
std::map<std::string, std::set<std::string>> table() {
  std::map<std::string, std::set<std::string>> modules;
  const std::string text = slurp(kRoot / "cmake/Modules.cmake");
  const std::regex row(R"(\nclaw_module\((\w+)(?: DEPS ([a-z ]+?))?(?: LIBS [^)]*)?\))");
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it) {
    std::istringstream words((*it)[2].str());
    auto& allowed = modules[(*it)[1].str()];
    for (std::string word; words >> word;) allowed.insert(word);
    allowed.insert((*it)[1].str());
  }
  return modules;
}

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".h" || entry.path().extension() == ".cc") files.push_back(entry.path());
  return files;
}

bool is_test(const fs::path& path) { return path.stem().string().ends_with("_test"); }

std::vector<std::string> offences(const std::map<std::string, std::set<std::string>>& modules) {
  std::vector<std::string> found;
  const std::regex include(R"re(^\s*#include "([a-z]+)/)re");
  for (const fs::path& path : sources(kRoot / "src")) {
    const std::string module = fs::relative(path, kRoot / "src").begin()->string();
    if (module == "main") continue;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      const std::string target = match[1].str();
      if (target == "testing" && is_test(path)) continue;
      const auto row = modules.find(module);
      if (row == modules.end() || !row->second.contains(target))
        found.push_back(fs::relative(path, kRoot).string() + " includes " + target);
    }
  }
  return found;
}

TEST(House, modules_include_only_what_the_table_allows) {
  const auto modules = table();
  ASSERT_GE(modules.size(), 14u);
  for (const std::string& offence : offences(modules)) ADD_FAILURE() << offence;
}

TEST(House, the_table_test_can_fail) {
  auto modules = table();
  modules["model"].erase("base");
  EXPECT_FALSE(offences(modules).empty());
}

TEST(House, the_table_has_no_cycle) {
  const auto modules = table();
  std::set<std::string> done;
  for (std::size_t round = 0; round <= modules.size(); ++round)
    for (const auto& [name, deps] : modules) {
      bool ready = true;
      for (const std::string& dep : deps) ready &= dep == name || done.contains(dep);
      if (ready) done.insert(name);
    }
  EXPECT_EQ(done.size(), modules.size());
}

TEST(House, heavy_headers_stay_in_source_files) {
  const std::regex heavy(R"(#include <(nlohmann/json\.hpp|sqlite3\.h|openssl/|sodium\.h|simdjson\.h|yaml\.h|CLI/|httplib\.h|curl/|amqpzstd\.h))");
  for (const fs::path& path : sources(kRoot / "src")) {
    if (path.extension() != ".h") continue;
    EXPECT_FALSE(std::regex_search(slurp(path), heavy)) << path;
  }
}

TEST(House, adapters_are_named_only_in_main) {
  for (const fs::path& path : sources(kRoot / "src")) {
    const std::string module = fs::relative(path, kRoot / "src").begin()->string();
    if (module == "main") continue;
    for (const std::string adapter : {"redis", "rabbitmq", "sqs"})
      EXPECT_TRUE(module == adapter || slurp(path).find("claw::" + adapter) == std::string::npos) << path;
  }
}

TEST(House, only_base_reads_the_clock) {
  for (const fs::path& path : sources(kRoot / "src")) {
    if (fs::relative(path, kRoot / "src").begin()->string() == "base") continue;
    EXPECT_EQ(slurp(path).find("::now()"), std::string::npos) << path;
  }
}

TEST(House, there_is_no_purge) {
  const std::regex purge(R"(\b(FLUSHALL|FLUSHDB|PurgeQueue|queue\.purge|amqp_queue_purge)\b)");
  for (const fs::path& path : sources(kRoot / "src")) EXPECT_FALSE(std::regex_search(slurp(path), purge)) << path;
}

TEST(House, no_folder_is_called_utils) {
  for (const auto& entry : fs::directory_iterator(kRoot / "src")) {
    const std::string name = entry.path().filename().string();
    for (const char* banned : {"utils", "common", "helpers", "manager"}) EXPECT_NE(name, banned);
  }
}

}  // namespace
