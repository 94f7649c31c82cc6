#include "base/secret.h"

#include <openssl/crypto.h>

#include <utility>

namespace claw {

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  wipe();
  value_ = other.value_;  // a copy, so that the source's buffer (small strings too) can be wiped
  other.wipe();
  return *this;
}

void Secret::wipe() noexcept {
  if (!value_.empty()) OPENSSL_cleanse(value_.data(), value_.size());
  value_.clear();
}

}  // namespace claw
