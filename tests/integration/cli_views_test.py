"""`topics`, `top`, `get`, `audit`, `config` and `broker drain`, as people and scripts use them."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
import unittest

import pyte
from harness import CONTROL, EGRESS, ENDPOINTS, GATEWAY, HOST, PROGRAM, BackplaneTest, Deadline


class Terminal:
    """A program in a pseudo-terminal of its own."""

    def __init__(self, command, rows=24, columns=80):
        self._controller, self._terminal = pty.openpty()
        self.resize(rows, columns)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.said = b""
        self.settings_before = termios.tcgetattr(self._terminal)
        environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=self._terminal, stdout=self._terminal,
            stderr=subprocess.PIPE, env=environment, start_new_session=True, preexec_fn=self._control)

    def _control(self):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "screen"):
            self.screen.resize(rows, columns)

    def press(self, keys):
        os.write(self._controller, keys)

    def read(self, deadline):
        """Reads what the program draws. Returns False when the program has ended."""
        if not select.select([self._controller], [], [], min(deadline.left(), 0.2))[0]:
            return self._process.poll() is None
        data = os.read(self._controller, 65536)
        self.said += data
        self._stream.feed(data)
        return True

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_text(self, pattern):
        deadline = Deadline()
        while not (match := re.search(pattern, self.text(), re.MULTILINE)):
            if not self.read(deadline) or not deadline.left():
                raise AssertionError(f"nothing like {pattern!r} on the screen\n{self.text()}\n{self.said[-500:]}")
        return match

    def wait_exit(self):
        deadline = Deadline()
        while self._process.poll() is None:
            if not deadline.left():
                raise AssertionError(f"it still runs\n{self.text()}")
            self.read(deadline)
        while self.read(Deadline(0)) and select.select([self._controller], [], [], 0)[0]:
            pass
        return self._process.returncode

    def errors(self):
        return self._process.stderr.read().decode()

    def settings(self):
        return termios.tcgetattr(self._terminal)

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()
        os.close(self._controller)
        os.close(self._terminal)


class Views(BackplaneTest):
    def finished(self, *arguments, code=0):
        process = self.run_program(*arguments, *ENDPOINTS)
        self.assertEqual(process.wait_exit(), code, process.transcript())
        return process

    def publish(self, *events):
        writer = self.ready_writer()
        for topic, text in events:
            writer.send(topic, text)
        self.wait_admitted(writer)
        return writer

    def terminal(self, *arguments, **options):
        terminal = Terminal([PROGRAM, *arguments, *ENDPOINTS], **options)
        self.addCleanup(terminal.close)
        return terminal

    # ── get ──

    def test_get_prints_the_payload_alone(self):
        self.start_broker()
        self.publish(("n", "old"), ("n", "new"), ("m.1", "x"), ("m.2", "y"))
        self.assertEqual(self.finished("get", "n").out, ["new"])
        self.assertEqual(self.finished("get", "m.*").out, ["m.1 x", "m.2 y"])
        self.assertEqual(json.loads(self.finished("get", "n", "--format", "json").out[0])["offset"], 2)

    def test_get_without_a_value_is_one_line_and_code_1(self):
        self.start_broker()
        process = self.finished("get", "nothing", code=1)
        self.assertEqual((process.out, process.err), ([], ['backplane get: "nothing" has no retained value']))

    # ── topics ──

    def test_topics_once_is_a_table(self):
        self.start_broker()
        self.publish(("b", "x" * 1000), ("a", "1"), ("a", "2"))
        lines = self.finished("topics", "--once", "--every", "100ms").out
        self.assertEqual(lines[0].split(), ["TOPIC", "RATE/s", "BYTES/s", "BYTES", "OFFSET", "HISTORY", "AGE", "SOURCES"])
        self.assertEqual([line.split()[0] for line in lines[1:]], ["a", "b"])
        self.assertEqual(lines[1].split()[-1], "writer@test")
        self.assertEqual(lines[1].split()[-4:-2], ["2", "2"], "the last offset, and the events in history")

    def test_topics_as_json(self):
        self.start_broker()
        self.publish(("a", "1"), ("a", "2"), ("b", "1"))
        lines = self.finished("topics", "a", "--json", "--every", "100ms").out
        self.assertEqual([(each["topic"], each["offset"], each["sources"]) for each in map(json.loads, lines)],
                         [("a", 2, ["writer@test"])])

    def test_topics_shows_rates(self):
        self.start_broker()
        self.start_clock(every="10ms")
        self.live_reader("clock").receive()
        topic = json.loads(self.finished("topics", "clock", "--json").out[0])
        self.assertGreater(topic["events_per_second"], 1)
        self.assertGreater(topic["bytes_per_second"], 10)

    def test_topics_live_redraws_until_q(self):
        self.start_broker()
        writer = self.publish(("first", "x"))
        terminal = self.terminal("topics", "--every", "200ms")
        terminal.wait_text(r"^first .* writer@test$")
        writer.send("second", "x")
        terminal.wait_text(r"^second ")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_exit(), 0)

    def test_a_closed_pipe_ends_topics_quietly(self):
        self.start_broker()
        self.publish(*((f"t.{number:04}", "x") for number in range(3000)))
        command = " ".join(map(shlex.quote, [PROGRAM, "topics", "--once", "--every", "100ms", *ENDPOINTS]))
        shell = self.run_process(["bash", "-c", f"{command} | head -2; echo code ${{PIPESTATUS[0]}}"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertEqual((len(shell.out), shell.out[-1], shell.err), (3, "code 0", []))

    # ── top ──

    def test_top_shows_all_participants_in_80_columns_and_24_rows(self):
        self.start_broker()
        self.start_gateway()
        self.start_clock("--source-name", "clock@test")
        client = self.client()
        client.subscribe("clock")
        terminal = self.terminal("top", "--every", "300ms")
        terminal.wait_text(r"^backplane top +2 publishers, 1 gateway, 0 clients up")
        terminal.wait_text(r"^BROKER +IN/s")
        terminal.wait_text(r"^default ")
        terminal.wait_text(r"^gateway@\S+ +1 +1 ")
        terminal.wait_text(r"^clock@test +publisher +[1-9]")
        terminal.wait_text(r"^clock +[1-9]\S* ")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_exit(), 0)

    def test_top_shows_sub_and_pub(self):
        self.start_broker()
        sub = self.run_program("sub", "n", *ENDPOINTS)
        self.run_program("pub", "n", "x", "-n", "100000", "-e", "20ms", *ENDPOINTS)
        sub.wait_line(sub.out, "^n x$")
        deadline = Deadline()
        while True:
            shown = "\n".join(self.finished("top", "--once", "--every", "600ms").out)
            if re.search(r"^sub@\S+ +client +[1-9]\S* +[1-9]\S* +- +- +up$", shown, re.MULTILINE):
                break
            self.assertTrue(deadline.left(), shown)
        self.assertRegex(shown, r"(?m)^pub@\S+ +publisher +[1-9]")
        self.assertIn(" 1 client up", shown.splitlines()[0])
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait_exit(), 0)
        while not re.search(r"^sub@\S+ +client +0 .* down$", shown, re.MULTILINE):
            self.assertTrue(deadline.left(), shown)
            shown = "\n".join(self.finished("top", "--once", "--every", "100ms").out)
        self.assertFalse([line for line in self.finished("audit").out if "down" in line])

    # ── colours ──

    def test_a_terminal_gets_colours_unless_the_environment_says_otherwise(self):
        self.start_broker()
        self.publish(("n", "x"))
        for environment, painted in (("LANG=C", True), ("NO_COLOR=", True), ("NO_COLOR=1", False), ("TERM=dumb", False)):
            for command in (["sub", "n", "--last", "-n", "1", *ENDPOINTS], ["audit", *ENDPOINTS], ["help", "sub"]):
                with self.subTest(environment=environment, command=command[0]):
                    terminal = Terminal(["env", environment, PROGRAM, *command], rows=100)
                    self.addCleanup(terminal.close)
                    self.assertEqual(terminal.wait_exit(), 0)
                    self.assertEqual(b"\x1b[" in terminal.said, painted, terminal.said)
        self.assertNotIn("\x1b", "".join(self.finished("sub", "n", "--last", "-n", "1").out))

    def test_the_terminal_is_restored_after_q_and_after_ctrl_c(self):
        self.start_broker()
        for keys in (b"q", b"\x03"):
            with self.subTest(keys):
                terminal = self.terminal("top", "--every", "200ms")
                terminal.wait_text("^default ")
                self.assertNotEqual(terminal.settings(), terminal.settings_before, "it takes keys one by one")
                self.assertIn(b"\x1b[?1049h", terminal.said, "the other screen")
                terminal.press(keys)
                self.assertEqual(terminal.wait_exit(), 0)
                self.assertEqual(terminal.settings(), terminal.settings_before)
                tail = terminal.said[terminal.said.rindex(b"\x1b[?1049h"):]
                self.assertIn(b"\x1b[?1049l", tail)
                self.assertIn(b"\x1b[?25h", tail, "the cursor is shown again")
                self.assertEqual(terminal.errors(), "")

    def test_top_adapts_to_the_size_of_the_terminal(self):
        self.start_broker()
        self.publish(*((f"topic.{number:02}", "x") for number in range(40)))
        terminal = self.terminal("top", "--every", "200ms")
        terminal.wait_text("^default ")
        self.assertNotIn("topic.00", terminal.text())
        terminal.resize(60, 120)
        terminal.wait_text(r"^topic\.00 ")
        terminal.press(b"q")
        self.assertEqual(terminal.wait_exit(), 0)

    def test_top_shows_the_loss_and_the_return_of_the_broker(self):
        broker = self.start_broker()
        terminal = self.terminal("top", "--every", "200ms")
        terminal.wait_text("^default ")
        broker.kill()
        terminal.wait_text("^cannot reach a broker at ")
        self.start_broker()
        deadline = Deadline()
        while "cannot reach a broker" in terminal.text():
            self.assertTrue(terminal.read(deadline) and deadline.left(), terminal.text())
        terminal.press(b"q")
        self.assertEqual(terminal.wait_exit(), 0)

    def test_q_works_while_the_broker_is_silent(self):
        broker = self.start_broker()
        terminal = self.terminal("top", "--every", "200ms")
        terminal.wait_text("^default ")
        broker.signal(signal.SIGSTOP)
        self.addCleanup(broker.signal, signal.SIGCONT)
        terminal.press(b"q")
        self.assertEqual(terminal.wait_exit(), 0)

    def test_top_without_a_terminal_prints_one_picture(self):
        self.start_broker()
        self.publish(("n", "x"))
        out = "\n".join(self.finished("top", "--every", "100ms").out)
        self.assertIn("BROKER", out)
        self.assertIn("\nn ", out)
        self.assertNotIn("\x1b", out)

    # ── audit ──

    def test_the_books_balance(self):
        self.start_broker()
        self.start_gateway()
        client = self.client()
        client.subscribe("n")
        writer = self.publish(*(("n", str(number)) for number in range(100)))
        writer.send_frames(b"bad topic", writer.event(text="x").SerializeToString())
        writer.send_frames(b"one frame too few")
        writer.send("n", "the end")
        self.wait_admitted(writer)
        client.events_until("n the end")
        audit = self.finished("audit")
        self.assertEqual(audit.out[0], "broker default")
        self.assertIn("  ok        received 103 = published 101 + rejected 2", audit.out)
        self.assertRegex(audit.out[-1], "^all [0-9]+ equations balance$")

    def test_books_that_do_not_balance_are_exit_code_1(self):
        self.start_broker()
        control_client = self.control_client()
        control_client.request(hello={"name": "liar@test", "session": 7, "role": "ROLE_GATEWAY",
                         "counters": {"matched_total": 10, "delivered_total": 3, "dropped_total.slow_consumer": 2}})
        audit = self.finished("audit", code=1)
        self.assertIn("gateway liar@test", audit.out)
        self.assertIn("  OFF BY 5  matched 10 = delivered 3 + dropped.slow_consumer 2", audit.out)
        self.assertRegex(audit.out[-1], "^1 of [0-9]+ equations do not balance$")

    # ── config ──

    def test_config_check_reports_mistakes_by_line(self):
        good = self.config_file("[gateway]\nworkers = 1\n")
        check = self.run_program("config", "check", good)
        self.assertEqual(check.wait_exit(), 0, check.transcript())
        self.assertEqual(check.out, [f"{good}: ok"])
        bad = self.config_file("[log]\nlevel = \"loud\"\nvolume = 11\n")
        check = self.run_program("config", "check", bad)
        self.assertEqual(check.wait_exit(), 2)
        self.assertEqual(len(check.err), 2, check.err)
        self.assertRegex(check.err[0], f"^{bad}:2 \\[log\\]\\.level: ")
        self.assertRegex(check.err[1], f"^{bad}:3 \\[log\\]\\.volume: ")

    def test_config_print_prints_the_same_as_broker_print_config(self):
        printed = self.run_program("config", "print")
        self.assertEqual(printed.wait_exit(), 0)
        broker = self.run_program("broker", "--print-config")
        self.assertEqual(broker.wait_exit(), 0)
        self.assertEqual(printed.out, broker.out)

    # ── broker drain ──

    def test_drain_ends_the_broker_and_waits_for_it(self):
        broker = self.start_broker()
        reader = self.live_reader("n")
        self.publish(("n", "sent before"))
        self.finished("broker", "drain")
        self.assertEqual(broker.wait_exit(), 0)
        self.assertEqual(reader.receive()[1].text, "sent before")

    # ── no broker, or another server ──

    def test_without_a_broker_there_is_one_line(self):
        for command in (["get", "n"], ["topics", "--once"], ["top", "--once"], ["audit"], ["broker", "drain", "--timeout", "3s"]):
            with self.subTest(command[0]):
                process = self.run_program(*command, *ENDPOINTS)
                self.assertEqual(process.wait_exit(), 1, process.transcript())
                self.assertEqual((len(process.err), process.out), (1, []), process.transcript())
                self.assertRegex(process.err[0], f"^backplane .*: cannot reach a broker at {CONTROL}: "
                                                 "nothing listens there$")

    def test_a_server_that_is_no_broker_is_one_line(self):
        self.start_broker()
        self.start_gateway()
        somewhere_else = {"metrics": f"tcp://{HOST}:9570", "gateway": f"tcp://{GATEWAY}", "egress": EGRESS}
        for name, place in somewhere_else.items():
            for command in (["get", "n"], ["topics", "--once"], ["audit"]):
                with self.subTest(name, command=command):
                    process = self.run_program(*command, "--egress", place, "--control", place)
                    self.assertEqual(process.wait_exit(), 1, process.transcript())
                    self.assertEqual((len(process.err), process.out), (1, []), process.transcript())
                    self.assertRegex(process.err[0], "(the listener there does not speak ZeroMQ|a ZeroMQ socket listens there but)")

    def test_sub_at_a_server_that_is_no_broker_ends_with_one_line(self):
        self.start_broker()
        sub = self.run_program("sub", "n", "--egress", f"tcp://{HOST}:9570")
        self.assertEqual(sub.wait_exit(), 1)
        self.assertRegex(sub.err[0], "the listener there does not speak ZeroMQ$")
        self.assertEqual(len(sub.err), 1)

    def test_a_silent_broker_is_one_line(self):
        broker = self.start_broker()
        broker.signal(signal.SIGSTOP)
        self.addCleanup(broker.signal, signal.SIGCONT)
        get = self.run_program("get", "n", *ENDPOINTS)
        self.assertEqual(get.wait_exit(), 1)
        self.assertEqual(len(get.err), 1, get.transcript())
        self.assertRegex(get.err[0], "the listener there sends nothing$")


if __name__ == "__main__":
    unittest.main()
