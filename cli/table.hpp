#pragma once

#include "cli/terminal.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace danki::cli {

/// A table for a terminal of any width: where it is narrow, the widest shrinkable columns give way first, then those
/// that can be missed go; without a bound every cell is whole.
class Table {
 public:
  struct Column {
    std::string title;
    enum class Align { Left, Right } align = Align::Left;
    std::size_t min_width = 0;     ///< it may be cut down to this; 0: it is never cut
    int dispensable = 0;           ///< above 0: it may be left out, the highest number first
    bool holds_addresses = false;  ///< what is cut keeps as much of the domain as fits
  };
  struct Cell {
    std::string text;
    Colour colour = Colour::None;
    Cell(std::string t, Colour c = Colour::None) : text(std::move(t)), colour(c) {}
    Cell(const char* t) : text(t) {}
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as columns. Their text is made printable.
  void add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }
  /// With its headings, each line ended.
  std::string to_string(const Terminal& terminal) const;

 private:
  struct Layout {
    std::vector<std::size_t> shown;   ///< indices of the columns that stay
    std::vector<std::size_t> widths;  ///< of those
    std::size_t gap;
  };
  Layout lay_out(std::size_t width) const;
  std::size_t natural_width(std::size_t column) const;
  void append_line(std::string& out, const Layout& layout, const std::vector<Cell>& cells,
                   const Terminal& terminal) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace danki::cli
