#include "audit/format.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace claw::audit {
namespace {

constexpr std::size_t kBlock = 1 << 20;
constexpr char kEd25519 = 1;
constexpr std::string_view kDash = "\xe2\x80\x94 ";

const unsigned char* raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

std::uint32_t number32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

void put32(std::string& out, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ (0x82f63b78u & (0u - (c & 1u)));
    table[i] = c;
  }
  return table;
}

// Only one text form of the same bytes is accepted: spare bits must be zero.
Result<std::string> strict_base64(std::string_view text) {
  CLAW_TRY_ASSIGN(std::string bytes, unbase64(text));
  if (base64(bytes) != text) return make_error(Code::corrupt, "base64", "spare bits are set");
  return bytes;
}

std::string key_hash(const std::string& name, std::string_view public_key) {
  return std::string(view(sha256(name + "\n" + kEd25519 + std::string(public_key))).substr(0, 4));
}

std::string note_text(const Checkpoint& head) {
  return fmt::format("{}\n{}\n{}\n", head.origin, head.size, base64(view(head.root)));
}

Error bad_note(std::string detail) { return make_error(Code::corrupt, "open checkpoint", std::move(detail)); }

// One signature line without its newline; true when it is a valid one of this key.
bool signed_by(std::string_view line, std::string_view text, const VerifierKey& key) {
  const std::string start = std::string(kDash) + key.name + " ";
  if (!line.starts_with(start)) return false;
  const auto bytes = strict_base64(line.substr(start.size()));
  if (!bytes.ok() || bytes->size() != 4 + crypto_sign_BYTES || !bytes->starts_with(key.hash)) return false;
  return crypto_sign_verify_detached(raw(*bytes) + 4, raw(text), text.size(), raw(key.public_key)) == 0;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffu] ^ (crc >> 8);
  return ~crc;
}

std::string frame(std::string_view entry) {
  std::string out;
  out.reserve(kFrameHead + entry.size());
  put32(out, static_cast<std::uint32_t>(entry.size()));
  put32(out, crc32c(entry));
  out.append(entry);
  return out;
}

std::string tile_number(std::uint64_t number) {
  std::string text = fmt::format("{:03}", number % 1000);
  for (number /= 1000; number > 0; number /= 1000) text = fmt::format("x{:03}/", number % 1000) + text;
  return text;
}

std::string tile_path(std::string_view level, std::uint64_t number, std::size_t width) {
  const std::string path = fmt::format("tile/{}/{}", level, tile_number(number));
  return width == kTileWidth ? path : fmt::format("{}.p/{}", path, width);
}

Result<WalReader> WalReader::open(Disk& disk, const std::string& path) {
  CLAW_TRY_ASSIGN(auto file, disk.open_read(path));
  CLAW_TRY_ASSIGN(const std::uint64_t size, file->size());
  return WalReader(std::move(file), size, path);
}

// The next bytes at offset_, fewer at the end of the file as it was when opened.
Result<std::string_view> WalReader::peek(std::size_t size) {
  size = static_cast<std::size_t>(std::min<std::uint64_t>(size, size_ - offset_));
  if (offset_ + size > block_at_ + block_.size()) {
    CLAW_TRY_ASSIGN(block_, file_->read(offset_, static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, size_ - offset_))));
    block_at_ = offset_;
    if (block_.size() < size) return make_error(Code::corrupt, "read " + path_, "the file became shorter while it was read");
  }
  return std::string_view(block_).substr(static_cast<std::size_t>(offset_ - block_at_), size);
}

Result<std::optional<std::string>> WalReader::next() {
  const auto torn = [this](std::uint64_t most) -> Result<std::optional<std::string>> {
    if (size_ - offset_ <= most) return std::optional<std::string>();
    return make_error(Code::corrupt, "read " + path_, fmt::format("the entry at byte {} is damaged, and others follow it", offset_));
  };
  CLAW_TRY_ASSIGN(const std::string_view head, peek(kFrameHead));
  if (head.size() < kFrameHead) return std::optional<std::string>();
  const std::uint32_t size = number32(head);
  const std::uint32_t crc = number32(head.substr(4));
  if (size == 0 || size > kMaxEntry) return torn(kFrameHead + kMaxEntry);
  CLAW_TRY_ASSIGN(const std::string_view whole, peek(kFrameHead + size));
  if (whole.size() < kFrameHead + size) return std::optional<std::string>();
  if (crc32c(whole.substr(kFrameHead)) != crc) return torn(kFrameHead + size);
  offset_ += whole.size();
  return std::optional<std::string>(whole.substr(kFrameHead));
}

