#include "base/result.hpp"

#include <gtest/gtest.h>

namespace danki {
namespace {

TEST(Error, MessageNamesTheDetailAndTheCode) {
  EXPECT_EQ(Error(std::errc::no_such_file_or_directory, "/etc/key").message(), "/etc/key: No such file or directory");
  EXPECT_EQ(Error(std::errc::no_such_file_or_directory).message(), "No such file or directory");
  EXPECT_EQ(Error(std::error_code{}, "said so").message(), "said so");
}

}  // namespace
}  // namespace danki
