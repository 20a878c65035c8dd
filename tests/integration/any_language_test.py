"""docs/any-language.md: its programs are run as printed there, and its facts are those of the definitions."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
PROTO = TOP / "proto"


class Definitions(unittest.TestCase):
    def files(self):
        files = sorted(PROTO.rglob("*.proto"))
        self.assertGreater(len(files), 10)
        return files

    def test_every_file_has_the_options_of_go_java_and_csharp(self):
        for file in self.files():
            with self.subTest(file.name):
                text = file.read_text(encoding="utf-8")
                package = re.search(r"^package (.+);$", text, re.MULTILINE)[1]
                options = dict(re.findall(r'^option (\w+) = "?([^"]+?)"?;$', text, re.MULTILINE))
                self.assertEqual(options, {
                    "csharp_namespace": ".".join(word.capitalize() for word in package.split(".")),
                    "go_package": f"{package.replace('.', '/')};{''.join(package.split('.')[-2:])}",
                    "java_multiple_files": "true",
                    "java_outer_classname": "".join(word.capitalize() for word in file.stem.split("_")) + "Proto",
                    "java_package": package,
                })

    def test_protoc_generates_code_for_every_language_that_it_knows(self):
        for language in ("csharp", "java", "kotlin", "objc", "php", "python", "ruby"):
            with self.subTest(language), tempfile.TemporaryDirectory() as folder:
                subprocess.run([shutil.which("protoc"), f"-I{PROTO}", f"--{language}_out={folder}", *self.files()],
                               check=True, capture_output=True, text=True)
                self.assertTrue(any(pathlib.Path(folder).rglob("*.*")))


if __name__ == "__main__":
    unittest.main()
