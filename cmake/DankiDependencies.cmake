# Every library comes from a Debian package; packaging/packages.txt lists them.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL 3 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(RocksDB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(cares REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(idn2 REQUIRED IMPORTED_TARGET libidn2)
# Not "zstd": that prefix is what RocksDB's own search uses, and a second configure would trip over it.
pkg_check_modules(libzstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(crypt REQUIRED IMPORTED_TARGET libcrypt)
# By pkg-config: its flags choose the compiled library over the header-only one, 0.6 s instead of 3 s a file.
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
add_library(tomlplusplus::tomlplusplus ALIAS PkgConfig::tomlplusplus)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(danki_flags INTERFACE)
# GCC 12 takes Asio's pairing of its coroutine frame allocator for a mismatch.
target_compile_options(danki_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
    -Wno-mismatched-new-delete>)
target_compile_definitions(danki_flags INTERFACE
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ERROR_CODE_HEADER_ONLY SPDLOG_FMT_EXTERNAL)
if(DANKI_SANITIZE)
  target_compile_options(danki_flags INTERFACE -fsanitize=${DANKI_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(danki_flags INTERFACE -fsanitize=${DANKI_SANITIZE})
  if(DANKI_SANITIZE MATCHES thread)
    # The fence in Asio's reference counts is invisible to the thread sanitizer.
    target_compile_definitions(danki_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
    target_compile_options(danki_flags INTERFACE -Wno-tsan)
  endif()
endif()
