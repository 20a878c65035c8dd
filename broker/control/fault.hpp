#pragma once
// Why a request is refused.

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace backplane::broker {

/// See ControlError (proto/backplane/v1/control.proto).
struct Fault {
  std::string_view code;
  std::string text;
};

template <class T>
using ControlResult = tl::expected<T, Fault>;

inline tl::unexpected<Fault> refuse(std::string_view code, std::string text) {
  return tl::unexpected(Fault{code, std::move(text)});
}

}  // namespace backplane::broker
