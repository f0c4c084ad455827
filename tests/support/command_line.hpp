#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace danki::support {

/// The long options of a small tool: `--name value`, `--name=value` and bare switches. The tools of bench/ and
/// tests/support/ are compiled with everything else, and a fuller library costs seven seconds a file.
/// The variables named must outlive parse(); their values at that time are the defaults.
class CommandLine {
 public:
  CommandLine(std::string program, std::string purpose);

  void flag(std::string name, bool& target, std::string help);
  void value(std::string name, std::string& target, std::string help);
  void value(std::string name, int& target, std::string help);
  void value(std::string name, long& target, std::string help);
  void value(std::string name, double& target, std::string help);
  void list(std::string name, std::vector<std::string>& target, std::string help);  ///< may be given several times

  /// Prints help and exits 0 on --help; prints what is wrong and exits 64 (EX_USAGE) on a bad command line.
  void parse(int argc, char** argv) const;

 private:
  struct Option {
    std::string name;
    bool takes_value;
    std::string help;
    std::function<bool(std::string_view)> set;  ///< false: the value is not what the option takes
  };

  const Option& find(std::string_view name) const;
  [[noreturn]] void fail(const std::string& problem) const;
  [[noreturn]] void print_help() const;

  std::string program_;
  std::string purpose_;
  std::vector<Option> options_;
};

}  // namespace danki::support
