"""A network and a mount namespace for a test: the default ports are free, and names are the test's own."""

import os
import pathlib
import subprocess
import sys


def enter_own_namespaces(names, empty=()):
    """Starts this program again in namespaces of its own, with `names` as /etc/hosts, and with nothing in the folders `empty`.
    Returns whether it runs there."""
    if os.environ.get("OWN_NAMESPACES"):
        return True
    hosts = pathlib.Path(os.environ.get("TMPDIR", "/tmp"), f"backplane-hosts.{os.getpid()}")
    hosts.write_text(names, encoding="utf-8")
    mounts = "".join(f" && mount -t tmpfs tmpfs {folder}" for folder in empty)
    script = f'ip link set lo up && mount --bind "$0" /etc/hosts{mounts} && exec "$@"'
    command = ["unshare", "--net", "--mount", "sh", "-c", script, str(hosts)]
    try:
        if subprocess.run([*command, "true"], capture_output=True, timeout=60, check=False).returncode != 0:
            return False
        os.environ["OWN_NAMESPACES"] = "1"
        os.execvp(command[0], [*command, sys.executable, "-B", *sys.argv])
    finally:
        hosts.unlink(missing_ok=True)
