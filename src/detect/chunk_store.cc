#include "detect/chunk_store.h"

#include <sys/mman.h>

#include <fmt/format.h>

#include <new>

namespace claw::detect {
namespace {

constexpr std::size_t kSlab = 2u << 20;       // one large page where the kernel has them: a fault for every 4 KiB costs as much as looking at the messages
constexpr std::size_t kLong = 256u << 10;     // most queues are short and are not worth a slab

}  // namespace

std::byte* ChunkStore::block(std::size_t bytes, std::size_t alignment) {
  if (bytes > left_) return nullptr;
  left_ -= bytes;
  auto* const at = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(alignment)));
  blocks_.emplace_back(at, Free{alignment});
  if (alignment == kSlab) static_cast<void>(::madvise(at, bytes, MADV_HUGEPAGE));  // a wish: without it everything works, slower
  return at;
}

bool ChunkStore::may_keep_content(std::size_t bytes) {
  return content_.load(std::memory_order_relaxed) + bytes <= kMostContent && content_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMostContent;
}

std::byte* ChunkStore::allocate(Slab& slab, std::size_t bytes) {
  bytes = (bytes + 7) / 8 * 8;
  if (bytes > slab.left) {
    const std::lock_guard lock(mutex_);
    if (slab.given < kLong || bytes > kSlab) {
      slab.given += bytes;
      return block(bytes, 8);
    }
    std::byte* const fresh = block(kSlab, kSlab);
    if (fresh == nullptr) return nullptr;
    slab.at = fresh;
    slab.left = kSlab;
  }
  std::byte* const at = slab.at;
  slab.at += bytes;
  slab.left -= bytes;
  slab.given += bytes;
  return at;
}

Result<std::uint64_t> ChunkStore::write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (file_ == nullptr) {
    CLAW_CHECK(disk_ != nullptr);
    CLAW_TRY_ASSIGN(file_, disk_->open_scratch(dir_));
  }
  const std::uint64_t at = end_;
  CLAW_TRY(file_->append(bytes));
  end_ += bytes.size();
  return at;
}

Result<std::string> ChunkStore::read(std::uint64_t offset, std::size_t size) {
  const std::lock_guard lock(mutex_);
  CLAW_CHECK(file_ != nullptr);
  CLAW_TRY_ASSIGN(std::string bytes, file_->read(offset, size));
  if (bytes.size() != size) return make_error(Code::corrupt, "read what the look kept", fmt::format("{} bytes of {} at {}", bytes.size(), size, offset));
  return bytes;
}

}  // namespace claw::detect
