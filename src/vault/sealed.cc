#include "vault/sealed.h"

#include <fmt/format.h>
#include <sodium.h>
#include <zstd.h>

#include <algorithm>

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

Result<std::string> compress(std::string_view plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), kLevel);
  if (ZSTD_isError(size)) return make_error(Code::full, "compress", ZSTD_getErrorName(size));
  out.resize(size);
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

}  // namespace

Result<std::string> seal(std::string_view plain, std::string_view key, std::string_view bound) {
  CLAW_CHECK(key.size() == kKeyBytes && sodium_init() >= 0);
  CLAW_TRY_ASSIGN(const std::string packed, compress(plain));
  std::string out(kHeader, '\0');
  crypto_secretstream_xchacha20poly1305_state state;
  crypto_secretstream_xchacha20poly1305_init_push(&state, raw(out), raw(key));
  std::string_view rest = packed;
  bool final = false;
  while (!final) {
    const std::string_view chunk = rest.substr(0, kChunk);
    rest.remove_prefix(chunk.size());
    final = rest.empty();
    const unsigned char tag =
        final ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    const std::size_t at = out.size();
    out.resize(at + chunk.size() + kOverhead);
    crypto_secretstream_xchacha20poly1305_push(&state, raw(out) + at, nullptr, raw(chunk), chunk.size(), raw(bound),
                                               bound.size(), tag);
  }
  sodium_memzero(&state, sizeof state);
  return out;
}

Result<std::string> unseal(std::string_view sealed, std::string_view key, std::string_view bound) {
  CLAW_CHECK(key.size() == kKeyBytes && sodium_init() >= 0);
  if (sealed.size() < kHeader + kOverhead) return corrupt(fmt::format("{} bytes are too few", sealed.size()));
  crypto_secretstream_xchacha20poly1305_state state;
  if (crypto_secretstream_xchacha20poly1305_init_pull(&state, raw(sealed), raw(key)) != 0)
    return corrupt("the stream header is not valid");
  std::string_view rest = sealed.substr(kHeader);
  std::string packed(rest.size(), '\0');  // never longer than what holds it
  std::size_t filled = 0;
  bool final = false;
  while (!final) {
    const std::string_view chunk = rest.substr(0, kChunk + kOverhead);
    unsigned char tag = 0;
    unsigned long long got = 0;
    if (chunk.size() < kOverhead ||
        crypto_secretstream_xchacha20poly1305_pull(&state, raw(packed) + filled, &got, &tag, raw(chunk), chunk.size(),
                                                   raw(bound), bound.size()) != 0)
      return corrupt(fmt::format("the chunk at byte {} was changed, cut off, or belongs elsewhere", sealed.size() - rest.size()));
    filled += static_cast<std::size_t>(got);
    rest.remove_prefix(chunk.size());
    final = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
  }
  sodium_memzero(&state, sizeof state);
  if (!rest.empty()) return corrupt(fmt::format("{} bytes follow the final chunk", rest.size()));
  packed.resize(filled);
  return decompress(packed);
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
