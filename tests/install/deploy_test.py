"""The files for containers, as far as they can be checked without a container engine: they parse, what they name exists,
the program has the commands and options that they use, and runs with these configurations."""

import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

from harness import ENDPOINTS, HOST, METRICS, BackplaneTest, Deadline

SOURCE = pathlib.Path(os.environ["SOURCE_DIR"])
DEPLOY = SOURCE / "deploy"
sys.path.insert(0, str(SOURCE / "cli" / "reference"))

import help_text  # noqa: E402

try:
    import yaml
except ImportError:
    yaml = None

PROGRAM = os.environ["BACKPLANE_PROGRAM"]


def documents():
    return {path: list(yaml.safe_load_all(path.read_text())) for path in DEPLOY.rglob("*.yaml")}


def instructions():
    """[(name, arguments)] of the Dockerfile."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    return re.findall(r"(?m)^([A-Z]+) (.*)$", "\n".join(lines).replace("\\\n", " "))


def healthcheck(address, *page):
    return subprocess.run([DEPLOY / "healthcheck.sh", address, *page], capture_output=True, text=True, check=False, timeout=60)


class Program(BackplaneTest):
    @classmethod
    def setUpClass(cls):
        cls.program = help_text.read(PROGRAM)

    def check_command(self, words):
        """The program has this command with these options."""
        command = self.program
        while words and words[0] in {each.name: each for each in command.commands}:
            command = next(each for each in command.commands if each.name == words[0])
            words = words[1:]
        self.assertGreater(len(command.path), 1, words)
        known = {name: option for option in command.options for name in option.names}
        self.assertLessEqual({word for word in words if word.startswith("--")}, set(known), command.path)


@unittest.skipUnless(yaml, "without python3-yaml")
class Image(Program):
    def test_its_command_exists_and_it_is_not_root(self):
        steps = instructions()
        (user,) = [arguments for name, arguments in steps if name == "USER"]
        self.assertRegex(user, r"^[1-9]\d+:[1-9]\d+$")
        (command,) = [arguments for name, arguments in steps if name == "CMD"]
        self.check_command(yaml.safe_load(command))
        self.assertEqual([yaml.safe_load(arguments) for name, arguments in steps if name == "ENTRYPOINT"], [["/usr/bin/backplane"]])
        self.assertEqual([arguments for name, arguments in steps if name == "STOPSIGNAL"], ["SIGTERM"])
        self.assertIn("/usr/lib/backplane/healthcheck", [arguments for name, arguments in steps if name == "HEALTHCHECK"][0])

    def test_what_it_copies_and_builds_exists(self):
        for name, arguments in instructions():
            if name == "COPY" and "--from" not in arguments:
                for source in arguments.split()[:-1]:
                    self.assertTrue((SOURCE / source).exists(), source)
        presets = (SOURCE / "CMakePresets.json").read_text()
        self.assertIn('"name": "release"', presets)
        self.assertIn("add_custom_target(backplane_packaged", (SOURCE / "cmake" / "packages.cmake").read_text())

    def test_it_installs_what_dev_setup_installs(self):
        text = " ".join(arguments for name, arguments in instructions() if name == "RUN")
        packages = set(re.search(r"--no-install-recommends (.*?) +\S*$", text.split("npm ci")[0].split(" cd ")[0].strip() + " x")[1].split())
        known = set(re.search(r"packages=\((.*?)\)", (SOURCE / "dev").read_text(), re.DOTALL)[1].split())
        self.assertGreater(len(packages), 20)
        # The tools that a slim image lacks.
        self.assertLessEqual(packages - known, {"ca-certificates", "dpkg-dev", "file", "nodejs", "npm"})

    def test_the_health_check_says_whether_and_why_not(self):
        done = healthcheck(METRICS)
        self.assertEqual(done.returncode, 1)
        broker = self.start_broker()
        self.assertEqual(healthcheck(METRICS).returncode, 0)
        self.assertEqual(healthcheck(METRICS, "healthz").returncode, 0)
        self.assertEqual(healthcheck(METRICS, "elsewhere").returncode, 1)
        self.start_gateway("--metrics", f"{HOST}:9571")
        deadline = Deadline()
        while healthcheck(f"{HOST}:9571").returncode:
            self.assertTrue(deadline.left())
        broker.end()
        while not (done := healthcheck(f"{HOST}:9571")).returncode:
            self.assertTrue(deadline.left())
        self.assertRegex(done.stdout, "broker")


@unittest.skipUnless(yaml, "without python3-yaml")
class Compose(Program):
    def test_commands_and_references_exist(self):
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        for name, service in compose["services"].items():
            if "command" in service:
                self.check_command(service["command"])
            if "build" in service:
                context = DEPLOY / service["build"]["context"]
                self.assertTrue((context / service["build"]["dockerfile"]).is_file(), name)
            for other in service.get("depends_on", {}):
                self.assertIn(other, compose["services"])
            for volume in service.get("volumes", []):
                self.assertIn(volume.split(":")[0], compose["volumes"])
            # Nothing is published to other machines.
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), port)
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]))


@unittest.skipUnless(yaml and shutil.which("openssl"), "without python3-yaml or openssl")
class Kubernetes(Program):
    def workloads(self):
        for path, found in documents().items():
            for each in found:
                if each and each.get("kind") in ("StatefulSet", "Deployment"):
                    yield path, each

    def test_what_they_refer_to_exists(self):
        kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
        files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
        named = set(kustomization["resources"]) | {name for each in kustomization["configMapGenerator"] for name in each["files"]}
        self.assertEqual(named | {"kustomization.yaml"}, files)
        maps = {each["name"] for each in kustomization["configMapGenerator"]}
        secrets = set(re.findall(r"create secret (?:generic|tls) (\S+)", (DEPLOY / "README.md").read_text()))
        self.assertEqual(len(list(self.workloads())), 2)
        for path, workload in self.workloads():
            with self.subTest(path.name):
                spec = workload["spec"]["template"]["spec"]
                labels = workload["spec"]["template"]["metadata"]["labels"]
                self.assertEqual(workload["spec"]["selector"]["matchLabels"], labels)
                claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
                volumes = {each["name"]: each for each in spec["volumes"]}
                for volume in volumes.values():
                    self.assertIn(volume.get("configMap", {}).get("name"), maps | {None})
                    self.assertIn(volume.get("secret", {}).get("secretName"), secrets | {None})
                for container in spec["initContainers"] + spec["containers"]:
                    self.assertLessEqual({mount["name"] for mount in container["volumeMounts"]}, set(volumes) | claims)
                    self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
                    self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                    self.assertEqual(container["image"], kustomization["images"][0]["name"])
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                for container in spec["containers"]:
                    self.check_command(container["args"])
        for found in documents().values():
            for service in found:
                if service and service.get("kind") == "Service":
                    ports = {port["containerPort"] for _, workload in self.workloads() for container in workload["spec"]["template"]["spec"]["containers"]
                             if workload["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] for port in container["ports"]}
                    self.assertEqual({port["port"] for port in service["spec"]["ports"]}, ports)

    def commands_of_the_page(self, folder):
        """Runs them in the folder, with a kubectl that only stores secrets: a folder each."""
        blocks = re.findall("```bash\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 2)
        kubectl = r"""
