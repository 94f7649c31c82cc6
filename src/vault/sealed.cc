#include "vault/sealed.h"

#include <fmt/format.h>
#include <sodium.h>
#include <zstd.h>

#include <algorithm>
#include <utility>

#include "vault/codec.h"

namespace claw {
namespace {

constexpr std::size_t kChunk = 64 * 1024;
constexpr std::size_t kOverhead = crypto_secretstream_xchacha20poly1305_ABYTES;
constexpr std::size_t kHeader = crypto_secretstream_xchacha20poly1305_HEADERBYTES;
constexpr int kLevel = 1;
constexpr std::uint64_t kMaxRatio = 65'536;  // zstd cannot do better: 128 KiB from 4 bytes

static_assert(kKeyBytes == crypto_secretstream_xchacha20poly1305_KEYBYTES);
static_assert(kKeyBytes == crypto_secretbox_KEYBYTES);

const unsigned char* raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* raw(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Error corrupt(std::string detail) { return make_error(Code::corrupt, "unseal", std::move(detail)); }

struct FreeFrame {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

Result<std::string> compress(std::string_view plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), kLevel);
  if (ZSTD_isError(size)) return make_error(Code::full, "compress", ZSTD_getErrorName(size));
  out.resize(size);
  out.shrink_to_fit();
  return out;
}

Result<std::string> decompress(std::string_view packed) {
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) return corrupt("not a zstd frame of known size");
  if (size > kMaxPlain || size / kMaxRatio > packed.size())
    return corrupt(fmt::format("claims {} bytes from {}, expected at most {}", size, packed.size(), kMaxPlain));
  std::string out(static_cast<std::size_t>(size), '\0');
  const std::size_t got = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) || got != out.size()) return corrupt("the zstd frame does not decompress to its stated size");
  return out;
}

struct Sealer::State {
  std::unique_ptr<ZSTD_CCtx, FreeFrame> frame{ZSTD_createCCtx()};
  crypto_secretstream_xchacha20poly1305_state stream;
  std::string bound;
  std::string packed;  // not yet sealed: the last chunk is told from the others only at the end
  std::string out;
  std::uint64_t left = 0;  // of the plain bytes

