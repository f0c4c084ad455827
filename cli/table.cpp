#include "cli/table.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace danki::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowGap = 1;  // between columns, before anything is cut

std::size_t total_of(const std::vector<std::size_t>& widths, std::size_t gap) {
  return std::accumulate(widths.begin(), widths.end(), gap * (widths.empty() ? 0 : widths.size() - 1));
}

/// The domain tells an operator more than the local part: "someone@example.net" in 16 columns is "so..@example.net".
std::string cut_address(std::string_view address, std::size_t width) {
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos || display_width(address) <= width) return cut_to_width(address, width);
  const std::string_view domain = address.substr(at);
  const std::size_t domain_width = display_width(domain);
  const std::size_t local_width = width > domain_width + 2 ? width - domain_width : 2;
  return cut_to_width(cut_to_width(address.substr(0, at), local_width).append(domain), width);
}

}  // namespace

void Table::add(std::vector<Cell> row) {
  assert(row.size() == columns_.size());
  for (Cell& cell : row) cell.text = printable(cell.text);
  rows_.push_back(std::move(row));
}

std::size_t Table::natural_width(std::size_t column) const {
  std::size_t width = display_width(columns_[column].title);
  for (const auto& row : rows_) width = std::max(width, display_width(row[column].text));
  return width;
}

Table::Layout Table::lay_out(std::size_t width) const {
  Layout layout{.shown = {}, .widths = {}, .gap = kGap};
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    layout.shown.push_back(i);
    layout.widths.push_back(natural_width(i));
  }
  if (width == 0 || total_of(layout.widths, kGap) <= width) return layout;
  layout.gap = kNarrowGap;
  const auto least = [&](std::size_t i) {
    const Column& column = columns_[layout.shown[i]];
    const std::size_t bound = std::max(column.min_width, display_width(column.title));
    return column.min_width == 0 ? layout.widths[i] : std::min(layout.widths[i], bound);
  };
  for (;;) {
    std::size_t least_total = layout.gap * (layout.shown.size() - 1);
    for (std::size_t i = 0; i < layout.shown.size(); ++i) least_total += least(i);
    if (least_total <= width) break;
    const auto goes = std::max_element(layout.shown.begin(), layout.shown.end(), [&](std::size_t a, std::size_t b) {
      return columns_[a].dispensable < columns_[b].dispensable;
    });
    if (columns_[*goes].dispensable == 0) break;
    layout.widths.erase(layout.widths.begin() + (goes - layout.shown.begin()));
    layout.shown.erase(goes);
  }
  while (total_of(layout.widths, layout.gap) > width) {
    std::size_t widest = layout.widths.size();
    for (std::size_t i = 0; i < layout.widths.size(); ++i) {
      if (layout.widths[i] <= least(i)) continue;
      if (widest == layout.widths.size() || layout.widths[i] > layout.widths[widest]) widest = i;
    }
    if (widest == layout.widths.size()) break;  // the terminal is too narrow for anything: let it wrap
    --layout.widths[widest];
  }
  return layout;
}

void Table::append_line(std::string& out, const Layout& layout, const std::vector<Cell>& cells,
                        const Terminal& terminal) const {
  std::string pending;  // spaces that only a later cell makes real
  for (std::size_t i = 0; i < layout.shown.size(); ++i) {
    const Cell& cell = cells[layout.shown[i]];
    const Column& column = columns_[layout.shown[i]];
    const std::size_t width = layout.widths[i];
    const std::string text = column.holds_addresses ? cut_address(cell.text, width) : cut_to_width(cell.text, width);
    const std::string padding(width - display_width(text), ' ');
    const bool is_right = column.align == Column::Align::Right;
    if (is_right) pending += padding;
    if (!text.empty()) {
      out += pending + coloured(terminal, cell.colour, text);
      pending.clear();
    }
    if (!is_right) pending += padding;
    pending.append(layout.gap, ' ');
  }
  out += '\n';
}

std::string Table::to_string(const Terminal& terminal) const {
  const Layout layout = lay_out(terminal.width);
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title, Colour::Bold);
  std::string out;
  append_line(out, layout, titles, terminal);
  for (const auto& row : rows_) append_line(out, layout, row, terminal);
  return out;
}

}  // namespace danki::cli
