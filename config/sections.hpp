#pragma once

#include "config/table_reader.hpp"

/// One function per kind of table; each reads its table into the rooms' options and reports what is wrong with it.
namespace danki::config {

struct Draft {
  Config config;
  Problems problems;
  std::filesystem::path folder;  ///< of the file: relative paths start here

  /// Places of names defined in tables, for messages about references to them.
  std::vector<std::pair<std::string, std::string>> pool_users;  ///< place and key, pool name
  std::filesystem::path path(const std::string& written) const;
};

void read_node(Draft& draft, TableReader& table);
void read_listener(Draft& draft, TableReader& table);
void read_tenant(Draft& draft, TableReader& table);
void read_source(Draft& draft, TableReader& table);
void read_pool(Draft& draft, TableReader& table);
void read_dkim(Draft& draft, TableReader& table);
void read_route(Draft& draft, TableReader& table);
void read_shaping(Draft& draft, TableReader& table);
void read_delivery(Draft& draft, TableReader& table);
void read_auth(Draft& draft, TableReader& table);
void read_dns(Draft& draft, TableReader& table);
void read_admin(Draft& draft, TableReader& table);
void read_limits(Draft& draft, TableReader& table);
void read_events(Draft& draft, TableReader& table);
void read_log(Draft& draft, TableReader& table);

/// What spans tables: names that must exist, keys and certificates that must load, defaults that depend on others.
void check_whole(Draft& draft);

/// "0.0.0.0:587", "[::]:587", "192.0.2.1:25"
std::optional<boost::asio::ip::tcp::endpoint> parse_endpoint(const std::string& text);

}  // namespace danki::config
