#include "cli/program.hpp"

int main(int argc, char** argv) {
  return static_cast<int>(backplane::cli::run_program(argc, argv));
}
