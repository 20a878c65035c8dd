"""`backplane sub` and `backplane pub`, as people and scripts use them."""

import json
import shlex
import unittest

from harness import ENDPOINTS, PROGRAM, BackplaneTest


class CommandLine(BackplaneTest):
    def test_sub_ends_after_count_events(self):
        self.start_broker()
        self.start_clock()
        sub = self.run_program("sub", "clock", "--count", "3", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0)
        self.assertEqual(len(sub.out), 3)
        ticks = [int(self.tick(line)["tick"]) for line in sub.out]
        self.assertEqual(ticks, list(range(ticks[0], ticks[0] + 3)))

    def test_sub_prints_what_its_patterns_match_and_nothing_else(self):
        self.start_broker()
        sub = self.run_program("sub", "time", "n", "a.*", *ENDPOINTS)
        self.publish_until_received("n", sub)
        writer = self.ready_writer()
        for topic in ("timezone", "time", "a.b.c", "a.b", "nn", "n"):
            writer.send(topic, "last")
        sub.wait_line(sub.out, "^n last$")
        self.assertEqual([line for line in sub.out if not line.endswith("knock")], ["time last", "a.b last", "n last"])

    def test_json_is_one_object_per_line(self):
        self.start_broker()
        self.start_clock("--source-name", "clock@test")
        sub = self.run_program("sub", "clock", "--count", "2", "--format", "json", *ENDPOINTS)
        self.assertEqual(sub.wait_exit(), 0)
        events = [json.loads(line) for line in sub.out]
        self.assertEqual([event["topic"] for event in events], ["clock", "clock"])
        self.assertEqual(events[1]["offset"], events[0]["offset"] + 1)
        self.assertEqual(events[0]["source"], "clock@test")
        self.assertIn("tick", events[0]["data"])

    def test_a_pipe_that_is_closed_ends_sub_quietly(self):
        self.start_broker()
        self.start_clock()
        command = " ".join(map(shlex.quote, [PROGRAM, "sub", "clock", *ENDPOINTS]))
        shell = self.run_process(["bash", "-c", f"{command} | head -1; echo code ${{PIPESTATUS[0]}}"])
        self.assertEqual(shell.wait_exit(), 0)
        self.assertRegex(shell.out[0], "^clock {")
        self.assertEqual(shell.out[1:], ["code 0"])
        self.assertEqual(shell.err, [])

    def test_output_to_a_pipe_has_no_colours(self):
        self.start_broker()
        self.start_clock()
        sub = self.run_program("sub", "clock", "--count", "1", *ENDPOINTS)
        sub.wait_exit()
        self.assertNotIn("\x1b", "".join(sub.out + sub.err))

    def test_pub_succeeds_when_the_broker_has_admitted_the_event(self):
        self.start_broker()
        reader = self.live_reader("news.uk")
        pub = self.run_program("pub", "news.uk", "It rains", *ENDPOINTS)
        self.assertEqual(pub.wait_exit(), 0)
        self.assertEqual(self.counters()["published_total"], 1)
        topic, event = reader.receive()
        self.assertEqual((topic, event.text, event.stamp.offset), ("news.uk", "It rains", 1))

    def test_version_is_printed(self):
        version = self.run_program("--version")
        self.assertEqual(version.wait_exit(), 0)
        self.assertRegex(version.out[0], r"\b\d+\.\d+\.\d+")

    def test_the_help_of_every_subcommand_has_an_example(self):
        top = self.run_program("--help")
        self.assertEqual(top.wait_exit(), 0)
        for name in ("up", "broker", "gateway", "serve", "publish", "sub", "pub", "get", "topics", "top", "replay", "store", "audit", "config"):
            with self.subTest(name):
                self.assertIn(name, "\n".join(top.out))
                program = self.run_program(name, "--help")
                self.assertEqual(program.wait_exit(), 0)
                self.assertRegex("\n".join(program.out), rf"(?i)example[\s\S]*backplane {name}")


if __name__ == "__main__":
    unittest.main()