  void seal_chunk(std::string_view chunk, unsigned char tag) {
    const std::size_t at = out.size();
    out.resize(at + chunk.size() + kOverhead);
    crypto_secretstream_xchacha20poly1305_push(&stream, raw(out) + at, nullptr, raw(chunk), chunk.size(), raw(bound), bound.size(), tag);
  }
  Status take(std::string_view plain, ZSTD_EndDirective how) {
    ZSTD_inBuffer in{plain.data(), plain.size(), 0};
    for (std::size_t more = 1; more != 0 || in.pos < in.size;) {
      const std::size_t filled = packed.size();
      packed.resize(filled + kChunk);
      ZSTD_outBuffer room{packed.data() + filled, kChunk, 0};
      more = ZSTD_compressStream2(frame.get(), &room, &in, how);
      packed.resize(filled + room.pos);
      if (ZSTD_isError(more)) return make_error(Code::full, "compress", ZSTD_getErrorName(more));
      if (how == ZSTD_e_continue && in.pos == in.size) more = 0;
      std::size_t sealed = 0;
      for (; packed.size() - sealed > kChunk; sealed += kChunk) seal_chunk(std::string_view(packed).substr(sealed, kChunk), crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
      packed.erase(0, sealed);
    }
    return {};
  }
};

Sealer::Sealer(std::string_view key, std::string_view bound, std::uint64_t size) : state_(std::make_unique<State>()) {
  CLAW_CHECK(key.size() == kKeyBytes && sodium_init() >= 0 && state_->frame != nullptr);
  state_->bound = bound;
  state_->left = size;
  ZSTD_CCtx_setParameter(state_->frame.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setPledgedSrcSize(state_->frame.get(), size);
  state_->out.resize(kHeader);
  crypto_secretstream_xchacha20poly1305_init_push(&state_->stream, raw(state_->out), raw(key));
}

Sealer::~Sealer() { sodium_memzero(&state_->stream, sizeof state_->stream); }

Result<std::string> Sealer::push(std::string_view plain) {
  CLAW_CHECK(plain.size() <= state_->left);
  state_->left -= plain.size();
  if (!plain.empty()) CLAW_TRY(state_->take(plain, ZSTD_e_continue));
  return std::exchange(state_->out, {});
}

Result<std::string> Sealer::finish() {
  CLAW_CHECK(state_->left == 0);
  CLAW_TRY(state_->take({}, ZSTD_e_end));
  state_->seal_chunk(state_->packed, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
  return std::exchange(state_->out, {});
}

struct Unsealer::State {
  std::unique_ptr<ZSTD_DCtx, FreeFrame> frame{ZSTD_createDCtx()};
  crypto_secretstream_xchacha20poly1305_state stream;
  std::string key, bound;
  std::string sealed;          // not yet opened
  std::uint64_t opened = 0;    // bytes before `sealed`
  std::uint64_t packed = 0;    // bytes of the frame so far
  std::uint64_t plain = 0;
  bool begun = false, final = false, framed = false, whole = false;

  // A frame that gives more than its size could is nobody's snapshot, whatever it claims.
  Status unpack(std::string_view bytes, std::string& out) {
    packed += bytes.size();
    if (!framed) {
      const unsigned long long claimed = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
      if (claimed == ZSTD_CONTENTSIZE_ERROR || claimed == ZSTD_CONTENTSIZE_UNKNOWN) return corrupt("not a zstd frame of known size");
      if (claimed > kMaxPlain) return corrupt(fmt::format("claims {} bytes, expected at most {}", claimed, kMaxPlain));
      framed = true;
    }
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (bool full = true; in.pos < in.size || full;) {
      if (whole && in.pos < in.size) return corrupt("bytes follow the zstd frame");
      if (whole) return {};
      const std::size_t filled = out.size();
      out.resize(filled + ZSTD_DStreamOutSize());
      ZSTD_outBuffer room{out.data() + filled, out.size() - filled, 0};
      const std::size_t hint = ZSTD_decompressStream(frame.get(), &room, &in);
      out.resize(filled + room.pos);
      if (ZSTD_isError(hint)) return corrupt("the zstd frame does not decompress to its stated size");
      plain += room.pos;
      if (plain > kMaxPlain || plain / kMaxRatio > packed) return corrupt(fmt::format("{} bytes from {}, expected at most {}", plain, packed, kMaxPlain));
      whole = hint == 0;
      full = room.pos == room.size;
    }
    return {};
  }
  Status open(std::string_view chunk, std::string& out) {
    std::string plain_chunk(chunk.size(), '\0');
    unsigned char tag = 0;
    unsigned long long got = 0;
    if (chunk.size() < kOverhead || crypto_secretstream_xchacha20poly1305_pull(&stream, raw(plain_chunk), &got, &tag, raw(chunk), chunk.size(), raw(bound), bound.size()) != 0)
      return corrupt(fmt::format("the chunk at byte {} was changed, cut off, or belongs elsewhere", opened));
    plain_chunk.resize(static_cast<std::size_t>(got));
    opened += chunk.size();
    final = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    return unpack(plain_chunk, out);
  }
  Result<std::string> take(bool last) {
    std::string out;
    std::size_t at = 0;
    if (!begun && sealed.size() >= kHeader) {
      if (crypto_secretstream_xchacha20poly1305_init_pull(&stream, raw(sealed), raw(key)) != 0) return corrupt("the stream header is not valid");
      begun = true;
      opened = at = kHeader;
    }
    // Only the last chunk may be shorter than the others.
    while (begun && !final && (sealed.size() - at >= kChunk + kOverhead || (last && sealed.size() > at))) {
      const std::string_view chunk = std::string_view(sealed).substr(at, kChunk + kOverhead);
      CLAW_TRY(open(chunk, out));
      at += chunk.size();
    }
    sealed.erase(0, at);
    if (final && !sealed.empty()) return corrupt(fmt::format("{} bytes follow the final chunk", sealed.size()));
    return out;
  }
};

Unsealer::Unsealer(std::string_view key, std::string_view bound) : state_(std::make_unique<State>()) {
  CLAW_CHECK(key.size() == kKeyBytes && sodium_init() >= 0 && state_->frame != nullptr);
  state_->key = key;
  state_->bound = bound;
}

Unsealer::~Unsealer() {
  sodium_memzero(&state_->stream, sizeof state_->stream);
  sodium_memzero(state_->key.data(), state_->key.size());
}

Result<std::string> Unsealer::push(std::string_view sealed) {
  state_->sealed += sealed;
  return state_->take(false);
}

Result<std::string> Unsealer::finish() {
  const std::size_t left = state_->sealed.size();
  if (!state_->begun && left < kHeader + kOverhead) return corrupt(fmt::format("{} bytes are too few", left));
  CLAW_TRY_ASSIGN(std::string out, state_->take(true));
  if (!state_->final) return corrupt("the final chunk is missing");
  if (!state_->whole) return corrupt("the zstd frame is cut off");
  return out;
}

Result<std::string> seal(std::string_view plain, std::string_view key, std::string_view bound) {
  Sealer sealer(key, bound, plain.size());
  CLAW_TRY_ASSIGN(std::string out, sealer.push(plain));
  CLAW_TRY_ASSIGN(const std::string rest, sealer.finish());
  return out + rest;
}

Result<std::string> unseal(std::string_view sealed, std::string_view key, std::string_view bound) {
  Unsealer unsealer(key, bound);
  CLAW_TRY_ASSIGN(std::string out, unsealer.push(sealed));
  CLAW_TRY_ASSIGN(const std::string rest, unsealer.finish());
  return out + rest;
}

std::string wrap(std::string_view plain, std::string_view key, std::string_view nonce) {
  CLAW_CHECK(key.size() == kKeyBytes && nonce.size() == crypto_secretbox_NONCEBYTES && sodium_init() >= 0);
  std::string box(plain.size() + crypto_secretbox_MACBYTES, '\0');
  crypto_secretbox_easy(raw(box), raw(plain), plain.size(), raw(nonce), raw(key));
  return std::string(nonce) + box;
}

Result<std::string> unwrap(std::string_view wrapped, std::string_view key) {
  CLAW_CHECK(key.size() == kKeyBytes && sodium_init() >= 0);
  if (wrapped.size() < crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES) return corrupt("the wrapped key is too short");
  const std::string_view box = wrapped.substr(crypto_secretbox_NONCEBYTES);
  std::string plain(box.size() - crypto_secretbox_MACBYTES, '\0');
  if (crypto_secretbox_open_easy(raw(plain), raw(box), box.size(), raw(wrapped), raw(key)) != 0)
    return corrupt("the wrapped key was changed or the restore key is another");
  return plain;
}

}  // namespace claw
