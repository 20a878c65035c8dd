"""The program is built with the flags of cmake/hardening.cmake."""

import os
import platform
import re
import subprocess
import unittest

PROGRAM, LIBRARY, BUILD_TYPE = (os.environ[name] for name in ("BACKPLANE_PROGRAM", "LIBRARY", "BUILD_TYPE"))


def readelf(*options, path=PROGRAM):
    return subprocess.run(["readelf", "--wide", *options, path], capture_output=True, text=True, check=True).stdout


class Hardening(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.segments = readelf("--program-headers")
        cls.dynamic = readelf("--dynamic")
        cls.symbols = set(re.findall(r" UND (\w+)", readelf("--dyn-syms")))

    def segment(self, name):
        """The flags of the only segment of that type."""
        found = re.findall(rf"^ +{name} .* 0x\w+ ([RWE ]{{3}}) ", self.segments, re.M)
        self.assertEqual(len(found), 1, self.segments)
        return found[0]

    def test_it_is_loaded_at_a_random_address(self):
        self.assertRegex(readelf("--file-header"), r"Type: +DYN ")
        self.assertRegex(self.dynamic, r"\(FLAGS_1\) .*\bPIE\b")
        self.assertNotIn("(TEXTREL)", self.dynamic)

    def test_what_the_loader_has_resolved_is_read_only(self):
        self.segment("GNU_RELRO")
        self.assertRegex(self.dynamic, r"\(FLAGS_1\) .*\bNOW\b")

    def test_nothing_is_both_writable_and_executable(self):
        self.assertEqual(self.segment("GNU_STACK"), "RW ")
        self.assertNotIn("RWE", self.segments)

    def test_libraries_are_loaded_from_the_systems_folders_only(self):
        self.assertNotRegex(self.dynamic, r"\((RPATH|RUNPATH)\)")

    def test_stack_buffers_are_guarded(self):
        self.assertIn("__stack_chk_fail", self.symbols)

    def test_bounds_of_containers_are_checked(self):
        self.assertIn("_ZSt21__glibcxx_assert_failPKciS0_S0_", self.symbols)

    @unittest.skipUnless(platform.machine() == "x86_64", "x86 only")
    def test_indirect_calls_and_returns_are_protected(self):
        # Whether the program has it depends on libc's start files, too.
        self.assertRegex(readelf("--notes", path=LIBRARY), "x86 feature: IBT, SHSTK")

    @unittest.skipUnless(BUILD_TYPE == "Release", "not optimised for release")
    def test_functions_of_libc_check_the_size_of_their_buffers(self):
        checked = {name for name in self.symbols if name.startswith("__") and name.endswith("_chk")}
        self.assertTrue(checked & {"__memcpy_chk", "__read_chk", "__recv_chk", "__poll_chk", "__fread_chk"}, checked)


if __name__ == "__main__":
    unittest.main()
