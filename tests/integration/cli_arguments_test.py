"""Arguments of the command line arrive as they are typed."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from harness import ENDPOINTS, GATEWAY, PROGRAM, BackplaneTest

AWKWARD = ["[a,b]", "[]", "[[a]]", "{}", "{a,b}", "%%", "a,b", ",", '"a"', "'a'", "\\n", "\\", "$HOME", "*", ">", "#", " ", "  a ",
           "true", "0x10", "-1", "-0.5", "-", "=", "a=b", "help", "sub", "--help", "-h", "-hello", "--", "--count=-1", "日本",
           '{"a":[1,2]}', "[1,2]\n[3]", "–5"]


class Arguments(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def texts(self, topic):
        return [event.text for event in self.history(self.control_client(), topic)]

    def test_pub_publishes_the_text_as_typed(self):
        for text in [*AWKWARD, ""]:
            with self.subTest(text):
                done = subprocess.run([PROGRAM, "pub", *ENDPOINTS, "--", "n", text], capture_output=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        self.assertEqual(self.texts("n"), [*AWKWARD, ""])

    def test_bytes_that_are_not_utf8_are_an_error(self):
        done = subprocess.run([PROGRAM, "pub", "n", b"\xff", *ENDPOINTS], capture_output=True, timeout=60, check=False)
        self.assertIn(done.returncode, (0, 2))
        self.assertEqual(done.returncode == 0, len(self.history(self.control_client(), "n")) == 1)

    def test_pub_through_a_gateway_publishes_the_text_as_typed(self):
        self.start_gateway()
        texts = [text for text in AWKWARD if text != " "]
        for text in texts:
            with self.subTest(text):
                done = subprocess.run([PROGRAM, "pub", "--gateway", GATEWAY, "--", "n", text], capture_output=True, timeout=60,
                                      check=False)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(self.texts("n"), texts)

    def test_negative_numbers_need_no_dashes(self):
        for text in ("-5", "-0.5", "-1e3"):
            self.assertEqual(self.run_program("pub", "temperature.roof", text, *ENDPOINTS).wait_exit(), 0)
        self.assertEqual(self.texts("temperature.roof"), ["-5", "-0.5", "-1e3"])

    def test_a_text_that_looks_like_an_option_publishes_nothing(self):
        for text in ("-hello", "-h1", "--hello"):
            pub = self.run_program("pub", "mood", text, *ENDPOINTS)
            self.assertEqual(pub.wait_exit(), 2, pub.transcript())
            self.assertEqual(pub.out, [])
            self.assertEqual(pub.err, [f'backplane pub: unknown option "{text}"; if it is TEXT, put -- before it '
                                       "(see backplane pub --help)"])
        self.assertEqual(self.texts("mood"), [])

    def test_exec_runs_the_command_as_typed(self):
        words = [word for word in AWKWARD if "\n" not in word]
        for dashes in (["--"], []):
            exec_ = self.run_program("publish", "exec", "--topic", f"x{len(dashes)}", *ENDPOINTS, *dashes, "printf", "%s|\n", *words, "")
            self.assertEqual(exec_.wait_exit(), 0, exec_.transcript())
            self.assertEqual(self.texts(f"x{len(dashes)}"), [word + "|" for word in [*words, ""]])

    def test_patterns_and_topics_are_taken_as_typed(self):
        for topic in ("[a,b]", "x{}", "a,b", "%%", "\"a\""):
            with self.subTest(topic):
                self.assertEqual(self.run_program("pub", topic, "x", *ENDPOINTS).wait_exit(), 0)
                sub = self.run_program("sub", topic, "--last", "--count", "1", *ENDPOINTS)
                self.assertEqual(sub.wait_exit(), 0)
                self.assertEqual(sub.out, [f"{topic} x"])
                self.assertEqual(self.run_program("get", topic, *ENDPOINTS).wait_exit(), 0)

    def test_paths_are_taken_as_typed(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("[a,b].log", "{}", "-x.log"):
                path = pathlib.Path(folder, name)
                path.write_text("hello\n", encoding="utf-8")
                pub = self.run_program("pub", "f", "--file", str(path), *ENDPOINTS)
                self.assertEqual(pub.wait_exit(), 0, pub.transcript())
                pub = self.run_program("pub", "f", f"--file={name}", *ENDPOINTS, cwd=folder)
                self.assertEqual(pub.wait_exit(), 0, pub.transcript())
                saved = self.run_program("replay", "f", "--to", os.path.join(folder, f"{name}.events"), *ENDPOINTS)
                self.assertEqual(saved.wait_exit(), 0)
                self.assertTrue(pathlib.Path(folder, f"{name}.events").exists())

    def test_numbers_are_strict(self):
        for option, value in (("--count", "-1"), ("--count", "0"), ("--count", "18446744073709551616"), ("--count", "1e3")):
            for command in (["pub", "n", "x"], ["sub", "n"]):
                process = self.run_program(*command, option, value, *ENDPOINTS)
                self.assertEqual(process.wait_exit(), 2)
                self.assertEqual(process.err, [f'backplane {command[0]}: {option}: expected a whole number of 1 or more, '
                                               f'got "{value}"'])
        self.assertEqual(self.texts("n"), [])


if __name__ == "__main__":
    unittest.main()
