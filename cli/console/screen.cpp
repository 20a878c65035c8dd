#include "cli/console/screen.hpp"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include <langinfo.h>
#include <termios.h>
#include <unistd.h>

// Use the functions: macros of the same names would clash with other code.
#define NCURSES_NOMACROS
#include <curses.h>

#include "cli/console/table.hpp"

namespace backplane::cli {

class Screen::Impl {
 public:
  Impl() {
    // curses writes in the character set of the environment. Our text is UTF-8.
    if (std::setlocale(LC_CTYPE, "") == nullptr || std::string_view(::nl_langinfo(CODESET)) != "UTF-8") {
      std::setlocale(LC_CTYPE, "C.UTF-8");
    }
    // The time in ms after which a lone Escape is not the beginning of another key. The default of 1 s delays
    // quitting.
    ::set_escdelay(25);
    terminal_ = ::newterm(nullptr, stdout, stdin);
    if (terminal_ == nullptr) {
      const char* const name = std::getenv("TERM");
      throw std::runtime_error(std::string("the terminal \"") + (name == nullptr ? "" : name) +
                               "\" cannot show a full screen; set TERM to a terminal that can");
    }
    ::cbreak();
    disable_flow_control();
    ::noecho();
    ::nodelay(stdscr, TRUE);
    ::keypad(stdscr, TRUE);
    ::curs_set(0);
  }

  ~Impl() {
    ::endwin();
    ::delscreen(terminal_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

 private:
  /// Ctrl-S would block the next write, and with it the whole command.
  static void disable_flow_control() {
    termios settings{};
    if (::tcgetattr(STDIN_FILENO, &settings) != 0) return;
    settings.c_iflag &= ~tcflag_t{IXON};
    ::tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    ::def_prog_mode();  // curses restores it after a change of the size
  }

  SCREEN* terminal_;
};

bool Screen::available() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
}

Screen::Screen() : impl_(std::make_unique<Impl>()) {}
Screen::~Screen() = default;

ScreenSize Screen::size() const {
  return {static_cast<std::size_t>(::getmaxy(stdscr)), static_cast<std::size_t>(::getmaxx(stdscr))};
}

void Screen::show(const std::vector<ScreenLine>& lines) {
  const ScreenSize now = size();
  ::werase(stdscr);
  for (std::size_t row = 0; row < lines.size() && row < now.rows; ++row) {
    const attr_t style = lines[row].style == ScreenLine::Style::heading ? A_BOLD
                         : lines[row].style == ScreenLine::Style::alarm ? A_REVERSE
                                                                        : A_NORMAL;
    ::wattrset(stdscr, static_cast<int>(style));
    // The last cell of the last row stays empty, because writing it scrolls some terminals.
    const std::size_t width = row + 1 == now.rows ? now.columns - 1 : now.columns;
    ::mvwaddstr(stdscr, static_cast<int>(row), 0, cut(lines[row].text, width).c_str());
  }
  ::wattrset(stdscr, A_NORMAL);
  ::wrefresh(stdscr);
}

Screen::Key Screen::key() {
  const int key = ::wgetch(stdscr);
  if (key == ERR) return Key::none;
  constexpr int escape = 27;
  return key == 'q' || key == 'Q' || key == escape ? Key::quit : Key::other;
}

int Screen::fd() noexcept {
  return STDIN_FILENO;
}

}  // namespace backplane::cli
