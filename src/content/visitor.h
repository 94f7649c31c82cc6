// What every decoder says about a body, event by event, and the limits that hold for all of them.
//
// JSON, MessagePack, Avro and Protobuf speak the same events, so whoever looks at content (feature rows, contracts,
// samples) is written once. Pure: no thread, clock, socket or file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace claw::content {

// Events come in document order and nest properly; a key comes right before its value; the same key may come twice.
// `at` is the offset of the first byte of the value (or of the closing mark) in the body that is decoded. Text is valid
// during the call only.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void begin_object(std::size_t at) = 0;
  virtual void key(std::string_view utf8, std::size_t at) = 0;
  virtual void end_object(std::size_t at) = 0;
  virtual void begin_array(std::size_t at) = 0;
  virtual void end_array(std::size_t at) = 0;
  virtual void null(std::size_t at) = 0;
  virtual void boolean(bool value, std::size_t at) = 0;
  // As JSON spells it: "-12", "0.5e3", never rounded. Binary formats also know "NaN", "Infinity" and "-Infinity".
  virtual void number(std::string_view text, std::size_t at) = 0;
  virtual void string(std::string_view utf8, std::size_t at) = 0;
  virtual void bytes(std::string_view raw, std::size_t at) = 0;
};

inline constexpr std::uint32_t kMaxDepth = 64;  // open objects and arrays

struct Limits {
  std::uint32_t depth = kMaxDepth;      // never more
  std::uint64_t events = 1u << 20;
  std::uint64_t bytes = 16u << 20;      // keys, strings, bytes and numbers in all
};

// Why a body is not what its decoder reads; the first such place.
struct Flaw {
  std::string_view what;  // a literal: "string not closed", "nested deeper than 64"
  std::size_t at = 0;
};
using Decoding = std::optional<Flaw>;  // nothing: the whole body was read

// The one gate between a decoder and a visitor: counts, and says no beyond a limit. After a no nothing more is passed
// on; the decoder returns `flaw()`. One body, one thread.
class Emitter {
 public:
  explicit Emitter(Visitor& visitor, Limits limits = {}) : visitor_(visitor), left_(limits) {
    if (left_.depth > kMaxDepth) left_.depth = kMaxDepth;
  }

  bool begin_object(std::size_t at) { return enter(at) && (visitor_.begin_object(at), true); }
  bool key(std::string_view utf8, std::size_t at) { return spend(utf8.size(), at) && (visitor_.key(utf8, at), true); }
  bool end_object(std::size_t at) { return leave(at) && (visitor_.end_object(at), true); }
  bool begin_array(std::size_t at) { return enter(at) && (visitor_.begin_array(at), true); }
  bool end_array(std::size_t at) { return leave(at) && (visitor_.end_array(at), true); }
  bool null(std::size_t at) { return spend(0, at) && (visitor_.null(at), true); }
  bool boolean(bool value, std::size_t at) { return spend(0, at) && (visitor_.boolean(value, at), true); }
  bool number(std::string_view text, std::size_t at) { return spend(text.size(), at) && (visitor_.number(text, at), true); }
  bool string(std::string_view utf8, std::size_t at) { return spend(utf8.size(), at) && (visitor_.string(utf8, at), true); }
  bool bytes(std::string_view raw, std::size_t at) { return spend(raw.size(), at) && (visitor_.bytes(raw, at), true); }

  const Decoding& flaw() const { return flaw_; }

 private:
  bool spend(std::uint64_t bytes, std::size_t at) {
    if (flaw_) return false;
    if (left_.events == 0) return refuse("more parts than one body may have", at);
    if (bytes > left_.bytes) return refuse("more text than one body may have", at);
    --left_.events;
    left_.bytes -= bytes;
    return true;
  }
  bool enter(std::size_t at) {
    if (left_.depth == 0) return refuse("nested too deep", at);
    if (!spend(0, at)) return false;
    --left_.depth;
    return true;
  }
  bool leave(std::size_t at) {
    if (!spend(0, at)) return false;
    ++left_.depth;
    return true;
  }
  bool refuse(std::string_view what, std::size_t at) {
    if (!flaw_) flaw_ = Flaw{what, at};
    return false;
  }

  Visitor& visitor_;
  Limits left_;
  Decoding flaw_;
};

}  // namespace claw::content
