"""Adds what protoc generates from proto/ to the package: the classes of backplane.v1 and backplane.events.v1, and their types.

Everything else is in pyproject.toml. A source distribution has the .proto files in it.
"""

import pathlib
import shutil
import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent


def proto_folder():
    """In a source distribution, or in the source tree."""
    for folder in (HERE / "proto", HERE.parents[1] / "proto"):
        if (folder / "backplane").is_dir():
            return folder
    raise SystemExit(f"setup.py: expected .proto files in {HERE}/proto or in the source tree's proto/, got none")


class BuildWithTypes(build_py):
    def run(self):
        super().run()
        if shutil.which("protoc") is None:
            raise SystemExit("setup.py: cannot find protoc; install it (Debian: protobuf-compiler)")
        folder = proto_folder()
        files = sorted(str(path) for path in folder.rglob("*.proto"))
        subprocess.run(["protoc", f"--proto_path={folder}", f"--python_out={self.build_lib}", f"--pyi_out={self.build_lib}",
                        *files], check=True)


class SdistWithProto(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(proto_folder() / "backplane", pathlib.Path(base_dir, "proto", "backplane"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithTypes, "sdist": SdistWithProto})
