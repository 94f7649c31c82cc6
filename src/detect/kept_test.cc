#include "detect/kept.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace claw::detect {
namespace {

struct Page {
  std::vector<Seen> seen;
  std::vector<content::Values> values;
  std::vector<Digested> digests;
};

// Everything comes back as it was, with its row renumbered; how many words it took.
std::size_t holds(const Page& page, std::size_t columns, Packing& packing) {
  packing.begin(columns);
  for (std::size_t i = 0; i < page.seen.size(); ++i) packing.add(page.seen[i], page.values[i]);
  const std::size_t words = packing.end(page.digests);
  std::vector<std::uint64_t> block(words + 1, 0xabab'abab'abab'abab);
  packing.write(block.data());
  EXPECT_EQ(block[words], 0xabab'abab'abab'abab);
  std::vector<std::uint32_t> renumbered(1'000);
  std::iota(renumbered.rbegin(), renumbered.rend(), 0);
  const Kept kept(block.data(), renumbered.data());
  EXPECT_EQ(kept.size(), page.seen.size());
  for (std::size_t i = 0; i < page.seen.size(); ++i) {
    Seen expected = page.seen[i];
    expected.row = renumbered[expected.row];
    const Seen seen = kept.seen(i);
    EXPECT_EQ(std::memcmp(&seen, &expected, sizeof seen), 0) << i;
    EXPECT_EQ(kept.values(i), page.values[i]) << i;
  }
  EXPECT_EQ(kept.digests().size(), page.digests.size());
  for (std::size_t i = 0; i < page.digests.size(); ++i) EXPECT_EQ(kept.digests()[i].digest, page.digests[i].digest);
  return words;
}

Page page_of(std::size_t size, std::size_t columns, unsigned large_percent, std::uint64_t far) {
  std::mt19937_64 random(size * 31 + columns * 7 + large_percent);
  Page page;
  for (std::size_t i = 0; i < size; ++i) {
    Seen seen{.key = {1'700'000'000'000 + i * 3, random() % 5}, .row = static_cast<std::uint32_t>(random() % 1'000), .attempts = static_cast<std::uint16_t>(random()), .passes = static_cast<std::uint8_t>(random()), .level = 6};
    seen.by_digest = i % 2;
    if (far != 0 && i == size / 2) seen.key = {far, UINT64_MAX};
    page.seen.push_back(seen);
    content::Values values{};
    for (std::size_t c = 0; c < columns; ++c) values[c] = static_cast<std::uint8_t>(random() % 100 < large_percent ? 15 + random() % 241 : random() % 15);
    page.values.push_back(values);
    if (i % 10 == 0) page.digests.push_back({random(), i});
  }
  return page;
}

TEST(Kept, is_what_was_packed) {
  Packing packing;
  for (const std::size_t size : {0, 1, 2, 7, 1'000})
    for (const std::size_t columns : {0, 1, 8, 9, 17, 24})
      for (const unsigned large : {0, 4, 12, 100})
        for (const std::uint64_t far : {std::uint64_t{0}, UINT64_MAX, (std::uint64_t{1} << 63) | 5}) holds(page_of(size, columns, large, size < 2 ? 0 : far), columns, packing);
}

TEST(Kept, takes_28_bytes_of_a_message_with_24_columns) {
  Packing packing;
  Page page = page_of(1'000, 24, 0, 0);
  page.digests.clear();
  EXPECT_EQ(holds(page, 24, packing), 4 + 1'000 * 28 / 8u);
  EXPECT_LE(holds(page_of(1'000, 24, 100, 0), 24, packing), 4 + 200 + 1'000 * 40 / 8u);
}

TEST(Kept, tells_keys_apart_that_are_just_near_or_just_far) {
  Packing packing;
  for (const std::uint64_t step : {std::uint64_t{0x7fff'ffff}, std::uint64_t{0x8000'0000}, std::uint64_t{0xffff'ffff}, std::uint64_t{0x1'0000'0000}})
    for (const bool down : {false, true}) {
      Page page = page_of(3, 1, 0, 0);
      page.seen[0].key = {std::uint64_t{1} << 40, std::uint64_t{1} << 40};
      page.seen[1].key = {page.seen[0].key.high + (down ? 0 - step : step), page.seen[0].key.low};
      page.seen[2].key = {page.seen[0].key.high, page.seen[0].key.low + (down ? 0 - step : step)};
      holds(page, 1, packing);
    }
}

}  // namespace
}  // namespace claw::detect
