#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// What the place we print to can show.
namespace danki::cli {

struct Terminal {
  bool has_colour = false;
  std::size_t width = 0;  ///< columns; 0: no bound, for pipes and files
};

/// Of standard output: colour only on a terminal and without NO_COLOR (https://no-color.org), the width from COLUMNS or
/// the terminal.
Terminal detect_terminal();

/// `text` fit for a terminal: control characters, also the C1 ones, and invalid UTF-8 replaced by "?", line ends by a
/// space. Remote hosts wrote it.
std::string printable(std::string_view text);

/// Columns that printable `text` takes: two for East Asian wide characters and emoji, none for combining marks.
std::size_t display_width(std::string_view text);

/// At most `width` columns of printable `text`, ending in ".." where it is cut.
std::string cut_to_width(std::string_view text, std::size_t width);

enum class Colour { None, Bold, Dim, Red, Yellow, Green };
/// `text` in that colour, if the terminal has any.
std::string coloured(const Terminal& terminal, Colour colour, std::string_view text);

}  // namespace danki::cli
