#include "detect/opener.h"

#include <algorithm>

#include "content/msgpack.h"

namespace claw::detect {
namespace {

using content::Format;

// Events as JSON text. Bytes are told as the characters U+0000 to U+00FF, so that equal ones stay equal.
class JsonText final : public content::Visitor {
 public:
  explicit JsonText(std::string& out) : out_(out) { out_.clear(); }

  void begin_object(std::size_t) override { value(), out_ += '{', fresh_ = true; }
  void key(std::string_view utf8, std::size_t) override { comma(), quoted(utf8, false), out_ += ':', fresh_ = true; }
  void end_object(std::size_t) override { out_ += '}', fresh_ = false; }
  void begin_array(std::size_t) override { value(), out_ += '[', fresh_ = true; }
  void end_array(std::size_t) override { out_ += ']', fresh_ = false; }
  void null(std::size_t) override { value(), out_ += "null"; }
  void boolean(bool yes, std::size_t) override { value(), out_ += yes ? "true" : "false"; }
  void number(std::string_view text, std::size_t) override { value(), out_ += text; }
  void string(std::string_view utf8, std::size_t) override { value(), quoted(utf8, false); }
  void bytes(std::string_view raw, std::size_t) override { value(), quoted(raw, true); }

 private:
  void comma() {
    if (!fresh_) out_ += ',';
    fresh_ = false;
  }
  void value() { comma(); }
  void quoted(std::string_view text, bool raw) {
    static constexpr char kHex[] = "0123456789abcdef";
    out_ += '"';
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') out_ += '\\', out_ += c;
      else if (byte < 0x20 || (raw && byte >= 0x7f)) out_ += "\\u00", out_ += kHex[byte >> 4], out_ += kHex[byte & 15];
      else out_ += c;
    }
    out_ += '"';
  }

  std::string& out_;
  bool fresh_ = true;  // nothing yet that a comma must part from the next
};

class Nobody final : public content::Visitor {
  void begin_object(std::size_t) override {}
  void key(std::string_view, std::size_t) override {}
  void end_object(std::size_t) override {}
  void begin_array(std::size_t) override {}
  void end_array(std::size_t) override {}
  void null(std::size_t) override {}
  void boolean(bool, std::size_t) override {}
  void number(std::string_view, std::size_t) override {}
  void string(std::string_view, std::size_t) override {}
  void bytes(std::string_view, std::size_t) override {}
};

bool is_binary(Format format) { return format == Format::msgpack || format == Format::protobuf || format == Format::avro; }

// JSON and text are read as they are, broken or not: the reader of features finds what is wrong with them, and where.
bool is_read_raw(const content::Decoded& decoded) {
  return decoded.stage == content::Stage::format && (decoded.format == Format::json || decoded.format == Format::text || decoded.format == Format::unknown);
}

std::string kind_of(const content::Decoded& decoded) {
  switch (decoded.stage) {
    case content::Stage::compression: return "unreadable_compression";
    case content::Stage::envelope: return "broken_envelope";
    case content::Stage::format: break;
  }
  return decoded.format == Format::msgpack ? "malformed_messagepack" : decoded.format == Format::protobuf ? "malformed_protobuf" : "malformed_avro";
}

std::string words_of(const content::ByteFacts& facts) {
  return "bytes" + (facts.magic.empty() ? "" : ", " + std::string(facts.magic)) + ", " + std::string(name(facts.charset)) + ", " + std::string(name(facts.entropy));
}

}  // namespace

void Opener::learn(std::span<const Field> fields) {
  Nobody nobody;
  const content::Decoded decoded = content::decode(fields, nobody, avro_.get());
  ++seen_;
  const bool wrapped = decoded.envelope.framework != content::Framework::none || decoded.compression != content::Compression::none || is_binary(decoded.format);
  wrapped_ += wrapped || decoded.envelope.facts.failed();
  messagepack_ += decoded.format == Format::msgpack;
  avro_seen_ += decoded.format == Format::avro;
}

void Opener::find_broken(content::Decoded& decoded) const {
  const bool guessed = decoded.envelope.format == Format::unknown && !decoded.flaw;
  const bool unread = decoded.format == Format::bytes || decoded.format == Format::text || decoded.format == Format::protobuf || (avro_ && decoded.format == Format::msgpack);
  if (!guessed || !unread) return;
  Nobody nobody;
  content::Emitter out(nobody);
  const Format usual = avro_seen_ * 2 > seen_ ? Format::avro : messagepack_ * 2 > seen_ ? Format::msgpack : Format::unknown;
  if (usual == Format::unknown || usual == decoded.format) return;
  const content::Decoding flaw = usual == Format::avro ? avro_->read(decoded.body(), out) : content::read_msgpack(decoded.body(), out);
  if (flaw) decoded.flaw = flaw, decoded.format = usual;
}

const Opened& Opener::open(std::span<const Field> fields) {
  JsonText writer(json_);
  content::Decoded decoded = content::decode(fields, writer, avro_.get());
  find_broken(decoded);
  opened_ = {.fields = std::move(opened_.fields), .defect = {}, .facts = decoded.envelope.facts};
  opened_.fields.assign(fields.begin(), fields.end());
  const std::string_view body = content::body_of(fields);
  const auto place = std::find_if(opened_.fields.begin(), opened_.fields.end(), [&](const Field& field) { return field.value.data() == body.data(); });
  if (place == opened_.fields.end()) return opened_;
  if (decoded.flaw && !is_read_raw(decoded)) {
    const std::string_view inside = decoded.stage == content::Stage::format ? decoded.body() : body;
    const std::size_t from = decoded.flaw->at > 40 ? std::min(decoded.flaw->at - 40, inside.size()) : 0;
    opened_.defect = content::Defect{.kind = kind_of(decoded), .path = {}, .what = std::string(decoded.flaw->what), .offset = decoded.flaw->at - from,
                                     .inner = std::string(inside.substr(from, 80)), .field = static_cast<std::size_t>(place - opened_.fields.begin())};
    if (opened_.defect->inner.empty()) opened_.defect->inner = " ";
    return opened_;
  }
  if (is_binary(decoded.format)) body_ = json_;
  else if (decoded.format == Format::bytes) body_ = words_of(decoded.bytes);
  else body_ = decoded.body();
  const std::size_t size = body_.size();
  body_.append(Batch::kPadding, '\0');
  place->value = std::string_view(body_).substr(0, size);
  if (decoded.envelope.framework == content::Framework::none || decoded.envelope.discriminator.empty()) return opened_;
  type_ = decoded.envelope.discriminator;
  const std::size_t length = type_.size();
  type_.append(Batch::kPadding, '\0');
  opened_.fields.push_back({"type of message", std::string_view(type_).substr(0, length)});
  return opened_;
}

}  // namespace claw::detect
