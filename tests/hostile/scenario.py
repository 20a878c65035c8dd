"""A hostile kind: a broker and a gateway with healthy clients, an attack by other processes, its end. What is checked: every
event of the healthy clients arrives once or is announced, none of them is disconnected, memory stays below the bound that
docs/operations.md states, and afterwards memory and descriptors are free again. What is printed only: latencies and CPU time.
"""

import contextlib
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import zmq
from harness import (CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, INGRESS, METRICS, PROGRAM, RAW, TIMEOUT_S, BackplaneTest,
                     Deadline)
from tls_test import Certificates

# 1: full size. Less: numbers of peers are smaller, and attacks shorter.
SCALE = float(os.environ.get("HOSTILE_SCALE", "1"))
FULL = SCALE >= 1
HERE = pathlib.Path(__file__).resolve().parent
GATEWAY_METRICS = f"{HOST}:9571"
HEALTHY_RATE = 500 if FULL else 100
BEFORE_S, AFTER_S = (6.0, 3.0) if FULL else (0.3, 0.1)
MIB = 1 << 20
# Allocators, threads' stacks and what healthy clients need meanwhile. Beside other tests, healthy events wait longer.
SLACK_BYTES = (24 if FULL else 96) * MIB
SANITIZED = bool(os.environ.get("SANITIZED"))


def scaled(count, least=20):
    return max(least, int(count * min(SCALE, 1)))


def seconds(full):
    return full if FULL else 0.8


