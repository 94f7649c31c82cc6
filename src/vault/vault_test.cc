#include "vault/vault.h"

#include <gtest/gtest.h>

#include "testing/fault_disk.h"
#include "vault/codec.h"
#include "vault/sealed.h"

namespace claw {
namespace {

const QueueId kQueue{"redis-eu", "orders:\xff/tenant"};
const QueueId kOther{"redis-eu", "orders:b"};

std::vector<Message> sample(std::size_t count) {
  std::vector<Message> messages;
  for (std::size_t i = 0; i < count; ++i) {
    Message message{.id = std::to_string(i) + "-0", .key = {i, ~i}, .fields = {}, .groups = {}};
    message.fields.push_back({"", std::string("\0\xff body ", 8) + std::string(i % 300, static_cast<char>(i))});
    message.fields.push_back({std::string("\x80\0", 2), ""});
    message.groups.push_back({"g", GroupState::Standing::pending, "c", 4'000'000'000u, ~0ull});
    message.groups.push_back({"h", GroupState::Standing::acknowledged, "", 0, 0});
    messages.push_back(std::move(message));
  }
  messages.push_back({.id = "gone", .key = {1, 2}, .fields = {}, .groups = {}});
  return messages;
}

bool same(const std::vector<Message>& a, const std::vector<Message>& b) { return *encode_messages(a) == *encode_messages(b); }

struct Kit {
  testing::FaultDisk disk;
  std::unique_ptr<Vault> vault;
  Kit() { reopen(); }
  void reopen() {
    auto opened = Vault::open(disk, system_random(), "/data/vault");
    CLAW_CHECK(opened.ok());
    vault = std::move(*opened);
  }
  std::string bytes(const std::string& name) { return *disk.read_all("/data/vault/" + name, 1 << 30); }
  void put(const std::string& name, const std::string& content) {
    CLAW_CHECK(disk.write_atomically("/data/vault/" + name, content, Mode::owner_only).ok());
  }
};

TEST(Vault, gives_back_every_byte_and_messages_that_were_gone) {
  Kit kit;
  const auto messages = sample(2'000);
  const auto info = kit.vault->write("exec_1", kQueue, messages);
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info->messages, 2'001u);
  EXPECT_EQ(info->merkle_root.size(), 64u);
  kit.reopen();
  const auto back = kit.vault->read("exec_1", kQueue);
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_TRUE(same(*back, messages));
  EXPECT_TRUE(back->back().fields.empty());
  EXPECT_TRUE(*kit.vault->has("exec_1", kQueue));
  EXPECT_FALSE(*kit.vault->has("exec_1", kOther));
  EXPECT_EQ(kit.bytes(info->object).find("body"), std::string::npos);
}

TEST(Vault, the_same_again_is_a_success_and_other_content_a_conflict) {
  Kit kit;
  const auto first = kit.vault->write("e", kQueue, sample(3));
  const auto again = kit.vault->write("e", kQueue, sample(3));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->ciphertext_sha256, first->ciphertext_sha256);
  EXPECT_EQ(kit.vault->write("e", kQueue, sample(4)).error().code, Code::conflict);
}

TEST(Vault, lists_verifies_and_refuses_bad_names) {
  Kit kit;
  ASSERT_TRUE(kit.vault->write("e", kQueue, sample(3)).ok());
  ASSERT_TRUE(kit.vault->write("e", kOther, std::span<const Message>()).ok());
  ASSERT_TRUE(kit.vault->write("f", kOther, sample(1)).ok());
  EXPECT_EQ(kit.vault->list()->size(), 3u);
  EXPECT_TRUE(kit.vault->verify("e").ok());
  EXPECT_EQ(kit.vault->verify("nobody").error().code, Code::not_found);
  EXPECT_EQ(kit.vault->write("../e", kQueue, std::span<const Message>()).error().code, Code::invalid);
}

TEST(Vault, finds_every_changed_byte_and_every_cut) {
  Kit kit;
  const auto info = kit.vault->write("e", kQueue, sample(3));
  const std::string good = kit.bytes(info->object);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 1;
    kit.put(info->object, bad);
    ASSERT_FALSE(kit.vault->read("e", kQueue).ok()) << i;
    ASSERT_FALSE(kit.vault->verify("e").ok()) << i;
    kit.put(info->object, good.substr(0, i));
    ASSERT_FALSE(kit.vault->read("e", kQueue).ok()) << "cut at " << i;
  }
  kit.put(info->object, good + "x");
  EXPECT_FALSE(kit.vault->read("e", kQueue).ok());
}

TEST(Vault, an_object_is_bound_to_its_execution_and_queue) {
  Kit kit;
  const auto a = kit.vault->write("e", kQueue, sample(3));
  const auto b = kit.vault->write("e", kOther, sample(3));
  kit.put(b->object, kit.bytes(a->object));
  EXPECT_FALSE(kit.vault->read("e", kOther).ok());
}

TEST(Vault, never_replaces_a_lost_key) {
  Kit kit;
  ASSERT_TRUE(kit.vault->write("e", kQueue, sample(3)).ok());
  const std::string key = kit.bytes("e.key");
  ASSERT_TRUE(kit.disk.remove("/data/vault/e.key").ok());
  EXPECT_EQ(kit.vault->write("e", kOther, std::span<const Message>()).error().code, Code::corrupt);
  kit.put("e.key", key);
  ASSERT_TRUE(kit.disk.remove("/data/vault/restore_key").ok());
  EXPECT_EQ(kit.vault->write("f", kOther, std::span<const Message>()).error().code, Code::corrupt);
}

TEST(Vault, the_digest_key_is_one_per_execution) {
  Kit kit;
  const auto key = kit.vault->digest_key("e");
  ASSERT_TRUE(kit.vault->write("e", kQueue, sample(1)).ok());
  kit.disk.crash();
  kit.reopen();
  EXPECT_EQ(*kit.vault->digest_key("e"), *key);
  EXPECT_NE(*kit.vault->digest_key("f"), *key);
}

TEST(Vault, an_acknowledged_snapshot_survives_a_crash_at_any_operation) {
  for (const bool lucky : {false, true}) {
    for (std::uint64_t k = 1;; ++k) {
      Kit kit;
      kit.disk.fail_at(k);
      const bool first = kit.vault->write("e", kQueue, sample(5)).ok();
      const bool second = kit.vault->write("e", kOther, sample(2)).ok();
      kit.disk.crash(lucky);
      kit.reopen();
      if (first) { ASSERT_TRUE(same(*kit.vault->read("e", kQueue), sample(5))) << k; }
      if (second) { ASSERT_TRUE(same(*kit.vault->read("e", kOther), sample(2))) << k; }
      const auto retry = kit.vault->write("e", kQueue, sample(5));
      ASSERT_TRUE(retry.ok()) << k << " " << retry.error().message();
      ASSERT_TRUE(kit.vault->verify("e").ok());
      if (first && second) break;
    }
  }
}

TEST(VaultCodec, refuses_every_cut_and_impossible_counts) {
  const std::string good = *encode_messages(sample(2));
  for (std::size_t i = 0; i < good.size(); ++i) ASSERT_FALSE(decode_messages(good.substr(0, i)).ok()) << i;
  EXPECT_FALSE(decode_messages(good + "x").ok());
  std::string huge = good;
  for (std::size_t i = 4; i < 12; ++i) huge[i] = '\xff';
  EXPECT_FALSE(decode_messages(huge).ok());
}

TEST(PackedMessages, gives_any_slice_and_encodes_as_all_at_once) {
  const auto messages = sample(2'345);
  PackedMessages packed;
  for (std::size_t at = 0; at < messages.size(); at += 1'000) ASSERT_TRUE(packed.add(std::span(messages).subspan(at, std::min<std::size_t>(1'000, messages.size() - at))).ok());
  ASSERT_EQ(packed.size(), messages.size());
  std::string encoded;
  ASSERT_TRUE(packed.encoded([&](std::string_view piece) { encoded += piece; return Status(); }).ok());
  EXPECT_EQ(encoded, *encode_messages(messages));
  EXPECT_EQ(packed.encoded_size(), encoded.size());
  for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, 0}, {0, 1}, {499, 2}, {990, 20}, {700, 1'646}, {2'345, 1}}) {
    const auto some = packed.slice(first, count);
    ASSERT_TRUE(some.ok());
    EXPECT_TRUE(same(*some, {messages.begin() + static_cast<std::ptrdiff_t>(first), messages.begin() + static_cast<std::ptrdiff_t>(first + count)})) << first;
  }
  for (std::size_t i = 0; i < messages.size(); ++i) ASSERT_EQ(packed.digests()[i], messages[i].digest());
}

