#pragma once

#include <filesystem>
#include <string>

namespace danki::admin {

struct AdminOptions {
  std::filesystem::path socket;  ///< unix socket; empty: none
  unsigned socket_mode = 0660;
  std::string listen;  ///< "127.0.0.1:8025"; empty: none
  std::filesystem::path token_file;
};

}  // namespace danki::admin
