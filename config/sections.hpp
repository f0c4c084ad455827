#pragma once

#include "config/table_reader.hpp"

#include <map>

/// One function per kind of table; each reads its table into the rooms' options and reports what is wrong with it.
namespace danki::config {

/// A name used in one table and defined in another, to be looked up when all are read.
struct Reference {
  std::string where;  ///< place of the use
  std::string key;    ///< "tenant.pool"
  std::string kind;   ///< "pool": of the table that defines it
  std::string name;
};

struct Draft {
  Config config;
  Problems problems;
  std::filesystem::path folder;  ///< of the file: relative paths start here

  std::map<std::string, std::map<std::string, std::string>> places;  ///< kind, name: where it was defined
  std::vector<Reference> references;
  std::set<std::string> present;  ///< tables that the files have, well written or not

  std::filesystem::path path(const std::string& written) const;
  /// Notes the name of a [[kind]] table, or reports that it is taken or cannot be a name.
  void define(TableReader& table, const std::string& kind, const std::string& name);
  void refer(TableReader& table, std::string_view key, const std::string& kind, const std::string& name);
  void refer_all(TableReader& table, std::string_view key, const std::string& kind,
                 const std::vector<PlacedText>& names);
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

/// The keys that each kind of table may have, by the names of the tables; those before the first table under "".
std::map<std::string, std::set<std::string, std::less<>>, std::less<>> known_keys();

/// What spans tables: names that must exist, settings that only work together, defaults that depend on others.
void check_whole(Draft& draft);

/// "0.0.0.0:587", "[::]:587", "192.0.2.1:25"
std::optional<boost::asio::ip::tcp::endpoint> parse_endpoint(const std::string& text);
/// "192.0.2.0/24", "2001:db8::/32" or one address.
std::optional<submission::Network> parse_network(const std::string& text);
bool overlap(const submission::Network& a, const submission::Network& b);
/// A domain pattern as mail::domain_matches takes it, its domain as A-labels in lower case.
std::optional<std::string> parse_pattern(const std::string& text);

}  // namespace danki::config
