// The legal order of records within each execution, checked one entry at a time. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace claw::audit {

class OrderCheck {
 public:
  // Empty when the entry is canonical and legal here, else the reason in words.
  std::string take(std::string_view entry);

 private:
  struct Execution {
    std::int64_t next = 0;
    bool snapshot = false;
    std::set<std::int64_t> intents;  // waves; a record without a wave counts as wave -1
  };
  std::map<std::string, Execution> executions_;
};

}  // namespace claw::audit