class Watched:
    """A daemon: its memory, descriptors and CPU time."""

    def __init__(self, process):
        self.process, self.pid = process, process.pid

    def _status(self, name):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
        raise AssertionError(name)

    def resident(self):
        return self._status("VmRSS:")

    def peak(self):
        return self._status("VmHWM:")

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class HostileTest(BackplaneTest):
    policy = False  # tokens at the gateway, CURVE at the broker
    tls = False
    gateway_config = broker_config = ""
    listen = (GATEWAY,)

    @classmethod
    def setUpClass(cls):
        if cls.tls:
            cls.certificates = Certificates()
            cls.addClassCleanup(cls.certificates.cleanup)

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.healthy_options = {"ingress": INGRESS, "egress": EGRESS, "gateway": GATEWAY, "rate": HEALTHY_RATE}
        top = self.write_policy() if self.policy else ""
        self.write("broker.toml", top + self.broker_config)
        gateway_top = top.replace('key = "broker.key"', 'key = "healthy.key"\nserver_key = "broker.pub"')
        self.write("gateway.toml", gateway_top + self.gateway_config)
        options = []
        if self.tls:
            options = self.certificates.options()
            self.healthy_options["ca"] = self.certificates.file("ca.pem")
        self.broker = Watched(self.run_program("broker", *ENDPOINTS, "--raw", RAW, "--metrics", METRICS, "--config",
                                               "broker.toml", cwd=self.folder))
        self.broker.process.ready()
        self.gateway = Watched(self.run_program("gateway", *(f"--listen={each}" for each in self.listen), *ENDPOINTS, "--metrics", GATEWAY_METRICS,
                                                "--config", "gateway.toml", *options, cwd=self.folder))
        self.gateway.process.ready()

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def write_policy(self):
        """One user with a key and a token, who may do everything."""
        made = self.run_program("keys", "new", "broker", cwd=self.folder)
        self.assertEqual(made.wait_exit(), 0, made.transcript())
        public, secret = zmq.curve_keypair()
        self.write("healthy.key", secret.decode() + "\n")
        self.server_key = (self.folder / "broker.pub").read_text("ascii").strip()
        token = secrets.token_hex(16)
        hashed = self.run_program("policy", "hash", "--stdin", stdin=subprocess.PIPE)
        hashed.stdin.write(token + "\n")
        hashed.stdin.close()
        self.assertEqual(hashed.wait_exit(), 0, hashed.transcript())
        self.write("policy.toml", f'[users.anna]\ncurve = "{public.decode()}"\ntoken = "{hashed.out[0]}"\nroles = ["all"]\n'
                                  '[users.anonymous]\nroles = []\n[roles.all]\npublish = [">"]\nsubscribe = [">"]\nadmin = true\n')
        self.healthy_options["token"] = f"anna:{token}"
        self.healthy_options["keys"] = [public.decode(), secret.decode(), self.server_key]
        return 'policy = "policy.toml"\nkey = "broker.key"\n'

    # Other processes.

    def python(self, file, *arguments):
        return self.run_process(["/usr/bin/python3", "-B", "-W", "error", str(HERE / file), *arguments],
                                stdin=subprocess.PIPE)

    def start_healthy(self):
        self.healthy = self.python("healthy.py", json.dumps(self.healthy_options))
        self.healthy.wait_line(self.healthy.out, "^live$")

    def tell_healthy(self, command):
        self.healthy.stdin.write(command + "\n")
        self.healthy.stdin.flush()

    def figures(self, address):
        """The metrics of a daemon, by name and labels, without the backplane's."""
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as page:
            lines = page.read().decode().splitlines()
        found = {}
        for line in lines:
            if match := re.match(r'backplane_\w+?_(\w+)\{backplane="default"(?:,\w+="(\w+)")?\} (\S+)$', line):
                found[match[1] + (f".{match[2]}" if match[2] else "")] = float(match[3])
        return found

    def wait_until(self, condition, what):
        deadline = Deadline()
        while not condition():
            self.assertTrue(deadline.left(), f"not within {TIMEOUT_S} s: {what}")
            time.sleep(0.1)

    # A run.

    def run_attack(self, name, attacks, attack_s, broker_bytes, gateway_bytes, residue_bytes=0, counted=(), between=None):
        """attacks: (name, options) each. broker_bytes, gateway_bytes: how far each may grow. residue_bytes: of this, what is
        kept afterwards by design. counted: names of metrics of the gateway or the broker that must have grown. between: called
        while the attack is complete."""
        self.start_healthy()
        self.tell_healthy("phase before")
        time.sleep(BEFORE_S)  # the measurement
        daemons = {"broker": self.broker, "gateway": self.gateway}
        resident = {each: daemons[each].resident() for each in daemons}
        descriptors = {each: daemons[each].descriptors() for each in daemons}
        for each in daemons.values():
            each.reset_peak()
        before = self.counters_of_both()
        cpu = {each: daemons[each].cpu_s() for each in daemons}
        self.tell_healthy("phase attack")
        begun_at = time.monotonic()
        running = [self.python("attacks.py", attack, json.dumps({**options, "seconds": attack_s})) for attack, options in attacks]
        for each in running:
            each.wait_line(each.out, "^begun$", timeout=TIMEOUT_S + attack_s)
        if between:
            between()
        stats = []
        for each in running:
            self.assertEqual(each.wait_exit(TIMEOUT_S + attack_s), 0, each.transcript())
            stats.append(json.loads(each.out[-1]))
        took = time.monotonic() - begun_at
        cpu = {each: (daemons[each].cpu_s() - cpu[each]) / took for each in daemons}
        peak = {each: max(0, daemons[each].peak() - resident[each]) for each in daemons}
        self.tell_healthy("phase after")
        for each, watched in daemons.items():
            self.wait_until(lambda watched=watched, least=descriptors[each]: watched.descriptors() <= least + 4,
                            f"the {each}'s descriptors are free")
        time.sleep(AFTER_S)  # the measurement
        self.tell_healthy("finish")
        self.assertEqual(self.healthy.wait_exit(), 0, self.healthy.transcript())
        report = json.loads(self.healthy.out[-1])
        after = self.counters_when(before, counted)
        left = {each: daemons[each].resident() - resident[each] for each in daemons}
        self.print_report(name, report, stats, cpu, peak, {"broker": broker_bytes, "gateway": gateway_bytes}, left, before, after)
        self.judge(report, peak, {"broker": broker_bytes, "gateway": gateway_bytes}, left, residue_bytes, before, after, counted)
        return stats, before, after

    def counters_when(self, before, counted):
        """The metrics when all of these have grown. They are a second old, and failed handshakes are counted late."""
        deadline = Deadline(40 if FULL else 10)
        while True:
            after = self.counters_of_both()
            if all(after.get(name, 0) > before.get(name, 0) for name in counted) or not deadline.left():
                return after
            time.sleep(0.2)

    def counters_of_both(self):
        with contextlib.suppress(OSError):
            return {**self.figures(METRICS), **self.figures(GATEWAY_METRICS)}
        raise AssertionError("no metrics")

    def print_report(self, name, report, stats, cpu, peak, bounds, left, before, after):
        lines = [f"\n{name}: scale {SCALE:g}, load {os.getloadavg()[0]:.1f}, {report['published']} events published"]
        for each in report["subscribers"]:
            ms = each["latency_ms"]
            values = {phase: ms[phase]["p99"] for phase in ms if ms[phase]["count"]}
            factor = values["attack"] / values["before"] if {"attack", "before"} <= values.keys() else float("nan")
            lines.append(f"  {each['name']:10} p99 {values.get('before', 0):.2f} ms before, {values.get('attack', 0):.2f} ms during "
                         f"(factor {factor:.1f}; max {ms['attack']['max'] or 0:.0f} ms), {values.get('after', 0):.2f} ms after; "
                         f"seen {each['seen']}, announced {each['announced']}, missing {each['missing']}, twice {each['twice']}")
        for each in ("broker", "gateway"):
            lines.append(f"  {each:10} CPU {100 * cpu[each]:.0f} %, memory +{peak[each] / MIB:.1f} MiB at its peak (bound "
                         f"{bounds[each] / MIB:.0f} MiB), +{left[each] / MIB:.1f} MiB afterwards")
        lines += [f"  attack     {json.dumps(each)}" for each in stats]
        grown = {key: int(after[key] - before.get(key, 0)) for key in sorted(after) if self.is_refusal(key)
                 and after[key] > before.get(key, 0)}
        lines.append(f"  counted    {json.dumps(grown)}")
        print("\n".join(lines), file=sys.stderr, flush=True)
        if path := os.environ.get("HOSTILE_REPORT"):
            with open(path, "a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")

    @staticmethod
    def is_refusal(name):
        return any(word in name for word in ("refused", "failed", "rejected", "goodbyes", "faults", "authentications", "unknown_key",
                                             "timed_out", "evicted", "lossy", "episodes"))

    def judge(self, report, peak, bounds, left, residue_bytes, before, after, counted):
        offences = []
        for each in report["subscribers"]:
            if each["missing"] or each["twice"] or each["out_of_order"] or each["closed"] or each["problems"]:
                offences.append(f"{each['name']}: {({key: each[key] for key in each if key != 'latency_ms'})}")
        if not SANITIZED:  # sanitizers keep freed memory
            for each in ("broker", "gateway"):
                if peak[each] > bounds[each] + SLACK_BYTES:
                    offences.append(f"{each}: grew by {peak[each] / MIB:.1f} MiB, bound {bounds[each] / MIB:.1f} MiB")
            for each in ("broker", "gateway"):
                # Allocators return memory late, and not all of it.
                if left[each] > residue_bytes + max(64 * MIB, 0.75 * bounds[each]):
                    offences.append(f"{each}: keeps {left[each] / MIB:.1f} MiB")
        for name in counted:
            if after.get(name, 0) <= before.get(name, 0):
                offences.append(f"{name} does not count it")
        self.assertFalse(offences, "\n".join(offences))


__all__ = ["CONTROL", "EGRESS", "FULL", "GATEWAY", "HERE", "HOST", "INGRESS", "MIB", "PROGRAM", "RAW", "HostileTest", "scaled",
           "seconds", "unittest"]
