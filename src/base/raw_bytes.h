// Bytes that are about to be overwritten: growing such a vector does not write zeroes first.
#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace claw {

template <class T>
struct Unwritten : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = Unwritten<U>;
  };
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    if constexpr (sizeof...(Args) == 0) ::new (static_cast<void*>(at)) U;
    else ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};

// What resize() adds has any content. Moving keeps the storage in place, as with any vector.
using RawBytes = std::vector<char, Unwritten<char>>;

}  // namespace claw
