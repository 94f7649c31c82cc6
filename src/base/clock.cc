#include "base/clock.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <limits>
#include <thread>

namespace claw {
namespace {

class SystemClock final : public Clock {
 public:
  WallTime now() const override {
    return std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
  }
  MonoTime mono() const override { return std::chrono::steady_clock::now(); }
  void sleep(Millis duration) override { std::this_thread::sleep_for(duration); }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

Millis Deadline::remaining(const Clock& clock) const {
  return std::max(Millis(0), std::chrono::ceil<Millis>(at_ - clock.mono()));
}

std::string rfc3339(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, used = 0;
  const std::string copy(text);
  const int got = std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &year, &month, &day, &hour,
                              &minute, &second, &used);
  const auto date = std::chrono::year(year) / month / day;
  if (got != 6 || static_cast<std::size_t>(used) != copy.size() || !date.ok() || hour > 23 ||
      minute > 59 || second > 60 || hour < 0 || minute < 0 || second < 0) {
    return make_error(Code::invalid, "time", "expected a time like 2025-01-18T14:32:17Z");
  }
  return WallTime(std::chrono::sys_days(date) + std::chrono::hours(hour) +
                  std::chrono::minutes(minute) + std::chrono::seconds(second));
}

Result<Millis> parse_duration(std::string_view text) {
  const Error wrong = make_error(Code::invalid, "duration",
                                 "expected a number and one unit of ms, s, m, h or d, like 90s or 5m");
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || number < 0) return wrong;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  std::int64_t scale = 0;
  if (unit == "ms") scale = 1;
  else if (unit == "s") scale = 1000;
  else if (unit == "m") scale = 60'000;
  else if (unit == "h") scale = 3'600'000;
  else if (unit == "d") scale = 86'400'000;
  else return wrong;
  constexpr std::int64_t kCentury = 3'155'760'000'000;
  if (number > kCentury / scale) return wrong;
  return Millis(number * scale);
}

std::string human(Millis duration) {
  const std::int64_t ms = duration.count();
  if (ms < 1000) return fmt::format("{}ms", ms);
  const std::int64_t s = ms / 1000;
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return s % 60 ? fmt::format("{}m {:02}s", s / 60, s % 60) : fmt::format("{}m", s / 60);
  if (s < 86400) return s / 60 % 60 ? fmt::format("{}h {:02}m", s / 3600, s / 60 % 60) : fmt::format("{}h", s / 3600);
  return s / 3600 % 24 ? fmt::format("{}d {:02}h", s / 86400, s / 3600 % 24) : fmt::format("{}d", s / 86400);
}

Millis elapsed(MonoTime from, MonoTime to) { return std::max(Millis(0), std::chrono::ceil<Millis>(to - from)); }

}  // namespace claw