std::string VerifierKey::text() const {
  return fmt::format("{}+{}+{}", name, hex(hash), base64(kEd25519 + public_key));
}

Result<VerifierKey> parse_verifier_key(std::string_view text) {
  const auto bad = [] { return make_error(Code::invalid, "verifier key", "expected NAME+8 HEX+BASE64 of an Ed25519 key"); };
  while (text.ends_with('\n')) text.remove_suffix(1);
  const std::size_t first = text.find('+');
  const std::size_t second = first == text.npos ? text.npos : text.find('+', first + 1);
  if (second == text.npos) return bad();
  const auto bytes = strict_base64(text.substr(second + 1));
  if (!bytes.ok() || bytes->size() != 1 + crypto_sign_PUBLICKEYBYTES || bytes->front() != kEd25519) return bad();
  VerifierKey key{.name = std::string(text.substr(0, first)), .hash = {}, .public_key = bytes->substr(1)};
  key.hash = key_hash(key.name, key.public_key);
  if (key.name.empty() || hex(key.hash) != text.substr(first + 1, second - first - 1)) return bad();
  return key;
}

VerifierKey verifier_of_seed(const std::string& name, std::string_view seed) {
  CLAW_CHECK(sodium_init() >= 0 && seed.size() == crypto_sign_SEEDBYTES);
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> open{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret{};
  crypto_sign_seed_keypair(open.data(), secret.data(), raw(seed));
  sodium_memzero(secret.data(), secret.size());
  VerifierKey key{.name = name, .hash = {}, .public_key = std::string(open.begin(), open.end())};
  key.hash = key_hash(name, key.public_key);
  return key;
}

std::string sign_checkpoint(const Checkpoint& head, std::string_view seed) {
  const VerifierKey key = verifier_of_seed(head.origin, seed);
  const std::string text = note_text(head);
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> open{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret{};
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_seed_keypair(open.data(), secret.data(), raw(seed));
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr, raw(text), text.size(), secret.data());
  sodium_memzero(secret.data(), secret.size());
  return fmt::format("{}\n{}{} {}\n", text, kDash, head.origin, base64(key.hash + signature));
}

Result<Checkpoint> open_checkpoint(std::string_view note, const VerifierKey& key) {
  CLAW_CHECK(sodium_init() >= 0);
  const std::size_t split = note.find("\n\n");
  if (split == note.npos || !note.ends_with('\n')) return bad_note("not a signed note");
  const std::string_view text = note.substr(0, split + 1);
  const std::size_t first = text.find('\n');
  const std::size_t second = text.find('\n', first + 1);
  if (second == text.npos) return bad_note("expected origin, size and root on three lines");
  Checkpoint head{.origin = std::string(text.substr(0, first))};
  const std::string_view size = text.substr(first + 1, second - first - 1);
  std::from_chars(size.data(), size.data() + size.size(), head.size);
  const auto root = strict_base64(text.substr(second + 1, text.size() - second - 2));
  if (!root.ok() || root->size() != head.root.size()) return bad_note("the root is not the base64 of 32 bytes");
  std::copy(root->begin(), root->end(), head.root.begin());
  if (head.origin != key.name) return bad_note("the origin is not the key's name " + key.name);
  if (note_text(head) != text) return bad_note("expected exactly origin, size and root");
  std::string_view lines = note.substr(split + 2);
  for (bool good = false; !lines.empty();) {
    const std::size_t end = lines.find('\n');
    good = good || signed_by(lines.substr(0, end), text, key);
    lines.remove_prefix(end + 1);
    if (good) return head;
  }
  return bad_note("no valid signature of " + key.name);
}

}  // namespace claw::audit
