#include "testing/test_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace claw::testing {

std::vector<DataFile> test_data(const std::string& folder) {
  namespace fs = std::filesystem;
  const fs::path root = fs::path(CLAW_TEST_DATA) / folder;
  std::vector<DataFile> files;
  if (fs::is_directory(root))
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      files.push_back({fs::relative(entry.path(), root).string(), std::string(std::istreambuf_iterator<char>(file), {})});
    }
  std::sort(files.begin(), files.end(), [](const DataFile& a, const DataFile& b) { return a.name < b.name; });
  if (files.empty()) ADD_FAILURE() << "no test data in " << root;
  return files;
}

}  // namespace claw::testing
