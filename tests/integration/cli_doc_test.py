"""What docs/cli.md and docs/client.md show is what the programs do."""

import os
import pathlib
import re
import tempfile
import unittest

from harness import CONTROL, EGRESS, ENDPOINTS, HOST, BackplaneTest, Deadline

TOP = pathlib.Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs" / "cli.md").read_text(encoding="utf-8")


def block(command):
    """The lines that the page shows after `$ command`, up to the next command."""
    lines = PAGE.split(f"$ {command}\n", 1)[1].split("```", 1)[0].splitlines()
    return lines[:next((i for i, line in enumerate(lines) if line.startswith("$ ")), len(lines))]


def shape(line):
    """The line with its numbers, hosts and gaps made equal."""
    line = re.sub(r"@\S+", "@HOST", line.replace(HOST, "127.0.0.1"))
    return " ".join(re.sub(r"[0-9][0-9.,]*", "N", line).split())


class Page(BackplaneTest):
    def run_to_end(self, *arguments, code=0, **options):
        process = self.run_program(*arguments, **options)
        self.assertEqual(process.wait_exit(), code, process.transcript())
        return process

    def test_the_messages_without_a_broker(self):
        get = self.run_to_end("get", "clock", *ENDPOINTS, code=1)
        self.assertIn("`" + get.err[0].removeprefix("backplane get: ").replace(CONTROL, "tcp://127.0.0.1:5572") + "`", PAGE)
        sub = self.run_program("sub", "clock", *ENDPOINTS)
        waiting = sub.wait_line(sub.err, "^backplane sub: (waiting for a broker .*)$")[1]
        self.assertIn(f"`{waiting}`".replace(EGRESS, "tcp://127.0.0.1:5571"), PAGE)

    def test_the_configuration_error(self):
        # The page shows line 7.
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "backplane.toml").write_text("\n" * 5 + '[log]\nlevel = "loud"\n', encoding="utf-8")
            check = self.run_to_end("config", "check", "backplane.toml", code=2, cwd=folder)
        self.assertEqual(check.err, block("backplane config check backplane.toml"))

    def test_get_of_a_topic_without_a_value(self):
        self.start_broker()
        get = self.run_to_end("get", "nothing", *ENDPOINTS, code=1)
        self.assertEqual([*get.err, "1"], block("backplane get nothing; echo $?"))

    def test_get_of_the_clock(self):
        self.start_broker()
        self.start_clock()
        sub = self.run_program("sub", "clock", "--count", "1", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0)
        get = self.run_to_end("get", "clock", *ENDPOINTS)
        self.assertEqual([shape(line) for line in get.out], [shape(line) for line in block("backplane get clock")])

    def test_the_publishing_examples(self):
        self.start_broker()
        text = PAGE.split("## pub\n", 1)[1].split("```\n", 2)[1]
        examples = [line.removeprefix("$ ") for line in text.splitlines()]
        self.assertGreater(len(examples), 3)
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "roof.jpg").write_bytes(b"\xff\xd8\xff")
            for example in examples:
                with self.subTest(example):
                    if "--every 1s" in example:
                        example = example.replace("--count 60 --every 1s", "--count 3 --every 10ms")
                    shell = self.run_process(["bash", "-c", f'backplane() {{ "$BACKPLANE_PROGRAM" "$@" {" ".join(ENDPOINTS)}; }}\n{example}'],
                                             cwd=folder)
                    self.assertEqual((shell.wait_exit(), shell.out, shell.err), (0, [], []))

    def test_replay(self):
        self.start_broker()
        for topic in ("a", "b", "c"):
            self.run_to_end("pub", f"stock.{topic}", "1", "--count", "2", *ENDPOINTS)
        with tempfile.TemporaryDirectory() as folder:
            commands = [command for command in re.findall(r"^\$ backplane (replay .*)$", PAGE, re.MULTILINE)]
            self.assertEqual(len(commands), 2)
            for command in commands:
                words = command.replace("'", "").replace("--speed 10", "--speed max").split()
                done = self.run_to_end(*words, *ENDPOINTS, cwd=folder)
                self.assertEqual([shape(line) for line in done.out], [shape(line) for line in block(f"backplane {command}")])

    def test_tables(self):
        self.start_broker()
        self.start_gateway()
        self.start_clock()
        sub = self.run_program("sub", "clock", "--count", "1", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0)
        topics = self.run_to_end("topics", "--once", *ENDPOINTS)
        shown = block("backplane topics --once")
        self.assertEqual(topics.out[0].split(), shown[0].split())
        self.assertEqual(len(topics.out[1].split()), len(shown[1].split()), topics.out)
        top = self.run_to_end("top", "--once", *ENDPOINTS)
        for heading in ("BROKER ", "PUBLISHER OR CLIENT ", "BUSIEST TOPICS "):
            expected = next(line for line in PAGE.splitlines() if line.startswith(heading)).split()
            self.assertIn(expected, [line.split() for line in top.out])

    def test_store(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = self.start_broker("--data", str(pathlib.Path(folder, "data")))
            for topic in ("a", "b", "c"):
                self.run_to_end("pub", f"stock.{topic}", "hello", "--count", "3", *ENDPOINTS)
            broker.end()
            commands = re.findall(r"^\$ backplane (store .*)$", PAGE, re.MULTILINE)
            self.assertEqual(len(commands), 3)
            for command in commands:
                done = self.run_to_end(*command.replace("'", "").split(), cwd=folder)
                shown, got = ([re.sub(" (KiB|B)\\b", "", shape(re.sub(r"\b[0-9a-f]{16}\b", "STREAM", line))) for line in lines]
                              for lines in (block(f"backplane {command}"), done.out))
                self.assertEqual(got, shown)

    def test_audit(self):
        self.start_broker()
        gateway = self.start_gateway()
        clock = self.start_clock()
        reader = self.client()
        reader.subscribe("clock")
        self.tick(reader.event())
        shown = [shape(line) for line in block("backplane audit")]
        expected = [line for line in shown if line.startswith("ok ")]
        self.assertEqual(len(expected), 9)
        deadline = Deadline(30)
        equations, got = [], []
        while equations != expected and deadline.left():  # gateways and publishers report once a second
            audit = self.run_program("audit", *ENDPOINTS)
            audit.wait_exit()
            got = [shape(line) for line in audit.out]
            equations = [line for line in got if line.startswith("ok ")]
        self.assertEqual(equations, expected, audit.transcript())
        self.assertEqual(got[-1], shown[-1])
        self.assertTrue(gateway.running() and clock.running())


class ClientPage(BackplaneTest):
    def test_the_program_of_the_client_page_goes_on_after_a_quiet_minute(self):
        self.start_broker()
        program = self.run_process(["env", f"TEST_HOST={HOST}", os.environ["CLIENT_PAGE"]])
        self.publish_until_received("stock.MSFT", program)
        # Several of the test's minutes pass without an event: this reader subscribes and waits that long in one call.
        quiet = self.run_program("sub", "none", "--timeout", "500ms", *ENDPOINTS)
        self.assertEqual(quiet.wait_exit(), 0)
        self.assertTrue(program.running(), program.transcript())
        seen = len(program.out)
        pub = self.run_program("pub", "stock.MSFT", "after", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0)
        program.wait_line(program.out, "^stock.MSFT .*after", since=seen)
        program.kill()


if __name__ == "__main__":
    unittest.main()
