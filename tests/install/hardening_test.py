"""Programs are built with the flags of cmake/hardening.cmake.

What is checked, in every build without sanitizers:
- the command line of every source that is compiled, for every flag;
- the program and the libraries that it consists of, by readelf, for what each flag leaves in them;
- these checks themselves, by a small program that is built with all flags, and then without each of them.

FORTIFY is in release builds only. In others (CI has `dev`), it is checked in the small program alone, and the test that
is skipped says so. After `./dev build release`, `ctest --test-dir build/release -R hardening` checks it everywhere.
-fstack-clash-protection leaves nothing that readelf could show: its check is the command line.
"""

import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import tempfile
import unittest

BUILD_DIR = pathlib.Path(os.environ["BUILD_DIR"])
BUILD_TYPE = os.environ["BUILD_TYPE"]
PROGRAM = pathlib.Path(os.environ["BACKPLANE_PROGRAM"])
COMPILER = os.environ["COMPILER"]
# As in cmake/hardening.cmake.
COMPILE, LINK, FORTIFY = (os.environ[name].split() for name in ("COMPILE_FLAGS", "LINK_FLAGS", "FORTIFY_FLAGS"))
ASSERTIONS = "-D_GLIBCXX_ASSERTIONS"

has_fortify = BUILD_TYPE in ("Release", "RelWithDebInfo", "MinSizeRel")
no_fortify = f"not in this build: CMAKE_BUILD_TYPE is {BUILD_TYPE or 'empty'}, and FORTIFY is in release builds only"
has_cet = platform.machine() == "x86_64" and "-fcf-protection=full" in COMPILE


def readelf(option, *paths):
    return subprocess.run(["readelf", "--wide", option, *paths], capture_output=True, text=True, check=True).stdout


def segment(path, name):
    """The flags of the segments of that type, such as RW."""
    return re.findall(rf"^ +{name} .* 0x\w+ ([RWE ]{{3}}) 0x", readelf("--program-headers", path), re.M)


def dynamic_flags(path):
    return re.findall(r"\(FLAGS_1\) +Flags: (.*)", readelf("--dynamic", path))


def imports(path):
    return set(re.findall(r" UND (\w+)", readelf("--dyn-syms", path)))


# What each flag leaves in a program. Each returns what is there instead, or nothing if it is as it must be.


def at_a_random_address(path):
    kind = re.findall(r"Type: +(\w+)", readelf("--file-header", path))
    if kind != ["DYN"] or not any("PIE" in each.split() for each in dynamic_flags(path)):
        return f"type {kind}, flags {dynamic_flags(path)}"
    return "(TEXTREL)" if "(TEXTREL)" in readelf("--dynamic", path) else None


def relocations_become_read_only(path):
    return None if len(segment(path, "GNU_RELRO")) == 1 else "no segment GNU_RELRO"


def all_is_resolved_at_start(path):
    return None if any("NOW" in each.split() for each in dynamic_flags(path)) else f"flags {dynamic_flags(path)}"


def stack_is_not_executable(path):
    found = segment(path, "GNU_STACK")
    return None if found == ["RW "] and "RWE" not in readelf("--program-headers", path) else f"GNU_STACK {found}"


def stack_buffers_are_guarded(path):
    return None if "__stack_chk_fail" in imports(path) else "no __stack_chk_fail"


def containers_are_checked(path):
    return None if "_ZSt21__glibcxx_assert_failPKciS0_S0_" in imports(path) else "no __glibcxx_assert_fail"


def libc_checks_buffers(path):
    """FORTIFY calls functions that know the size of the buffer, such as __read_chk, instead of the usual ones."""
    names = {name for name in imports(path) if re.fullmatch(r"__\w+_chk", name)}
    return None if names else "no function __…_chk"


def branches_are_protected(*objects):
    """Whether each object of each file has it. A program has it only if libc's start files have it, too."""
    notes = readelf("--notes", *objects)
    files = re.split(r"^File: ", notes, flags=re.M)[1:] or [notes]
    without = [file.splitlines()[0] for file in files if not re.search("x86 feature: IBT, SHSTK", file)]
    return f"nothing in {without}" if without else None


PROGRAM_CHECKS = {
    "-pie": at_a_random_address,
    "-z relro": relocations_become_read_only,
    "-z now": all_is_resolved_at_start,
    "-z noexecstack": stack_is_not_executable,
    "-fstack-protector-strong": stack_buffers_are_guarded,
    ASSERTIONS: containers_are_checked,
    "-D_FORTIFY_SOURCE": libc_checks_buffers,
}

# Ends each flag's effect. A flag that is only left out may be the compiler's default.
OPPOSITE = {
    "-pie": ["-fno-pie", "-no-pie"],
    "-z relro": ["-Wl,-z,norelro"],
    "-z now": ["-Wl,-z,lazy"],
    "-z noexecstack": ["-Wl,-z,execstack"],
    "-fstack-protector-strong": ["-fno-stack-protector"],
    ASSERTIONS: ["-U_GLIBCXX_ASSERTIONS"],
    "-D_FORTIFY_SOURCE": ["-U_FORTIFY_SOURCE"],
}

OPPOSITE_OF_COMPILING = ["-fno-pie", "-fno-PIE", "-fno-stack-protector", "-fno-stack-clash-protection",
                         "-fcf-protection=none", "-U_GLIBCXX_ASSERTIONS"]

