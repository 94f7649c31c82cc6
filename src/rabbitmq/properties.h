// The property bytes of an AMQP 0-9-1 message (specification 4.2.6.1 and 4.2.5.5): foreign bytes, read without copying.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace claw::rabbitmq {

// In the order of the wire; the first is flag bit 15.
enum class Property { content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to, expiration, message_id, timestamp, type, user_id, app_id, cluster_id };
inline constexpr std::size_t kProperties = 14;

// Each property that is present, as its bytes on the wire (strings and tables with their length). Views into the parsed bytes or
// into what set() was given.
class Properties {
 public:
  // Code::corrupt names the byte where they went wrong. Headers are checked to be a well-formed table.
  static Result<Properties> parse(std::string_view raw);
  std::string encode() const;

  bool has(Property p) const { return values_[static_cast<std::size_t>(p)].has_value(); }
  // A short string's text; empty when absent.
  std::string_view text(Property p) const;
  // The headers without their length; empty when absent.
  std::string_view headers() const;
  void drop(Property p) { values_[static_cast<std::size_t>(p)].reset(); }
  void set(Property p, std::string_view wire) { values_[static_cast<std::size_t>(p)] = wire; }

 private:
  std::array<std::optional<std::string_view>, kProperties> values_;
};

// Walks the entries of a table (or, without names, the items of an array). Bounded by the bytes; never recurses.
class TableCursor {
 public:
  enum class Kind { table, array };
  explicit TableCursor(std::string_view content, Kind kind = Kind::table) : rest_(content), kind_(kind) {}
  // False at the end and on malformed bytes: ok() tells which.
  bool next();
  bool ok() const { return ok_; }

  std::string_view name() const { return name_; }
  std::string_view entry() const { return entry_; }  // the whole entry: name, type and value
  char type() const { return type_; }                // 'S' string, 'F' table, 'A' array, 'l' integer, …
  std::string_view content() const { return content_; }  // value without its length prefix
  // An integer of any width; nullopt for other types.
  std::optional<std::int64_t> integer() const;

 private:
  std::string_view rest_, name_, entry_, content_;
  Kind kind_;
  char type_ = 0;
  bool ok_ = true;
};

// What is left of a well-formed table without the entries that `drop` names.
std::string table_without(std::string_view table, const std::function<bool(std::string_view name)>& drop);
// Appends name, type 'S' and text.
void put_string(std::string& table, std::string_view name, std::string_view text);
// The value of a string header; nullopt when there is none.
std::optional<std::string_view> header_text(std::string_view table, std::string_view name);
std::optional<std::int64_t> header_integer(std::string_view table, std::string_view name);
// A table or short string as a property's wire bytes.
std::string wire_table(std::string_view content);
std::string wire_short(std::string_view text);

}  // namespace claw::rabbitmq
