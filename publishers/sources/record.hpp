#pragma once
// One record of a data file, in any format.

#include "core/json/object.hpp"

namespace backplane::sources {

/// A JSON object, or a row of a table: each field is a text, and an empty one is null.
using Record = json::Object;
using Value = json::Value;

}  // namespace backplane::sources
