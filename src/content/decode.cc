#include "content/decode.h"

#include <algorithm>

#include "content/msgpack.h"
#include "content/protobuf.h"
#include "content/read_json.h"

namespace claw::content {
namespace {

class Silence final : public Visitor {
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

// A map or a list, read to its last byte: a lone small integer is MessagePack too, and proves nothing.
bool looks_like_msgpack(std::string_view body) {
  constexpr std::size_t kFewestBytes = 4;
  if (body.size() < kFewestBytes) return false;
  const auto first = static_cast<unsigned char>(body[0]);
  if (!(first >= 0x80 && first <= 0x9f) && !(first >= 0xdc && first <= 0xdf)) return false;
  Silence nobody;
  Emitter out(nobody);
  return !read_msgpack(body, out);
}

bool is_text(std::string_view body) {
  const Charset charset = byte_facts(body).charset;
  return charset == Charset::ascii || charset == Charset::utf8;
}

// JSON is claimed by its first byte alone, so that a broken document is a broken document and not some text.
// A bare datum of Avro has no mark: it is one when the schema reads it to the last byte.
Format guess(std::string_view body, const AvroSchema* schema, const Envelope& envelope) {
  if (schema && (envelope.schema_id || body.starts_with(kAvroSingleObject))) return Format::avro;
  if (schema && !body.empty()) {
    Silence nobody;
    Emitter out(nobody);
    if (!schema->read(body, out)) return Format::avro;
  }
  const std::size_t first = body.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (body[first] == '{' || body[first] == '[')) return Format::json;
  if (looks_like_msgpack(body)) return Format::msgpack;
  if (is_text(body)) return Format::text;
  return looks_like_protobuf(body) ? Format::protobuf : Format::bytes;
}

void read_plain(Decoded& decoded, Emitter& out) {
  const std::string_view body = decoded.body();
  if (decoded.format == Format::text && is_text(body)) {
    decoded.text_template = text_template(body);
    out.string(body, 0);
    decoded.flaw = out.flaw();
    return;
  }
  if (decoded.format == Format::text) decoded.flaw = Flaw{"declared text, and is none", 0};
  decoded.bytes = byte_facts(body);
  if (!decoded.flaw && !out.bytes(body, 0)) decoded.flaw = out.flaw();
}

void read_format(Decoded& decoded, Emitter& out, const AvroSchema* schema) {
  const std::string_view body = decoded.body();
  decoded.format = decoded.envelope.format == Format::unknown ? guess(body, schema, decoded.envelope) : decoded.envelope.format;
  if (decoded.format == Format::avro && !schema) decoded.format = Format::bytes;
  switch (decoded.format) {
    case Format::json: decoded.flaw = read_json(body, out); return;
    case Format::msgpack: decoded.flaw = read_msgpack(body, out); return;
    case Format::protobuf: decoded.flaw = read_protobuf(body, out); return;
    case Format::avro: decoded.flaw = body.starts_with(kAvroSingleObject) && !decoded.envelope.schema_id ? schema->read_single_object(body, out) : schema->read(body, out); return;
    case Format::text: case Format::bytes: case Format::unknown: read_plain(decoded, out); return;
  }
}

void fail(Decoded& decoded, Stage stage, const Flaw& flaw) {
  decoded.flaw = flaw;
  decoded.stage = stage;
}

// One layer in all: around the envelope, as a header declares, or else inside it, as the envelope does.
bool undo_compression(Decoded& decoded, std::string_view encoding, std::string_view body) {
  const auto how = declared_compression(encoding);
  if (!how) return fail(decoded, Stage::compression, {"declared compression that is not known here", 0}), false;
  decoded.compression = *how;
  if (*how == Compression::none) return true;
  auto plain = inflate(*how, body);
  if (const Flaw* flaw = std::get_if<Flaw>(&plain)) return fail(decoded, Stage::compression, *flaw), false;
  decoded.inflated = std::make_unique<const std::string>(std::get<std::string>(std::move(plain)));
  return true;
}

std::string_view header_encoding(std::span<const Field> fields) {
  constexpr std::string_view names[] = {"content-encoding", "content_encoding", "Content-Encoding", "ContentEncoding"};
  for (const Field& field : fields)
    if (std::find(std::begin(names), std::end(names), field.name) != std::end(names)) return field.value;
  return {};
}

void decode_into(Decoded& decoded, std::span<const Field> fields, Visitor& visitor, const AvroSchema* schema) {
  const std::string_view body = body_of(fields);
  const auto around = declared_compression(header_encoding(fields));
  if (around && *around != Compression::none) {
    if (!undo_compression(decoded, header_encoding(fields), body)) return;
    decoded.envelope = open_envelope(fields, *decoded.inflated);
  } else {
    decoded.envelope = open_envelope(fields, body);
    if (decoded.envelope.flaw) return fail(decoded, Stage::envelope, *decoded.envelope.flaw);
    // Kombu says "binary" where a body is merely not text.
    if (decoded.envelope.encoding != "binary" && !undo_compression(decoded, decoded.envelope.encoding, decoded.envelope.body)) return;
    decoded.inflated_inside = decoded.compression != Compression::none;
  }
  if (decoded.envelope.flaw) return fail(decoded, Stage::envelope, *decoded.envelope.flaw);
  Emitter out(visitor);
  read_format(decoded, out, schema);
}

}  // namespace

Decoded decode(std::span<const Field> fields, Visitor& out, const AvroSchema* schema) {
  Decoded decoded;
  decode_into(decoded, fields, out, schema);
  return decoded;
}

}  // namespace claw::content
