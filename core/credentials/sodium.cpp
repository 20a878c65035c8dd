#include "core/credentials/sodium.hpp"

#include <stdexcept>

namespace backplane {

void prepare_sodium() {
  if (sodium_init() < 0) throw std::runtime_error("cannot start libsodium: no source of random numbers");
}

}  // namespace backplane
