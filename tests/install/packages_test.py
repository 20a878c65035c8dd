"""The Debian packages: they are installed into an empty root, what their services start runs from there, and they are
upgraded, removed and purged. No network, no systemd: the test is the service manager."""

import gzip
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, HOST, RAW, BackplaneTest, Deadline

BUILD, SOURCE = (pathlib.Path(os.environ[name]) for name in ("BUILD_DIR", "SOURCE_DIR"))
NAMES = ("backplane", "libbackplane-dev", "python3-backplane")
TOOLS = ("dpkg", "dpkg-deb", "dpkg-shlibdeps", "systemd-sysusers", "deb-systemd-helper")


def run(*command, **options):
    """Runs a command to its end. Returns its output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=600, **options)
    if done.returncode:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# The files of the packages belong to root: who is not root is root in a user namespace of his own.
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]


def can_be_root():
    return not AS_ROOT or subprocess.run([*AS_ROOT, "true"], check=False, capture_output=True).returncode == 0


class Root:
    """A root directory with nothing in it but dpkg's database."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder)
        for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "var/log"):
            (self.path / name).mkdir(parents=True)
        (self.path / "var/lib/dpkg/status").touch()

    def dpkg(self, *arguments):
        # The scripts of the packages run outside of the root, which has no shell, and get its name in DPKG_ROOT.
        # Without dependencies: the libraries are those of this system.
        return run(*AS_ROOT, "dpkg", f"--root={self.path}", f"--log={self.path}/var/log/dpkg.log", "--force-script-chrootless",
                   "--force-depends", "--force-confold", *arguments,
                   env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "DEBIAN_FRONTEND": "noninteractive"})

    def state(self, name):
        found = subprocess.run(["dpkg-query", f"--admindir={self.path}/var/lib/dpkg", "-W", "-f=${Status} ${Version}", name],
                               capture_output=True, text=True, check=False)
        return found.stdout

    def __truediv__(self, name):
        return self.path / name.lstrip("/")


class Unit:
    """A service of systemd, started as systemd starts it, but below a root and with further arguments."""

    def __init__(self, root, name):
        self.root = root
        self.text = (root / f"/lib/systemd/system/{name}.service").read_text()

    def all(self, key):
        return re.findall(rf"(?m)^{key}=(.*)$", self.text)

    def command(self, *more, instance=""):
        """ExecStart, with StateDirectory created."""
        for name in self.all("StateDirectory"):
            (self.root / f"/var/lib/{name.replace('%i', instance)}").mkdir(parents=True, exist_ok=True)
        words = shlex.split(self.all("ExecStart")[0].replace("%i", instance).replace("%S", "/var/lib"))
        return [str(self.root / word) if word.startswith("/") else word for word in words] + list(more)


