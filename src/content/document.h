// A decoded body as one flat array, for whoever must look at it more than once: contracts, envelopes, samples.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "content/visitor.h"

namespace claw::content {

enum class Kind : std::uint8_t { null, boolean, number, string, bytes, array, object };

class Document;

// One value of a document; a copyable pair of pointer and index, good as long as the document is not cleared or moved.
class Value {
 public:
  Kind kind() const;
  bool truth() const;              // boolean
  std::string_view text() const;   // number (as spelt), string, bytes
  std::uint32_t size() const;      // array, object: how many values, duplicate keys included
  std::size_t at() const;          // offset in the body
  std::size_t behind() const;      // array, object: offset behind the closing mark
  const Document* document() const { return document_; }
  std::uint32_t index() const { return index_; }
  bool operator==(const Value&) const = default;  // the same place, not an equal value

  // Elements or members in document order; `key()` of what an object holds.
  class Iterator;
  Iterator begin() const;
  Iterator end() const;
  std::string_view key() const;
  // The last member of that name, as most parsers have it.
  std::optional<Value> find(std::string_view key) const;
  // JSON pointer (RFC 6901) from the root of its document: "/a/0/b~1c".
  std::string pointer() const;
  bool contains(Value other) const;  // the same place, or inside

 private:
  friend class Document;
  friend class Iterator;
  Value(const Document* document, std::uint32_t index) : document_(document), index_(index) {}
  const Document* document_;
  std::uint32_t index_;
};

// Reusable: clear() keeps the storage. One thread writes; any number may read afterwards.
class Document final : public Visitor {
 public:
  void clear();
  // True once one whole value was seen.
  bool complete() const { return !nodes_.empty() && open_.empty(); }
  Value root() const { return Value(this, 0); }

  void begin_object(std::size_t at) override { open(Kind::object, at); }
  void key(std::string_view utf8, std::size_t at) override;
  void end_object(std::size_t at) override { close(at); }
  void begin_array(std::size_t at) override { open(Kind::array, at); }
  void end_array(std::size_t at) override { close(at); }
  void null(std::size_t at) override { add(Kind::null, {}, at); }
  void boolean(bool value, std::size_t at) override { add(Kind::boolean, {}, at).count = value; }
  void number(std::string_view text, std::size_t at) override { add(Kind::number, text, at); }
  void string(std::string_view utf8, std::size_t at) override { add(Kind::string, utf8, at); }
  void bytes(std::string_view raw, std::size_t at) override { add(Kind::bytes, raw, at); }

 private:
  friend class Value;
  struct Node {
    Kind kind = Kind::null;
    std::uint32_t count = 0;  // values inside; 1 for true
    std::uint32_t next = 0;   // index of the node behind this value
    std::uint32_t at = 0;
    std::uint32_t text = 0;   // into text_; of containers: offset behind the closing mark
    std::uint32_t text_size = 0;
    std::uint32_t key = 0;
    std::uint32_t key_size = 0;
  };
  Node& add(Kind kind, std::string_view text, std::size_t at);
  void open(Kind kind, std::size_t at);
  void close(std::size_t at);
  std::uint32_t keep(std::string_view text);

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> open_;
  std::string text_;
  std::uint32_t key_ = 0;
  std::uint32_t key_size_ = 0;
};

class Value::Iterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = Value;
  using pointer = void;
  using reference = Value;
  using iterator_category = std::input_iterator_tag;
  Value operator*() const { return at_; }
  Iterator& operator++();
  bool operator==(const Iterator& other) const { return at_ == other.at_; }

 private:
  friend class Value;
  explicit Iterator(Value at) : at_(at) {}
  Value at_;
};

// Strict JSON into `out`, which is cleared first.
Decoding read_json(std::string_view text, Document& out);

// "an integer", "a string of digits", "an empty string", "an array of 3": the class of a value in words, never the value.
std::string value_class(Value value);

inline Kind Value::kind() const { return document_->nodes_[index_].kind; }
inline bool Value::truth() const { return document_->nodes_[index_].count != 0; }
inline std::uint32_t Value::size() const { return document_->nodes_[index_].count; }
inline std::size_t Value::at() const { return document_->nodes_[index_].at; }
inline std::size_t Value::behind() const { return document_->nodes_[index_].text; }
inline std::string_view Value::text() const {
  const Document::Node& node = document_->nodes_[index_];
  if (node.text_size == 0) return {};
  return std::string_view(document_->text_).substr(node.text, node.text_size);
}
inline std::string_view Value::key() const {
  const Document::Node& node = document_->nodes_[index_];
  return std::string_view(document_->text_).substr(node.key, node.key_size);
}
inline Value::Iterator Value::begin() const { return Iterator(Value(document_, index_ + 1)); }
inline Value::Iterator Value::end() const {
  const bool leaf = kind() != Kind::array && kind() != Kind::object;
  return Iterator(Value(document_, leaf ? index_ + 1 : document_->nodes_[index_].next));
}
inline Value::Iterator& Value::Iterator::operator++() {
  at_.index_ = at_.document_->nodes_[at_.index_].next;
  return *this;
}

}  // namespace claw::content
