"""An installation suffices to build programs, at any path."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import HOST, BackplaneTest, Process

BUILD, SOURCE = (pathlib.Path(os.environ[name]) for name in ("BUILD_DIR", "SOURCE_DIR"))
EXAMPLES = ("subscribe", "publish")


def run(*command, **options):
    """Runs a command to its end. Returns its output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=600,
                          **options)
    if done.returncode:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Install(BackplaneTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="backplane-install-")
        cls.addClassCleanup(folder.cleanup)
        top = pathlib.Path(folder.name)
        run(os.environ["CMAKE"], "--install", BUILD, "--prefix", top / "first")
        # Nothing in it may contain its path.
        cls.prefix = top / "moved"
        (top / "first").rename(cls.prefix)
        cls.examples = top / "examples"
        shutil.copytree(SOURCE / "examples", cls.examples)
        cls.top = top
        cls.pkgconfig = next(cls.prefix.rglob("backplane-client.pc")).parent

    def headers(self):
        return [path for path in (self.prefix / "include").rglob("*.h*") if "events" not in path.parts]

    def build_with_cmake(self):
        build = self.top / "with-cmake"
        run(os.environ["CMAKE"], "-S", self.examples, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_CXX_COMPILER={os.environ['CXX']}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run(os.environ["CMAKE"], "--build", build)
        return build

    def build_with_pkg_config(self):
        build = self.top / "with-pkg-config"
        build.mkdir(exist_ok=True)
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.pkgconfig)}
        for name, library in zip(EXAMPLES, ("backplane-client", "backplane-publisher")):
            flags = run("pkg-config", "--cflags", "--libs", library, env=environment).split()
            run(os.environ["CXX"], "-std=c++20", "-o", build / name, self.examples / f"{name}.cpp", *flags)
        return build

    def run_examples(self, build):
        broker = Process([self.prefix / "bin" / "backplane", "broker", "--metrics", f"{HOST}:9570",
                          *(word for name, port in (("ingress", 5570), ("egress", 5571), ("control", 5572), ("raw", 5574))
                            for word in (f"--{name}", f"tcp://{HOST}:{port}"))])
        self.addCleanup(broker.end)
        broker.ready()
        environment = ["env", f"BACKPLANE_HOST={HOST}"]
        reader = self.run_process([*environment, str(build / "subscribe"), "greetings.>"])
        reader.wait_line(reader.err, "^subscribed$")
        run(*environment, build / "publish", "greetings.world", "hello")
        reader.wait_line(reader.out, r'^greetings\.world 1 \{.*"text":"hello".*\}$')
        reader.signal(signal.SIGINT)
        self.assertEqual(reader.wait_exit(), 0)
        token = reader.wait_line(reader.err, r"^to continue: ([0-9a-f]{16}:\d+)$")[1]
        run(*environment, build / "publish", "greetings.world", "meanwhile")
        again = self.run_process([*environment, str(build / "subscribe"), "greetings.>", token])
        again.wait_line(again.out, r'^greetings\.world 2 \{.*"text":"meanwhile".*\}$')
        self.assertEqual(len(again.out), 1)
        broker.end()

    def test_the_examples_run_when_built_with_find_package(self):
        self.run_examples(self.build_with_cmake())

    def test_the_examples_run_when_built_with_pkg_config(self):
        self.run_examples(self.build_with_pkg_config())

    def test_the_program_of_the_docs_builds(self):
        build = self.build_with_pkg_config()
        program = re.search("```cpp\n(.*?)```", (SOURCE / "docs" / "client.md").read_text(), re.DOTALL)[1]
        (build / "docs.cpp").write_text(program)
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.pkgconfig)}
        flags = run("pkg-config", "--cflags", "--libs", "backplane-client", env=environment).split()
        run(os.environ["CXX"], "-std=c++20", "-Wall", "-Wextra", "-Werror", "-o", build / "docs", build / "docs.cpp", *flags)

    def test_the_public_headers_expose_no_dependency(self):
        self.assertEqual({path.name for path in self.headers()}, {"client.hpp", "credentials.hpp", "gap_reason.hpp", "publisher.hpp"})
        for path in self.headers():
            includes = re.findall(r"^\s*#\s*include\s*[<\"]([^>\"]+)", path.read_text(), re.MULTILINE)
            for include in includes:
                self.assertRegex(include, r"^(backplane/\w+\.hpp|[a-z_]+)$", path.name)

    def test_each_public_header_can_be_included_first(self):
        for path in self.headers():
            name = path.relative_to(self.prefix / "include")
            run(os.environ["CXX"], "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++",
                "-I", self.prefix / "include", "-include", name, os.devnull)

    def test_nothing_installed_contains_the_path_of_the_source_tree_or_of_the_installation(self):
        for path in [*self.pkgconfig.iterdir(), *self.prefix.rglob("*.cmake"), *self.headers()]:
            text = path.read_text()
            self.assertNotIn(str(SOURCE), text, path)
            self.assertNotIn(str(self.top), text, path)

    def test_an_invalid_pattern_ends_the_example_with_one_line(self):
        build = self.build_with_pkg_config()
        done = subprocess.run([build / "subscribe", "a..b"], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r'^subscribe: .*a token is empty: "a\.\.b"\n$')


if __name__ == "__main__":
    unittest.main()