kubectl() {
  [ "$3 $4" = 'create secret' ] || return 0
  mkdir -p "secrets/$6"
  for word in "${@:7}"; do
    case $word in
      --from-file=*) cp "${word#*=}" "secrets/$6/" ;;
      --cert=*) cp "${word#*=}" "secrets/$6/tls.crt" ;;
      --key=*) cp "${word#*=}" "secrets/$6/tls.key" ;;
      *) exit 9 ;;
    esac
  done
}
backplane() { "$BACKPLANE_PROGRAM" "$@"; }
set -e
"""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                        "/CN=gateway", "-addext", f"subjectAltName=IP:{HOST}", "-keyout", "tls.key", "-out", "tls.crt"],
                       cwd=folder, check=True, capture_output=True)
        done = subprocess.run(["bash", "-c", kubectl + "\n".join(blocks)], cwd=folder, check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def pod(self, folder, workload):
        """Does what the pod's init container does, and returns the configuration of its program, below the folder."""
        spec = workload["spec"]["template"]["spec"]
        name = workload["metadata"]["name"]
        root = folder / name
        volumes = {each["name"]: each for each in spec["volumes"]}
        (init,) = spec["initContainers"]
        for mount in init["volumeMounts"]:
            target = root / mount["mountPath"].lstrip("/")
            target.mkdir(parents=True)
            secret = volumes[mount["name"]].get("secret")
            if secret:
                for file in (folder / "secrets" / secret["secretName"]).iterdir():
                    shutil.copy(file, target)
                    (target / file.name).chmod(0o440)
        (root / "run/backplane").chmod(0o777)  # as Kubernetes makes it
        words = [word.replace("/secrets", f"{root}/secrets").replace("/run", f"{root}/run") for word in init["command"]]
        subprocess.run(words, check=True)
        (container,) = spec["containers"]
        file = DEPLOY / "kubernetes" / container["args"][-1].removeprefix("/etc/backplane-config/")
        text = file.read_text().replace('"/run/', f'"{root}/run/').replace('"/var/', f'"{root}/var/')
        (root / "var/lib/backplane").mkdir(parents=True)
        text = text.replace("0.0.0.0", HOST).replace("127.0.0.1", HOST)  # where the ports of this test are free
        config = root / "config.toml"
        config.write_text(text.replace('["backplane-broker"]', f'["{HOST}"]'))
        return [container["args"][0], "--config", str(config)]

    def test_the_broker_and_the_gateway_run_with_these_files(self):
        with tempfile.TemporaryDirectory(prefix="backplane-deploy-") as name:
            folder = pathlib.Path(name)
            self.commands_of_the_page(folder)
            pods = {workload["kind"]: self.pod(folder, workload) for _, workload in self.workloads()}
            broker = self.run_program(*pods["StatefulSet"])
            broker.ready()
            gateway = self.run_program(*pods["Deployment"])
            gateway.ready()
            deadline = Deadline()
            while healthcheck(f"{HOST}:9571").returncode:
                self.assertTrue(deadline.left(), gateway.transcript() + broker.transcript())
            context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
            with context.wrap_socket(socket.create_connection((HOST, 1601)), server_hostname=HOST) as client:
                client.sendall(b"SUB news.>\n")
                lines = client.makefile()
                self.assertEqual(lines.readline(), "+OK SUB news.>\n")
                # By the gateway's key, which is the only one that may publish.
                pub = self.run_program("pub", "news.uk", "hello", *ENDPOINTS, "--key", str(folder / "gateway.key"), "--server-key",
                                       str(folder / "broker.pub"))
                self.assertEqual(pub.wait_exit(), 0, pub.transcript())
                self.assertEqual(lines.readline(), "news.uk hello\n")


if __name__ == "__main__":
    unittest.main()
