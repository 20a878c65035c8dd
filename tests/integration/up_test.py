"""`backplane up`: one command starts everything, and Ctrl-C ends everything."""

import os
import pathlib
import select
import signal
import tempfile
import unittest
import urllib.request

from harness import (CONTROL, EGRESS, GATEWAY, HOST, INGRESS, METRICS, TIMEOUT_S, RAW, BackplaneTest, Deadline,
                     LineClient)

CONFIG = f"""
[[backplane]]
name = "default"
ingress = "{INGRESS}"
egress = "{EGRESS}"
control = "{CONTROL}"
raw = "{RAW}"

[metrics]
listen = "{METRICS}"

[gateway]
listen = ["{GATEWAY}"]
"""


def descendants(pid):
    """The ids of all descendants of `pid`, from the kernel's list."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Up(BackplaneTest):
    def start_up(self, *options, more=""):
        up = self.run_program("up", "--config", self.config(more), *options, process_group=0)
        up.wait_line(up.out, r"nc .*1601")
        return up

    def config(self, more=""):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "backplane.toml")
        path.write_text(CONFIG + more, encoding="utf-8")
        return str(path)

    def wait_gone(self, pids):
        deadline = Deadline()
        while any(alive(pid) for pid in pids):
            # A process descriptor becomes readable when the process ends.
            self.assertTrue(deadline.left(), f"still there: {[pid for pid in pids if alive(pid)]}")
            for pid in filter(alive, pids):
                self.wait_pid(pid, deadline)

    def wait_pid(self, pid, deadline):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            select.select([descriptor], [], [], deadline.left())
        finally:
            os.close(descriptor)

    def test_events_flow_and_status_lines_come(self):
        up = self.start_up()
        client = self.client()
        client.subscribe("clock", "stock.>")
        client.event_like("^clock {")
        client.event_like(r'^stock\.\w+ {"symbol":"\w+","price":')
        since = len(up.out)
        up.wait_line(up.out, r"\d+.*events.*\d+.*clients?|events.*clients?", since=since)

    def test_ctrl_c_ends_everything_cleanly(self):
        up = self.start_up()
        client = self.client()
        client.subscribe("clock")
        client.event()
        children = descendants(up.pid)
        self.assertGreaterEqual(len(children), 5, "broker, gateway and three publishers")
        os.killpg(up.pid, signal.SIGINT)  # like a terminal
        self.assertEqual(up.wait_exit(), 0)
        self.wait_gone(children)
        client.wait_closed()
        self.assertFalse([line for line in up.err if "kill" in line], "all ended when they were asked to")

    def test_if_a_child_does_not_end_well_up_fails_too(self):
        up = self.start_up()
        client = self.client()
        client.subscribe("clock")
        client.event()
        children = descendants(up.pid)
        os.kill(self.child(up, b"broker"), signal.SIGSTOP)
        up.signal(signal.SIGTERM)
        self.assertEqual(up.wait_exit(), 1, up.transcript())
        self.wait_gone(children)
        self.assertRegex("\n".join(up.err), r"the broker did not stop in time and was killed")

    def test_its_children_die_with_it(self):
        up = self.start_up()
        children = descendants(up.pid)
        up.kill()
        self.wait_gone(children)

    def test_a_child_that_dies_is_restarted(self):
        up = self.start_up()
        client = self.client()
        client.subscribe("clock")
        client.event()
        os.kill(self.child(up, b"broker"), signal.SIGKILL)
        client.wait_notice("!WAIT broker")
        client.wait_notice("!LIVE broker")
        client.event()
        self.assertTrue(any("broker" in line for line in up.out + up.err))

    def child(self, up, role):
        return next(pid for pid in descendants(up.pid)
                    if role in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3])

    def test_the_page_that_it_names_exists(self):
        up = self.start_up("--no-demo")
        page = up.wait_line(up.out, r"^  page: (http://\S+/)$")[1]
        self.assertEqual(page, f"http://{GATEWAY}/")
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as response:
            self.assertIn(b"<title>", response.read())

    def test_a_restarted_gateway_has_the_same_ports_and_feeds(self):
        feed = f"{HOST}:1500"
        up = self.start_up("--no-demo", more=f'[[gateway.feed]]\nlisten = "{feed}"\ntopics = ["news.>"]\n')
        up.wait_line(up.out, rf"^  feeds: {feed}$")
        before = self.client()
        gateway = self.child(up, b"gateway")
        os.kill(gateway, signal.SIGKILL)
        before.wait_closed()
        self.wait_gone([gateway])
        up.wait_line(up.err, r"the gateway exited .*; restarting it")
        deadline = Deadline()
        while not (client := self.connected(GATEWAY)):
            self.assertTrue(deadline.left(), up.transcript())
        reader = self.connected(feed)
        self.assertTrue(reader, up.transcript())
        # A feed does not report when it is active: publish until it receives.
        while not select.select([reader._socket], [], [], 0.02)[0]:
            self.assertEqual(client.command("PUB news.uk rain"), "+OK PUB news.uk")
            self.assertTrue(deadline.left(), up.transcript())
        self.assertEqual(reader.event(), "news.uk rain")

    def connected(self, place):
        """A client, or None if nothing listens."""
        try:
            client = LineClient(place)
        except ConnectionRefusedError:
            return None
        self.addCleanup(client.close)
        return client

    def test_without_demo_there_is_a_broker_and_a_gateway(self):
        up = self.start_up("--no-demo")
        self.assertEqual(len(descendants(up.pid)), 2)
        client = self.client()
        client.subscribe("news.uk")
        self.assertEqual(client.command("PUB news.uk x"), "+OK PUB news.uk")

    def test_a_port_in_use_is_named_and_nothing_is_left_behind(self):
        self.start_broker()
        up = self.run_program("up", "--config", self.config())
        self.assertEqual(up.wait_exit(), 1, up.transcript())
        self.assertRegex("\n".join(up.err), rf"{HOST}:\d+.*in use")


if __name__ == "__main__":
    unittest.main()
