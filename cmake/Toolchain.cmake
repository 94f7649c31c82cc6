# Warnings, sanitizers, linker and the libraries of Debian 12 that modules may name.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
                    -Wimplicit-fallthrough -Wno-missing-field-initializers
                    # g++ 12 sees ghosts in std::optional under the sanitizers, and in string concatenation (GCC bug 105651)
                    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
                    # std::stable_sort of libstdc++ 12 is what clang finds deprecated; its -Wconversion goes further than g++'s
                    $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations> $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>
                    -Werror -fno-strict-aliasing -fstack-protector-strong)
# Baseline x86-64 (or aarch64): faster code paths are chosen at run time, never by -march.

set(CLAW_SANITIZE "" CACHE STRING "address, thread, or empty")
if(CLAW_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(CLAW_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
foreach(lib libsodium sqlite3 libzstd simdjson zlib re2 librabbitmq libcurl)
  pkg_check_modules(${lib} REQUIRED IMPORTED_TARGET ${lib})
endforeach()
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
