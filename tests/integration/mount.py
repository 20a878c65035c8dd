"""Filesystems for tests."""

import contextlib
import pathlib
import subprocess


class Mount:
    """A filesystem in a namespace of its own, visible at `path`."""

    def __init__(self, test, options, kind="tmpfs"):
        self._namespaces = None
        for namespaces in (["--user", "--map-root-user"], []):
            command = ["unshare", *namespaces, "--mount", "--cgroup", "sh", "-c",
                       f"mount -t {kind} -o {options if kind == 'tmpfs' else 'defaults'} none /mnt && echo mounted && read x"]
            holder = test.run_process(command, stdin=subprocess.PIPE)
            with contextlib.suppress(AssertionError):
                holder.wait_line(holder.out, "mounted")
                break
        else:
            test.fail(f"cannot mount a {kind} for this test: {holder.transcript()}")
        self.path = pathlib.Path(f"/proc/{holder.pid}/root/mnt")
        self._enter = ["nsenter", "--target", str(holder.pid), "--mount", *(["--user"] if namespaces else []), "--"]

    def run(self, *command):
        subprocess.run([*self._enter, *command], check=True)