def repack(package, folder, version, change):
    """A copy of the package with another version. Returns its path."""
    tree = pathlib.Path(folder, f"tree-{version}")
    run(*AS_ROOT, "dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub("(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    change(tree)
    target = pathlib.Path(folder, f"repacked_{version}.deb")
    run(*AS_ROOT, "dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, target)
    return target


@unittest.skipUnless(all(map(shutil.which, TOOLS)) and can_be_root(), "needs dpkg-dev, systemd-sysusers, and to be root")
class Packages(BackplaneTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="backplane-packages-")
        cls.addClassCleanup(folder.cleanup)
        cls.top = pathlib.Path(folder.name)
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", cls.top / "packages", cwd=cls.top, env={**os.environ, "SOURCE_DATE_EPOCH": "1"})
        cls.files = {path.name.split("_")[0]: path for path in (cls.top / "packages").glob("*.deb")}

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="backplane-root-")
        self.addCleanup(folder.cleanup)
        self.root = Root(folder.name)

    def install(self, *packages):
        self.root.dpkg("--install", *(packages or self.files.values()))

    def field(self, name, field):
        return run("dpkg-deb", "--field", self.files[name], field).strip()

    def listing(self, name):
        """{path: (mode, owner)} of a package."""
        lines = run("dpkg-deb", "--contents", self.files[name]).splitlines()
        return {words[5][1:]: (words[0], words[1]) for words in (line.split(None, 5) for line in lines)}

    def start_service(self, name="backplane"):
        """The process that backplane.service starts, or another one."""
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        path = self.root / "/notify"
        path.unlink(missing_ok=True)
        self.notify.bind(str(path))
        broker, gateway = [*ENDPOINTS, "--raw", RAW, "--metrics", f"{HOST}:9570"], ["--listen", f"{HOST}:1601"]
        extra = {"backplane": broker + gateway, "backplane-broker": broker, "backplane-gateway": gateway + ENDPOINTS}
        unit = Unit(self.root, name)
        self.assertEqual(unit.all("Type"), ["notify"])
        watchdog_us = int(unit.all("WatchdogSec")[0]) * 1_000_000
        service = self.run_process(["env", f"NOTIFY_SOCKET={path}", f"WATCHDOG_USEC={watchdog_us}",
                                    *unit.command(*extra[name])])
        self.wait_notified("READY=1")
        return service

    def wait_notified(self, word):
        deadline = Deadline()
        while True:
            self.notify.settimeout(max(0.001, deadline.left()))
            if self.notify.recv(4096).decode().split("\n")[0] == word:
                return

    def test_installed_its_services_serve_from_the_root_reload_and_stop(self):
        self.install()
        for name in NAMES:
            self.assertRegex(self.root.state(name), "^install ok installed ")
        self.assertIn("backplane:", (self.root / "/etc/passwd").read_text())
        self.assertTrue((self.root / "/etc/systemd/system/multi-user.target.wants/backplane.service").is_symlink())
        service = self.start_service()
        program = self.root / "/usr/bin/backplane"
        client = self.client()
        client.subscribe("news.>")
        run(program, "pub", "news.uk", "It rains", *ENDPOINTS)
        self.assertEqual(client.event(), "news.uk It rains")
        self.assertTrue(any((self.root / "/var/lib/backplane/default").iterdir()))
        # The reload of the unit is SIGHUP.
        self.assertEqual(Unit(self.root, "backplane").all("ExecReload"), ["/bin/kill -HUP $MAINPID"])
        service.signal(signal.SIGHUP)
        self.wait_notified("RELOADING=1")
        self.wait_notified("READY=1")
        service.signal(signal.SIGTERM)
        self.wait_notified("STOPPING=1")
        self.assertEqual(service.wait_exit(), 0)
        # The history is there after a restart, also with a process for each.
        for name in ("backplane-broker", "backplane-gateway"):
            self.start_service(name)
        self.assertEqual(run(program, "get", "news.uk", *ENDPOINTS), "It rains\n")
        unit = Unit(self.root, "backplane-publish@")
        self.assertEqual(unit.all("ExecStart"), ["/usr/bin/backplane publish $SOURCE"])
        clock = self.run_process([str(program), "publish", "clock", "--every", "50ms", *ENDPOINTS])
        client = self.client()
        client.subscribe("clock")
        self.assertRegex(client.event(), '^clock {"tick"')
        clock.end()

    def test_a_link_is_an_instance_with_a_file_and_a_state_of_its_own(self):
        self.install()
        (self.root / "/etc/backplane/link/edge7.toml").write_text('[link]\nfrom = "edge7"\nto = ["h1"]\npatterns = ["sensor.>"]\n')
        printed = run(*Unit(self.root, "backplane-link@").command("--print-config", instance="edge7"))
        self.assertIn('from = ["edge7"]', printed)
        self.assertIn(f'state = "{self.root.path}/var/lib/backplane-link/edge7"', printed)
        self.root.dpkg("--remove", "backplane")
        self.assertTrue((self.root / "/var/lib/backplane-link/edge7").is_dir())
        self.root.dpkg("--purge", "backplane")
        self.assertFalse((self.root / "/var/lib/backplane-link").exists())

    def test_the_python_package_is_enough_for_python(self):
        self.install()
        self.start_service()
        program = ("import sys; from backplane import Publisher, Subscriber; from backplane.events.v1 import quote_pb2\n"
                   f"with Subscriber('stock.>', egress='{EGRESS}', control='{CONTROL}') as reader:\n"
                   "    print('subscribed', reader.receive(timeout=0), flush=True)\n"
                   "    item = reader.receive(timeout=60)\n"
                   "    print(item.topic, item.unpack(quote_pb2.Quote).price)\n")
        packages = self.root / "/usr/lib/python3/dist-packages"
        reader = self.run_process(["env", f"PYTHONPATH={packages}", sys.executable, "-W", "error", "-B", "-c", program], cwd=str(self.top))
        reader.wait_line(reader.out, "^subscribed")
        while reader.running():
            run(self.root / "/usr/bin/backplane", "pub", "stock.MSFT", "--json", "Quote", '{"symbol":"MSFT","price":39.5}', *ENDPOINTS)
        self.assertEqual(reader.wait_exit(), 0, reader.transcript())
        self.assertEqual(reader.out[-1], "stock.MSFT 39.5")

    def test_an_upgrade_keeps_the_history_and_a_changed_configuration(self):
        def older(tree):
            conffile = tree / "etc/backplane/backplane.toml"
            conffile.write_text("# of the previous version\n" + conffile.read_text())

        self.install(repack(self.files["backplane"], self.top, "0.0.9-1", older))
        self.assertIn("0.0.9-1", self.root.state("backplane"))
        configuration = self.root / "/etc/backplane/backplane.toml"
        service = self.start_service()
        run(self.root / "/usr/bin/backplane", "pub", "news.uk", "before", *ENDPOINTS)
        service.end()

        self.install(self.files["backplane"])
        self.assertIn(self.field("backplane", "Version"), self.root.state("backplane"))
        # An unchanged configuration is replaced.
        self.assertEqual(configuration.read_text(), (SOURCE / "config" / "backplane.toml").read_text())
        self.start_service()
        self.assertEqual(run(self.root / "/usr/bin/backplane", "get", "news.uk", *ENDPOINTS), "before\n")

        configuration.write_text('[log]\nlevel = "debug"\n')
        self.install(repack(self.files["backplane"], self.top, "9.0.0-1", older))
        self.assertEqual(configuration.read_text(), '[log]\nlevel = "debug"\n')

    def test_an_administrator_who_disabled_the_service_finds_it_disabled_after_an_upgrade(self):
        self.install(repack(self.files["backplane"], self.top, "0.0.8-1", lambda tree: None))
        link = self.root / "/etc/systemd/system/multi-user.target.wants/backplane.service"
        link.unlink()
        self.install(self.files["backplane"])
        self.assertFalse(link.is_symlink())

    def test_a_removal_keeps_history_and_configuration_and_a_purge_deletes_them(self):
        self.install()
        self.start_service().end()
        (self.root / "/usr/lib/python3/dist-packages/backplane/__pycache__").mkdir()
        self.root.dpkg("--remove", *NAMES)
        self.assertTrue((self.root / "/etc/backplane/backplane.toml").is_file())
        self.assertTrue((self.root / "/var/lib/backplane/default").is_dir())
        for name in ("/usr/bin/backplane", "/usr/lib/python3/dist-packages/backplane", "/usr/share/backplane", "/lib/systemd"):
            self.assertFalse((self.root / name).exists(), name)
        self.root.dpkg("--purge", "backplane")
        left = {str(path.relative_to(self.root.path)) for path in self.root.path.rglob("*") if not path.is_dir()}
        mine = {path for path in left if "backplane" in path.lower()}
        self.assertEqual(mine, set())
        self.assertFalse((self.root / "/var/lib/backplane").exists())
        self.assertFalse((self.root / "/etc/backplane").exists())

    def test_the_libraries_build_a_program(self):
        self.install()
        root = self.root.path
        environment = {**os.environ, "PKG_CONFIG_PATH": str(next((root / "usr").rglob("backplane-client.pc")).parent)}
        flags = run("pkg-config", "--cflags", "--libs", "backplane-client", env=environment).split()
        example = root / "usr/share/doc/libbackplane-dev/examples/subscribe.cpp"
        run(os.environ["CXX"], "-std=c++20", "-o", self.top / "subscribe", example, *flags)
        done = subprocess.run([self.top / "subscribe", "a..b"], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 2)
        protos = {path.name for path in (root / "usr/share/backplane/proto").rglob("*.proto")}
        self.assertLessEqual({"event.proto", "control.proto", "quote.proto"}, protos)

    def test_what_is_in_them(self):
        for path in ("/usr/bin/backplane", "/etc/backplane/backplane.toml", "/etc/backplane/publish/", "/etc/backplane/link/",
                     "/lib/systemd/system/backplane.service", "/lib/systemd/system/backplane-publish@.service",
                     "/lib/systemd/system/backplane-link@.service", "/usr/lib/sysusers.d/backplane.conf",
                     "/usr/share/man/man1/backplane.1.gz", "/usr/share/man/man1/backplane-publish-clock.1.gz",
                     "/usr/share/bash-completion/completions/backplane", "/usr/share/zsh/vendor-completions/_backplane",
                     "/usr/share/fish/vendor_completions.d/backplane.fish", "/usr/share/backplane/demo/stocks.csv",
                     "/usr/share/backplane/monitoring/grafana-dashboard.json", "/usr/share/backplane/monitoring/prometheus-alerts.yml",
                     "/usr/share/doc/backplane/copyright", "/usr/share/doc/backplane/docs/operations.md"):
            self.assertIn(path, self.listing("backplane"))
        for name in NAMES:
            for path, (mode, owner) in self.listing(name).items():
                self.assertEqual(owner, "root/root", path)
                self.assertNotIn("w", mode[4:], path)  # for nobody else
                self.assertNotRegex(path, r"__pycache__|\.pyc$|/usr/local")
            self.assertEqual(self.field(name, "Version").split("-")[0], os.environ["VERSION"])
        self.assertEqual(self.field("python3-backplane", "Architecture"), "all")
        self.assertIn("libzmq5", self.field("backplane", "Depends"))
        self.assertEqual(self.field("backplane", "Description").splitlines()[0], "publish/subscribe broker and gateway")
        conffiles = run("dpkg-deb", "--info", self.files["backplane"], "conffiles").split()
        self.assertEqual(set(conffiles), {path for path, (mode, _) in self.listing("backplane").items()
                                          if path.startswith("/etc/") and mode.startswith("-")})

    def test_the_change_log_has_an_entry_for_the_version(self):
        self.install()
        text = gzip.decompress((self.root / "/usr/share/doc/backplane/changelog.Debian.gz").read_bytes()).decode()
        self.assertTrue(text.startswith(f"backplane ({self.field('backplane', 'Version')}) "), text[:80])


if __name__ == "__main__":
    unittest.main()
