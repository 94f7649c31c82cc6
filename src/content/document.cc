#include "content/document.h"

#include <fmt/format.h>

#include <algorithm>

#include "content/decimal.h"
#include "content/read_json.h"

namespace claw::content {

void Document::clear() {
  nodes_.clear();
  open_.clear();
  text_.clear();
  key_ = key_size_ = 0;
}

std::uint32_t Document::keep(std::string_view text) {
  const auto start = static_cast<std::uint32_t>(text_.size());  // bounded by Limits::bytes
  text_ += text;
  return start;
}

void Document::key(std::string_view utf8, std::size_t) {
  key_ = keep(utf8);
  key_size_ = static_cast<std::uint32_t>(utf8.size());
}

Document::Node& Document::add(Kind kind, std::string_view text, std::size_t at) {
  if (!open_.empty()) ++nodes_[open_.back()].count;
  const auto index = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.kind = kind, .count = 0, .next = index + 1, .at = static_cast<std::uint32_t>(at), .text = keep(text),
                    .text_size = static_cast<std::uint32_t>(text.size()), .key = key_, .key_size = key_size_});
  key_ = key_size_ = 0;
  return nodes_.back();
}

void Document::open(Kind kind, std::size_t at) {
  add(kind, {}, at);
  open_.push_back(static_cast<std::uint32_t>(nodes_.size() - 1));
}

void Document::close(std::size_t at) {
  nodes_[open_.back()].text = static_cast<std::uint32_t>(at + 1);
  nodes_[open_.back()].next = static_cast<std::uint32_t>(nodes_.size());
  open_.pop_back();
}

std::optional<Value> Value::find(std::string_view key) const {
  std::optional<Value> found;
  if (kind() != Kind::object) return found;
  for (const Value member : *this)
    if (member.key() == key) found = member;
  return found;
}

bool Value::contains(Value other) const {
  return document_ == other.document_ && other.index_ >= index_ && other.index_ < document_->nodes_[index_].next;
}

std::string Value::pointer() const {
  std::string out;
  for (Value at = document_->root(); at != *this;) {
    std::uint32_t ordinal = 0;
    for (const Value child : at) {
      if (child.contains(*this)) {
        out += '/';
        if (at.kind() == Kind::array) out += fmt::format_int(ordinal).str();
        else
          for (const char c : child.key()) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
        at = child;
        break;
      }
      ++ordinal;
    }
  }
  return out;
}

Decoding read_json(std::string_view text, Document& out) {
  out.clear();
  Emitter emitter(out);
  return read_json(text, emitter);
}

namespace {

std::string string_class(std::string_view text) {
  if (text.empty()) return "an empty string";
  if (std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; })) return "a blank string";
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) return "a string of digits";
  if (Decimal::parse(text)) return "a string that spells a number";
  return "a string";
}

}  // namespace

std::string value_class(Value value) {
  switch (value.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return value.truth() ? "true" : "false";
    case Kind::number: {
      const auto number = Decimal::parse(value.text());
      if (!number) return "not a number";
      return fmt::format("{} {}", number->is_negative() ? "a negative" : number->is_integer() ? "an" : "a", number->is_integer() ? "integer" : "number with a fraction");
    }
    case Kind::string: return string_class(value.text());
    case Kind::bytes: return "bytes";
    case Kind::array: return value.size() == 0 ? "an empty array" : fmt::format("an array of {}", value.size());
    case Kind::object: return value.size() == 0 ? "an empty object" : "an object";
  }
  return {};
}

}  // namespace claw::content
