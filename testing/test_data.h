// Files under tests/data, for tests that judge by somebody else's examples.
#pragma once

#include <string>
#include <vector>

namespace claw::testing {

struct DataFile {
  std::string name;  // relative to the folder asked for: "y_array_empty.json", "draft7/ref.json"
  std::string bytes;
};

// Every file below tests/data/`folder`, sorted by name. Fails the running test and gives nothing when there is none.
std::vector<DataFile> test_data(const std::string& folder);

}  // namespace claw::testing
