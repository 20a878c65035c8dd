"""The packages for pip and npm are enough: they are built, installed into an empty folder, and used from there. No
network: what they depend on comes from this system and from clients/node/node_modules."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

from harness import CONTROL, EGRESS, ENDPOINTS, INGRESS, BackplaneTest

SOURCE = pathlib.Path(os.environ["SOURCE_DIR"])
PYTHON, NODE = SOURCE / "clients" / "python", SOURCE / "clients" / "node"

HAS_PIP = all(importlib.util.find_spec(name) for name in ("pip", "setuptools", "wheel"))

PYTHON_PROGRAM = f"""
from backplane import Event, Publisher, Subscriber
from backplane.events.v1 import quote_pb2

with Subscriber("stock.>", egress="{EGRESS}", control="{CONTROL}") as subscriber, Publisher("me", ingress="{INGRESS}", control="{CONTROL}") as publisher:
    subscriber.receive(timeout=0)
    while True:
        publisher.publish("stock.MSFT", quote_pb2.Quote(symbol="MSFT", price=39.5))
        item = subscriber.receive(timeout=0.2)
        if isinstance(item, Event):
            print(item.topic, item.unpack(quote_pb2.Quote).price)
            break
"""

ASYNCIO_PROGRAM = f"""
import asyncio
from backplane import aio

async def main():
    async with aio.Subscriber("chat", egress="{EGRESS}", control="{CONTROL}") as subscriber, aio.Publisher("me", ingress="{INGRESS}", control="{CONTROL}") as publisher:
        await subscriber.wait_live()
        await publisher.publish("chat", "hello")
        item = await subscriber.receive()
        print(item.topic, item.text)

asyncio.run(main())
"""

NODE_PROGRAM = f"""
import {{ Event, Subscriber }} from "backplane";
const subscriber = new Subscriber(["stock.>"], {{ egress: "{EGRESS}", control: "{CONTROL}" }});
console.log("started");
for await (const item of subscriber) {{
  if (!(item instanceof Event)) continue;
  console.log(item.topic, item.unpack("backplane.events.v1.Quote").price);
  break;
}}
process.exit(0);
"""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300, **options)
    if done.returncode:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class ClientPackages(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="backplane-client-package-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.empty = self.folder / "empty"
        self.empty.mkdir()

    def copy_of(self, client):
        """The client and proto/ in a tree of their own: building leaves files beside the sources."""
        tree = self.folder / "tree"
        shutil.copytree(SOURCE / "proto", tree / "proto")
        target = tree / "clients" / client.name
        shutil.copytree(client, target, ignore=shutil.ignore_patterns("node_modules", "__pycache__", "build", "*.egg-info"))
        return target

    def pip(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir", *arguments, cwd=self.empty,
                   env={**environment, "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"})

    @unittest.skipUnless(HAS_PIP, "without pip, setuptools and wheel")
    def test_python_from_a_wheel(self):
        self.pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", self.folder, self.copy_of(PYTHON))
        wheel = next(self.folder.glob("*.whl"))
        self.assertEqual(set(zipfile.ZipFile(wheel).namelist()) - self.metadata(wheel), self.python_files())
        self.use_python(wheel)

    @staticmethod
    def metadata(wheel):
        return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name}

    @staticmethod
    def python_files():
        """Everything that the package has to contain: all modules of the library, and two files for each .proto file."""
        modules = {str(path.relative_to(PYTHON)) for path in (PYTHON / "backplane").rglob("*.py*")
                   if path.suffix == ".py" or path.name == "py.typed"} | {"backplane/py.typed"}
        protos = [path.relative_to(SOURCE / "proto") for path in (SOURCE / "proto").rglob("*.proto")]
        return modules | {f"{path.with_suffix('')}_pb2.{ending}" for path in protos for ending in ("py", "pyi")}

    @unittest.skipUnless(HAS_PIP, "without pip, setuptools and wheel")
    def test_python_from_a_source_distribution(self):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", self.folder, cwd=self.copy_of(PYTHON), env=environment)
        shutil.rmtree(self.folder / "tree")
        self.use_python(next(self.folder.glob("*.tar.gz")))

    def use_python(self, package):
        target = self.folder / "site"
        self.pip("install", "--no-deps", "--no-build-isolation", "--target", target, package)
        self.start_broker()
        process = self.run_process(["env", f"PYTHONPATH={target}", sys.executable, "-B", "-c", PYTHON_PROGRAM], cwd=str(self.empty))
        self.assertEqual(process.wait_exit(), 0, process.transcript())
        self.assertEqual(process.out, ["stock.MSFT 39.5"])
        process = self.run_process(["env", f"PYTHONPATH={target}", sys.executable, "-B", "-c", ASYNCIO_PROGRAM], cwd=str(self.empty))
        self.assertEqual(process.wait_exit(), 0, process.transcript())
        self.assertEqual(process.out, ["chat hello"])

    @unittest.skipUnless(shutil.which("npm"), "without npm")
    def test_node_from_a_tarball(self):
        client = self.copy_of(NODE)
        run("npm", "pack", "--silent", "--offline", client, cwd=self.folder, env={**os.environ, "HOME": str(self.folder)})
        self.assertFalse((client / "proto").exists())
        tarball = next(self.folder.glob("backplane-*.tgz"))
        shutil.rmtree(self.folder / "tree")
        with tarfile.open(tarball) as packed:
            names = {name.removeprefix("package/") for name in packed.getnames()}
            wanted = {"index.js", "index.d.ts", "package.json", "README.md"}
            wanted |= {f"lib/{path.name}" for path in (NODE / "lib").glob("*.js")}
            wanted |= {str(path.relative_to(SOURCE)) for path in (SOURCE / "proto").rglob("*.proto")}
            self.assertEqual({name for name in names if "." in name.rsplit("/", 1)[-1]}, wanted)
            self.assertEqual([name for name in names if name.startswith(("node_modules", ".npmrc", "pack.js"))], [])
            packed.extractall(self.folder / "unpacked")
        # What `npm install TARBALL` leaves, with the packages that it would fetch.
        modules = self.empty / "node_modules"
        shutil.copytree(NODE / "node_modules", modules, symlinks=True)
        (self.folder / "unpacked" / "package").rename(modules / "backplane")
        (self.empty / "main.mjs").write_text(NODE_PROGRAM)
        self.start_broker()
        process = self.run_process([os.environ["NODE"], "main.mjs"], cwd=str(self.empty))
        process.wait_line(process.out, "^started$")
        while process.running():
            run(os.environ["BACKPLANE_PROGRAM"], "pub", "stock.MSFT", "--json", "Quote", '{"symbol":"MSFT","price":39.5}', *ENDPOINTS)
        self.assertEqual(process.wait_exit(), 0, process.transcript())
        self.assertEqual(process.out, ["started", "stock.MSFT 39.5"])

    def test_all_have_the_version_of_the_program(self):
        version = os.environ["VERSION"]
        self.assertEqual(json.loads((NODE / "package.json").read_text())["version"], version)
        self.assertEqual(re.search('(?m)^version = "(.*)"$', (PYTHON / "pyproject.toml").read_text())[1], version)


if __name__ == "__main__":
    unittest.main()
