// Where what a look keeps of its messages lies: the first of it in memory, the rest in a file without a name, so that a queue
// of any length is looked at in bounded memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace claw::detect {

inline constexpr std::size_t kMostContent = 8u << 20;  // bytes of messages that a look keeps whole

// Thread-safe. Outlives the examiners that keep something in it.
class ChunkStore {
 public:
  // Everything stays in memory.
  ChunkStore() = default;
  // At most `most_in_memory` bytes do; the others go to a file in `dir`.
  ChunkStore(Disk& disk, std::string dir, std::size_t most_in_memory) : disk_(&disk), dir_(std::move(dir)), left_(most_in_memory) {}
  ChunkStore(const ChunkStore&) = delete;
  ChunkStore& operator=(const ChunkStore&) = delete;

  // What one examiner allocates from.
  struct Slab {
    std::byte* at = nullptr;
    std::size_t left = 0;
    std::size_t given = 0;  // so far
  };
  // True while there is room for so many bytes more of messages' content.
  bool may_keep_content(std::size_t bytes);
  // Aligned to 8; lives as long as this. Null when there is no room left in memory: then write().
  std::byte* allocate(Slab& slab, std::size_t bytes);
  // Where it begins in the file.
  Result<std::uint64_t> write(std::string_view bytes);
  // Exactly `size` bytes.
  Result<std::string> read(std::uint64_t offset, std::size_t size);

 private:
  struct Free {
    std::size_t alignment;
    void operator()(std::byte* block) const { ::operator delete(block, std::align_val_t(alignment)); }
  };
  using Block = std::unique_ptr<std::byte, Free>;

  std::byte* block(std::size_t bytes, std::size_t alignment);  // under the lock

  Disk* disk_ = nullptr;
  std::string dir_;
  std::atomic<std::size_t> content_ = 0;  // bytes kept
  std::mutex mutex_;
  std::size_t left_ = SIZE_MAX;
  std::vector<Block> blocks_;
  std::unique_ptr<File> file_;
  std::uint64_t end_ = 0;
};

}  // namespace claw::detect
