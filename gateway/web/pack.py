#!/usr/bin/env python3
"""Writes a C++ source with the page's files: each with its compressed form, its type and its ETag.

    pack.py OUTPUT.cpp PATH=FILE…        for example: pack.py assets_data.cpp /app.js=page/app.js

The same files always give the same output.
"""

import gzip
import hashlib
import pathlib
import sys

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
BYTES_A_LINE = 96

HEAD = """// Made by gateway/web/pack.py.
#include <array>

#include "gateway/web/assets.hpp"

namespace backplane::gateway::web {
namespace {

using namespace std::string_view_literals;

"""


def escape(byte):
    """One byte in a C++ string literal. Three octal digits cannot absorb the characters that follow."""
    if byte in b'"\\' or byte < 0x20 or byte > 0x7E or byte == ord("?"):
        return f"\\{byte:03o}"
    return chr(byte)


def literal(data):
    lines = ["".join(map(escape, data[at:at + BYTES_A_LINE])) for at in range(0, len(data), BYTES_A_LINE)]
    return "\n".join(f'    "{line}"sv' if len(lines) == 1 else f'    "{line}"' for line in lines or [""]) + (
        "" if len(lines) == 1 else "sv")


def main(output, pairs):
    files = dict(pair.split("=", 1) for pair in pairs)
    text, rows = [HEAD], []
    for number, (path, name) in enumerate(sorted(files.items(), key=lambda item: item[0].encode())):
        file = pathlib.Path(name)
        body = file.read_bytes()
        etag = hashlib.sha256(body).hexdigest()[:20]
        text.append(f"constexpr std::string_view body_{number} =\n{literal(body)};\n")
        text.append(f"constexpr std::string_view gzip_{number} =\n{literal(gzip.compress(body, 9, mtime=0))};\n\n")
        rows.append(f'    Asset{{"{path}", "{TYPES[file.suffix]}", "\\"{etag}\\"", body_{number}, gzip_{number}}},\n')
    text.append(f"constexpr std::array<Asset, {len(rows)}> all_assets{{\n{''.join(rows)}}};\n\n}}  // namespace\n\n")
    text.append("std::span<const Asset> assets() noexcept { return all_assets; }\n\n")
    text.append("}  // namespace backplane::gateway::web\n")
    pathlib.Path(output).write_text("".join(text))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