TEST(Sealed, any_length_in_any_pieces_is_opened_again_and_nothing_else_is) {
  const std::string key(kKeyBytes, 'k');
  std::string noise(400'000, '\0');
  system_random().fill(std::as_writable_bytes(std::span(noise)));  // does not compress: sealed chunks end where we want them to
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65'500}, std::size_t{65'523}, std::size_t{65'536}, std::size_t{131'054}, std::size_t{131'072}, std::size_t{400'000}})
    for (const std::size_t piece : {std::size_t{977}, std::size_t{65'536}, std::size_t{1'000'000}}) {
      const std::string_view plain = std::string_view(noise).substr(0, size);
      Sealer sealer(key, "bound", size);
      std::string sealed, opened;
      for (std::size_t at = 0; at < size; at += piece) sealed += *sealer.push(plain.substr(at, piece));
      sealed += *sealer.finish();
      Unsealer unsealer(key, "bound");
      for (std::size_t at = 0; at < sealed.size(); at += piece) opened += *unsealer.push(std::string_view(sealed).substr(at, piece));
      opened += *unsealer.finish();
      ASSERT_EQ(opened, plain) << size;
      ASSERT_EQ(*unseal(sealed, key, "bound"), plain);
      ASSERT_EQ(*unseal(*seal(plain, key, "bound"), key, "bound"), plain);
      ASSERT_FALSE(unseal(sealed.substr(0, sealed.size() - 1), key, "bound").ok());
      ASSERT_FALSE(unseal(sealed + "x", key, "bound").ok());
      ASSERT_FALSE(unseal(sealed, key, "other").ok());
    }
}

}  // namespace
}  // namespace claw
