#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <bit>
#include <cstring>

namespace claw {
namespace {

// Fetched once: OpenSSL 3 looks an algorithm up anew, under locks, for every hash made with EVP_sha256().
const EVP_MD* sha256_method() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CLAW_CHECK(method != nullptr);
  return method;
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  CLAW_CHECK(state_->context != nullptr);
  CLAW_CHECK(EVP_DigestInit_ex(state_->context, sha256_method(), nullptr) == 1);
}
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  CLAW_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest out{};
  unsigned size = 0;
  CLAW_CHECK(EVP_DigestFinal_ex(state_->context, out.data(), &size) == 1 && size == out.size());
  return out;
}

Digest sha256(std::string_view bytes) {
  // Of hundreds of thousands of messages: to make a context costs more than to digest one.
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype([](EVP_MD_CTX* context) { EVP_MD_CTX_free(context); })> context(EVP_MD_CTX_new());
  Digest out{};
  unsigned size = 0;
  CLAW_CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), sha256_method(), nullptr) == 1);
  CLAW_CHECK(EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1);
  CLAW_CHECK(EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1 && size == out.size());
  return out;
}

Digest hmac_sha256(std::string_view key, std::string_view bytes) {
  Digest out{};
  unsigned size = 0;
  CLAW_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                  reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data(),
                  &size) != nullptr);
  CLAW_CHECK(size == out.size());
  return out;
}

namespace {

constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15ull;

std::uint64_t stir(std::uint64_t h) {
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
  return h ^ h >> 32;
}

std::uint64_t little_endian(const char* bytes, std::size_t size) {
  std::uint64_t word = 0;
  if (size > 0) std::memcpy(&word, bytes, size);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

}  // namespace

std::uint64_t stable_hash(std::uint64_t seed, std::uint64_t word) { return stir((seed + kMix) ^ stir(word)); }

std::uint64_t stable_hash(std::uint64_t seed, std::string_view bytes) {
  std::uint64_t h = seed ^ bytes.size() * kMix;
  while (bytes.size() >= sizeof h) {
    h = std::rotl((h ^ little_endian(bytes.data(), sizeof h)) * kMix, 29);
    bytes.remove_prefix(sizeof h);
  }
  return stir(h ^ little_endian(bytes.data(), bytes.size()));
}

std::string_view view(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::string hex(const Digest& digest) { return hex(view(digest)); }

Result<std::string> unhex(std::string_view text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  if (text.size() % 2 != 0) return make_error(Code::invalid, "hex", "expected an even number of digits");
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return make_error(Code::invalid, "hex", "expected digits 0-9 and a-f");
    out.push_back(static_cast<char>(high * 16 + low));
  }
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::string> unbase64(std::string_view text) {
  const Error wrong = make_error(Code::invalid, "base64", "expected padded base64 of the standard alphabet");
  if (text.size() % 4 != 0) return wrong;
  std::size_t padding = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (c == '=' && i + 2 >= text.size()) ++padding;
    else if (!letter || padding > 0) return wrong;
  }
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return wrong;
  out.resize(static_cast<std::size_t>(size) - padding);
  // One text for one value: bits that the padding hides must be zero.
  if (base64(out) != text) return wrong;
  return out;
}

std::string sha256_label(std::string_view bytes) { return "sha256:" + hex(sha256(bytes)); }

}  // namespace claw
