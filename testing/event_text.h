// A visitor that writes what it is told: JSON as far as JSON goes, bytes as <hex>.
#pragma once

#include <fmt/format.h>

#include <string>

#include "base/digest.h"
#include "content/visitor.h"

namespace claw::testing {

class EventText final : public content::Visitor {
 public:
  const std::string& text() const { return text_; }

  void begin_object(std::size_t) override { put("{"); }
  void key(std::string_view utf8, std::size_t) override {
    put(fmt::format("\"{}\":", utf8));
    separate_ = false;
  }
  void end_object(std::size_t) override { close("}"); }
  void begin_array(std::size_t) override { put("["); }
  void end_array(std::size_t) override { close("]"); }
  void null(std::size_t) override { leaf("null"); }
  void boolean(bool value, std::size_t) override { leaf(value ? "true" : "false"); }
  void number(std::string_view text, std::size_t) override { leaf(std::string(text)); }
  void string(std::string_view utf8, std::size_t) override { leaf(fmt::format("\"{}\"", utf8)); }
  void bytes(std::string_view raw, std::size_t) override { leaf(fmt::format("<{}>", hex(raw))); }

 private:
  void put(const std::string& text) {
    if (separate_) text_ += ',';
    text_ += text;
    separate_ = false;
  }
  void leaf(const std::string& text) {
    put(text);
    separate_ = true;
  }
  void close(const char* mark) {
    text_ += mark;
    separate_ = true;
  }

  std::string text_;
  bool separate_ = false;
};

// What `read` says about a body, or "flaw at 12: cut off".
template <class Read>
std::string events(Read&& read) {
  EventText text;
  content::Emitter out(text);
  if (const content::Decoding flaw = read(out)) return fmt::format("flaw at {}: {}", flaw->at, flaw->what);
  return text.text();
}

}  // namespace claw::testing
