#include "cli/program.hpp"
#include "core/process/inherited.hpp"

int main(int argc, char** argv) {
  backplane::correct_inherited_state();
  if (const auto code = backplane::run_as_init()) return *code;
  return static_cast<int>(backplane::cli::run_program(argc, argv));
}
