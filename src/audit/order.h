// The legal order of records within each execution, and the sums that must hold between them, one entry at a time. Pure.
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
    bool open = false;
    std::string plan_hash;                          // empty until the plan is there
    std::int64_t planned = 0;                       // messages, of the plan
    std::int64_t queues = 0;
    std::set<std::string> snapshots;                // queues
    std::map<std::int64_t, std::int64_t> intents;   // wave → messages it may touch
    bool closed = false;
    std::int64_t removed = 0;                       // of the close
    std::int64_t restored = 0;
  };
  struct Record;

  static std::string opened(Execution& execution, const Record& record);
  static std::string plan(Execution& execution, const Record& record);
  static std::string approval(Execution& execution, const Record& record);
  static std::string snapshot(Execution& execution, const Record& record);
  static std::string intent(Execution& execution, const Record& record);
  static std::string result(Execution& execution, const Record& record);
  static std::string guard(Execution& execution, const Record& record);
  static std::string rollback(Execution& execution, const Record& record);
  static std::string close(Execution& execution, const Record& record);

  std::map<std::string, Execution> executions_;
};

}  // namespace claw::audit
