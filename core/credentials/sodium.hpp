#pragma once
// libsodium, ready for use. Only core/credentials and core/zmtp include this header.

#include <sodium.h>

namespace backplane {

/// Prepares libsodium for use; call it before its functions that need random numbers. Any thread may call it,
/// any number of times. Throws if the system has no source of random numbers.
void prepare_sodium();

}  // namespace backplane
