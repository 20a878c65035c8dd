#include "tests/allocations/counted_new.hpp"

#include <cstdlib>
#include <new>

#include <malloc.h>

namespace backplane::testing {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> allocated_bytes{0};

}  // namespace backplane::testing

namespace {

using backplane::testing::allocated_bytes;
using backplane::testing::allocations;

std::size_t cost_of(void* block) {
  return malloc_usable_size(block) + 8;
}

void* count(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  ++allocations;
  allocated_bytes += cost_of(block);
  return block;
}

void uncount(void* block) noexcept {
  if (block == nullptr) return;
  allocated_bytes -= cost_of(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return count(std::malloc(bytes));
}
void* operator new[](std::size_t bytes) {
  return count(std::malloc(bytes));
}
void operator delete(void* block) noexcept {
  uncount(block);
}
void operator delete[](void* block) noexcept {
  uncount(block);
}
void operator delete(void* block, std::size_t) noexcept {
  uncount(block);
}
void operator delete[](void* block, std::size_t) noexcept {
  uncount(block);
}
