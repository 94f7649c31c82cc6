#include "content/inflate.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

#include "base/result.h"

namespace claw::content {
namespace {

constexpr std::size_t kPiece = 64u << 10;

std::size_t allowed(std::string_view body) { return std::min(kMaxInflated, body.size() * kMaxInflateRatio); }

Flaw too_large(std::string_view body) {
  return {body.size() * kMaxInflateRatio < kMaxInflated ? "inflates more than a hundredfold" : "inflates to more than 16 MiB", 0};
}

struct Inflater {
  z_stream stream{};
  // 32: gzip or zlib by its header, for Celery (kombu) calls a zlib stream application/x-gzip.
  Inflater() { CLAW_CHECK(inflateInit2(&stream, 32 + MAX_WBITS) == Z_OK); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

// RFC 1952 or RFC 1950: one or more members, nothing behind the last.
std::variant<std::string, Flaw> gunzip(std::string_view body) {
  Inflater z;
  z.stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  z.stream.avail_in = static_cast<uInt>(body.size());
  std::string out;
  const auto at = [&] { return body.size() - z.stream.avail_in; };
  for (;;) {
    const std::size_t before = out.size();
    out.resize(before + kPiece);
    z.stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    z.stream.avail_out = kPiece;
    const int state = ::inflate(&z.stream, Z_NO_FLUSH);
    out.resize(out.size() - z.stream.avail_out);
    if (out.size() > allowed(body)) return too_large(body);
    if (state == Z_STREAM_END) {
      if (z.stream.avail_in == 0) return out;
      inflateReset(&z.stream);
    } else if (state != Z_OK) {
      return Flaw{z.stream.avail_in == 0 ? "gzip cut off" : "not gzip, or damaged", at()};
    }
  }
}

std::variant<std::string, Flaw> unzstd(std::string_view body) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  CLAW_CHECK(context != nullptr);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 24);  // 16 MiB: a larger window is a larger body
  ZSTD_inBuffer in{body.data(), body.size(), 0};
  std::string out;
  for (;;) {
    const std::size_t before = out.size();
    out.resize(before + kPiece);
    ZSTD_outBuffer piece{out.data() + before, kPiece, 0};
    const std::size_t state = ZSTD_decompressStream(context.get(), &piece, &in);
    out.resize(before + piece.pos);
    if (ZSTD_isError(state)) return Flaw{"not zstd, or damaged", in.pos};
    if (out.size() > allowed(body)) return too_large(body);
    if (in.pos < in.size || piece.pos == piece.size) continue;
    if (state == 0) return out;
    return Flaw{"zstd cut off", in.pos};
  }
}

}  // namespace

std::optional<Compression> declared_compression(std::string_view encoding) {
  std::string lower(encoding.substr(0, 32));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (lower.empty() || lower == "identity" || lower == "utf-8" || lower == "utf8") return Compression::none;
  if (lower == "gzip" || lower == "x-gzip" || lower == "application/gzip" || lower == "application/x-gzip" || lower == "zlib" || lower == "deflate") return Compression::gzip;
  if (lower == "zstd" || lower == "application/zstd") return Compression::zstd;
  return std::nullopt;
}

std::variant<std::string, Flaw> inflate(Compression how, std::string_view body) {
  if (body.empty() && how != Compression::none) return Flaw{"declared compressed, and empty", 0};
  switch (how) {
    case Compression::none: return std::string(body);
    case Compression::gzip: return gunzip(body);
    case Compression::zstd: return unzstd(body);
  }
  return {};
}

}  // namespace claw::content
