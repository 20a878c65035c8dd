""".ci/tidy.py checks a source again when something that the verdict depends on has changed, and only then."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".ci"))
from check_layers import Tree  # noqa: E402
from tidy import common_input, fingerprint  # noqa: E402

FILES = {
    ".clang-tidy": "Checks: a\n",
    "tests/.clang-tidy": "Checks: b\n",
    "proto/backplane/v1/event.proto": "message Event {}\n",
    "core/a.cpp": '#include "core/a.hpp"\n',
    "core/a.hpp": '#include "core/b.hpp"\n',
    "core/b.hpp": "#include <string>\n",
    "core/unrelated.hpp": "\n",
}
COMMAND = "/usr/bin/c++ -DA -I{top} -isystem {top}/build/proto -o {output} -c {top}/core/a.cpp"


def print_of(changed=None, environment="clang-tidy 14", command=COMMAND, output="a.o"):
    with tempfile.TemporaryDirectory() as top:
        subprocess.run(["git", "init", "--quiet", top], check=True)
        for name, text in {**FILES, **(changed or {})}.items():
            path = pathlib.Path(top, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return fingerprint(Tree(top), "core/a.cpp", command.format(top=top, output=output),
                           common_input(top, environment))


class Fingerprint(unittest.TestCase):
    def test_it_is_the_same_in_another_clone_and_for_another_object(self):
        self.assertEqual(print_of(), print_of(output="elsewhere/a.o"))

    def test_it_ignores_files_that_the_source_does_not_include(self):
        self.assertEqual(print_of(), print_of({"core/unrelated.hpp": "int x;\n"}))

    def test_it_changes_with_each_input(self):
        inputs = {
            "the source": print_of({"core/a.cpp": '#include "core/a.hpp"\nint x;\n'}),
            "an include of an include": print_of({"core/b.hpp": "#include <vector>\n"}),
            "a definition of a generated header": print_of(
                {"proto/backplane/v1/event.proto": "message Event { int32 x = 1; }\n"}),
            "the checks": print_of({".clang-tidy": "Checks: c\n"}),
            "the checks of tests": print_of({"tests/.clang-tidy": "Checks: c\n"}),
            "the compiler's command": print_of(command=COMMAND.replace("-DA", "-DB")),
            "tools and system headers": print_of(environment="clang-tidy 15"),
        }
        for name, changed in inputs.items():
            with self.subTest(name):
                self.assertNotEqual(changed, print_of())


if __name__ == "__main__":
    unittest.main()
