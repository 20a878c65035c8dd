"""The machine of a broker with store_sync = "always" loses power under load, again and again, with exact accounting from
outside: nothing that was confirmed or seen is lost, and the stream goes on.

The store is on a real filesystem (ext4) on a loop device. A power loss is: kill -9, then the image file of the loop
device as it is, without what the kernel still has in memory. The next broker gets a copy of that image, mounted anew
(ext4 replays its journal), and another boot id. Kernel threads write nothing back by themselves in the time that a
round takes: only what the broker has synced is in the image. This needs root and loop devices. If strace is installed,
it delays every sync, as a slow disk does: then there is always something that is written and not synced.

    BACKPLANE_POWER_LOSSES=60    how many
    BACKPLANE_SEED=1             the random moments
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest
import uuid

from harness import PROGRAM
from kills_test import SEED, Kills as KillsTest
from scenario import FaultTest

LOSSES = int(os.environ.get("BACKPLANE_POWER_LOSSES", "60"))
PER_ROUND = 20
IMAGE_BYTES = 1 << 30  # sparse
SYNC_DELAY_US = 20_000
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Machine:
    """A namespace with the filesystem of the image at /mnt, and a boot id of its own."""

    def __init__(self, test):
        self._folder = pathlib.Path(test.folder)
        self._boots = 0
        self._boot_id = self._folder / "boot_id"
        self._holder = test.run_process(["unshare", "--mount", "sh", "-c", "echo ready && read x"],
                                        stdin=subprocess.PIPE)
        self._holder.wait_line(self._holder.out, "ready")
        self._enter = ["nsenter", "--target", str(self._holder.pid), "--mount", "--"]
        self._boot_id.write_text("")
        self.run("mount", "--bind", str(self._boot_id), BOOT_ID)
        with open(self._image(), "wb") as file:
            file.truncate(IMAGE_BYTES)
        self.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image()))
        self._boot()
        test.addCleanup(self.end)

    def _image(self):
        return self._folder / f"disk{self._boots}"

    def run(self, *command):
        subprocess.run([*self._enter, *command], check=True, capture_output=True)

    def command(self, *command):
        delay = ["strace", "-D", "-f", "--quiet=all", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync",
                 "-e", f"inject=fdatasync:delay_enter={SYNC_DELAY_US}"] if shutil.which("strace") else []
        return [*self._enter, *delay, *command]

    def files(self):
        """The store as the running machine sees it."""
        return pathlib.Path(f"/proc/{self._holder.pid}/root/mnt/store")

    def _boot(self):
        self._boot_id.write_text(f"{uuid.uuid4()}\n")
        # Its journal is written by syncs alone.
        self.run("mount", "-o", "loop,commit=3600", str(self._image()), "/mnt")

    def lose_power(self):
        """All processes on it have been killed. Afterwards it has booted again."""
        before = self._image()
        self._boots += 1
        subprocess.run(["cp", "--sparse=always", str(before), str(self._image())], check=True)
        self.run("umount", "/mnt")  # this writes to the old image what was not synced
        before.unlink()
        self._boot()

    def end(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.run("umount", "/mnt")


def why_not():
    """Why there can be no such machine here; "" if there can."""
    if os.geteuid() != 0:
        return "not root"
    tried = subprocess.run(["unshare", "--mount", "sh", "-c", "losetup --find && command -v mkfs.ext4"], check=False,
                           capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no loop device, or no mkfs.ext4: {tried.stderr}"


class OnAMachine:
    """The brokers of a test run on a machine that can lose power."""

    def setUp(self):
        if reason := why_not():
            print(f"SKIPPED: there is no machine that can lose power: {reason}", file=sys.stderr)
            self.skipTest(reason)
        super().setUp()
        self.machine = Machine(self)

    def run_program(self, *arguments, **options):
        if arguments[0] == "broker":
            return self.run_process(self.machine.command(PROGRAM, *arguments), **options)
        return super().run_program(*arguments, **options)

    def store_path(self):
        return pathlib.Path("/mnt/store")


class PowerLoss(OnAMachine, KillsTest):
    filler = {"rate": 1500, "padding": 2000}  # there is always something that is not synced

    def test_kills(self):
        rounds, begun, done, cut_bytes = max(1, -(-LOSSES // PER_ROUND)), time.monotonic(), 0, 0
        for number in range(rounds):
            losses = LOSSES * (number + 1) // rounds - LOSSES * number // rounds
            self.lost_bytes = 0
            self.run_round(f"{SEED}.{number}.power", "always", losses)
            done, cut_bytes = done + losses, cut_bytes + self.lost_bytes
            print(f"round {number + 1} of {rounds}: {done} power losses in {time.monotonic() - begun:.0f} s; they took "
                  f"{cut_bytes} bytes that were written, and not synced", file=sys.stderr, flush=True)
            if number + 1 < rounds:
                self.doCleanups()
                self.setUp()

    def between_kill_and_start(self):
        written = self.log_bytes()
        self.machine.lose_power()
        self.lost_bytes += written - self.log_bytes()

    def log_bytes(self):
        return sum(each.stat().st_size for each in self.machine.files().glob("*.log"))


class WithoutSync(OnAMachine, FaultTest):
    def test_what_was_not_synced_is_really_lost_and_a_reset_says_so(self):
        """Shows that a loss of power is one: it takes what no sync has covered, and a new stream begins."""
        self.prepare("A", f'[[backplane]]\nstore = "file"\nstore_path = "{self.store_path()}"\nstore_sync = "off"\n')
        self.start_broker_at("A")
        stream, writer = self.streams["A"], self.knocker("A")
        for number in range(1000):
            writer.send("t", f"{number}")

        def all_admitted():
            with self.control("A") as asker:
                admitted = asker.request(admitted={"source": writer.source, "session": writer.session}).admitted
                return admitted.sequence == writer.sequence
        self.wait_until(all_admitted, "all events are admitted")
        self.assertTrue(self.positions())
        self.kill("A")
        self.assertGreater(sum(each.stat().st_size for each in self.machine.files().glob("*.log")), 100_000)
        self.machine.lose_power()
        self.assertLess(sum(each.stat().st_size for each in self.machine.files().glob("*.log")), 100_000)
        self.start_broker_at("A")
        self.assertNotEqual(self.streams["A"], stream)
        self.assertEqual(self.streams["A"] >> 32, stream >> 32)

    def positions(self):
        return [re.match("[0-9a-f]+-([0-9]+)", each.name)[1] for each in self.machine.files().glob("*.log")]


del KillsTest  # its own tests are elsewhere

if __name__ == "__main__":
    unittest.main()