SMALL_PROGRAM = r"""
#include <vector>
#include <unistd.h>
int main(int count, char** arguments) {
  char buffer[64];
  const ssize_t got = read(0, buffer, static_cast<std::size_t>(count) * 10);
  std::vector<int> values(static_cast<std::size_t>(count));
  return values[static_cast<std::size_t>(got)] + buffer[count] + arguments[0][0];
}
"""


def faults_in(words, fortify):
    """What is wrong with a compiler's command line; with fortify, in a release build."""
    expected = COMPILE + [ASSERTIONS] + (FORTIFY if fortify else [])
    faults = [f"no {flag}" for flag in expected if flag not in words]
    faults += [word for word in words if word in OPPOSITE_OF_COMPILING]
    if fortify:
        # The last -U or -D counts.
        faults += [word for word in words if "_FORTIFY_SOURCE" in word and word not in FORTIFY]
        level = [word for word in words if re.fullmatch("-O.*", word)][-1:]
        faults += [] if level in (["-O2"], ["-O3"]) else [f"FORTIFY without optimisation: {level}"]
    return faults


class CommandLines(unittest.TestCase):
    """Of all sources, those of tests included."""

    def test_each_source_is_compiled_with_each_flag(self):
        commands = json.loads((BUILD_DIR / "compile_commands.json").read_text(encoding="utf-8"))
        self.assertGreater(len(commands), 100)
        for command in commands:
            with self.subTest(command["file"]):
                self.assertEqual(faults_in(shlex.split(command["command"]), has_fortify), [])

    def test_a_flag_that_is_missing_is_found(self):
        good = [COMPILER, "-O3", *COMPILE, ASSERTIONS, *FORTIFY, "-c", "a.cpp"]
        self.assertEqual(faults_in(good, True), [])
        for flag in [*COMPILE, ASSERTIONS, *FORTIFY]:
            self.assertEqual(faults_in([word for word in good if word != flag], True), [f"no {flag}"])
        for flag in [*OPPOSITE_OF_COMPILING, "-D_FORTIFY_SOURCE=0", "-D_FORTIFY_SOURCE=1"]:
            self.assertIn(flag, faults_in([*good, flag], True))
        self.assertNotEqual(faults_in([*good, "-O0"], True), [])


class Program(unittest.TestCase):
    def test_each_flag_has_left_its_trace(self):
        for flag, check in PROGRAM_CHECKS.items():
            if flag == "-D_FORTIFY_SOURCE" and not has_fortify:
                continue  # the next test says so
            with self.subTest(flag):
                self.assertIsNone(check(PROGRAM))

    @unittest.skipUnless(has_fortify, no_fortify)
    def test_libc_checks_buffers(self):
        self.assertIsNone(libc_checks_buffers(PROGRAM))

    @unittest.skipUnless(has_cet, "x86_64 only, and compilers that have it")
    def test_indirect_calls_and_returns_are_protected(self):
        libraries = sorted(BUILD_DIR.glob("**/libbackplane_*.a"))
        self.assertGreater(len(libraries), 20)
        self.assertIsNone(branches_are_protected(*libraries))

    def test_libraries_are_loaded_from_the_systems_folders_only(self):
        self.assertNotRegex(readelf("--dynamic", PROGRAM), r"\((RPATH|RUNPATH)\)")


class Checks(unittest.TestCase):
    """The checks above find a flag that is missing."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.folder / "small.cpp").write_text(SMALL_PROGRAM, encoding="utf-8")

    def build(self, *more):
        path = self.folder / "small"
        flags = ["-O2", "-std=c++20", "-w", *COMPILE, *FORTIFY, ASSERTIONS, "-pie", *LINK, *more]
        subprocess.run([COMPILER, *flags, "small.cpp", "-o", path], cwd=self.folder, check=True)
        return path

    def test_with_all_flags_nothing_is_found(self):
        path = self.build()
        for flag, check in PROGRAM_CHECKS.items():
            with self.subTest(flag):
                self.assertIsNone(check(path))

    def test_without_a_flag_its_check_fails_and_no_other(self):
        for flag, opposite in OPPOSITE.items():
            with self.subTest(flag):
                path = self.build(*opposite)
                found = [other for other, check in PROGRAM_CHECKS.items() if check(path) is not None]
                self.assertEqual(found, [flag])

    @unittest.skipUnless(has_cet, "x86_64 only, and compilers that have it")
    def test_an_object_without_protected_branches_is_found(self):
        for name, opposite in (("with.o", []), ("without.o", ["-fcf-protection=none"])):
            subprocess.run([COMPILER, "-std=c++20", "-w", *COMPILE, *opposite, "-c", "small.cpp", "-o", name],
                           cwd=self.folder, check=True)
        both = self.folder / "libboth.a"
        subprocess.run(["ar", "rc", both, "with.o", "without.o"], cwd=self.folder, check=True)
        self.assertIsNone(branches_are_protected(self.folder / "with.o"))
        self.assertIn("without.o", branches_are_protected(both))
        self.assertNotIn("with.o", branches_are_protected(both))


if __name__ == "__main__":
    print(f"{PROGRAM}: CMAKE_BUILD_TYPE {BUILD_TYPE or 'empty'};",
          "with FORTIFY" if has_fortify else "without FORTIFY, which release builds have", flush=True)
    unittest.main()
