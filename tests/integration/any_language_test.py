"""docs/any-language.md: its programs run, its excerpts are parts of them, and its facts are true."""

import json
import pathlib
import re
import runpy
import shutil
import subprocess
import tempfile
import time
import unittest

import zmq
from backplane.v1 import event_pb2
from golden import golden
from harness import EGRESS, HOST, INGRESS, BackplaneTest, Deadline, node

TOP = pathlib.Path(__file__).resolve().parents[2]
PROTO = TOP / "proto"
EXAMPLES = TOP / "examples" / "any-language"
PAGE = (TOP / "docs" / "any-language.md").read_text(encoding="utf-8")
LINES_MAX = 110


def python(name):
    return ["/usr/bin/python3", "-B", "-W", "error", str(EXAMPLES / name), HOST]


class Page(unittest.TestCase):
    def test_each_excerpt_is_a_part_of_the_program_named_last(self):
        named, excerpts = None, 0
        for name, block in re.findall(r"examples/any-language/([\w.]+)\)|^```\w+\n(.*?)^```$", PAGE,
                                      re.MULTILINE | re.DOTALL):
            if block:
                excerpts += 1
                self.assertIn("\n" + block, (EXAMPLES / named).read_text(encoding="utf-8"))
            elif name.endswith(".py"):
                named = name
        self.assertEqual(excerpts, 3)

    def test_the_page_names_every_program_and_each_is_tested(self):
        tested = set(re.findall(r'(?:python\(|EXAMPLES / )"([\w.]+)"', pathlib.Path(__file__).read_text(encoding="utf-8")))
        for file in EXAMPLES.iterdir():
            self.assertIn(f"(../examples/any-language/{file.name})", PAGE)
            self.assertIn(file.name, tested)

    def test_the_page_is_short(self):
        self.assertLessEqual(len(PAGE.splitlines()), LINES_MAX)


class Programs(BackplaneTest):
    """Each program that the page names."""

    def check_reader(self, command, shown, **options):
        self.start_broker()
        reader = self.run_process(command, **options)
        reader.wait_line(reader.out, "^subscribed$")
        writer = self.ready_writer()
        writer.send("stockholm", "no")
        writer.send("stock.MSFT", "yes")
        reader.wait_line(reader.out, "stock")
        self.assertEqual(reader.out, ["subscribed", shown])

    def test_the_minimal_reader(self):
        self.check_reader(python("subscribe.py"), "stock.MSFT 1 text")

    def test_the_minimal_reader_in_node(self):
        program = (EXAMPLES / "subscribe.mjs").read_text(encoding="utf-8")
        self.check_reader(node(program, HOST), "stock.MSFT 1", cwd=TOP / "clients/node")

    def test_the_stamp_is_read_without_protobuf(self):
        names = runpy.run_path(str(EXAMPLES / "stay_live.py"))
        body = golden("stamped_event.hex")
        stamp = event_pb2.Event.FromString(body).stamp
        self.assertEqual(names["read_stamp"](body),
                         (stamp.stream, stamp.position, stamp.offset, stamp.previous, stamp.received_ns))
        [call] = re.findall(r"struct\.unpack\(.*?\]\)", PAGE)
        self.assertIn(call, (EXAMPLES / "stay_live.py").read_text(encoding="utf-8"))
        comment = re.search(r"at bytes ([\d, and]+) of the 47", PAGE)[1]
        stamp = golden("stamp.hex")
        self.assertEqual(len(stamp), 47)
        values = [int.from_bytes(stamp[int(at):int(at) + 8], "little") for at in re.findall(r"\d+", comment)]
        self.assertEqual(values, [0x0123456789abcdef, 1000, 7, 993, 946684800_123456789])

    def test_the_loop_without_a_monitor_notices_an_outage_and_its_end(self):
        broker = self.start_broker()
        reader = self.run_process(python("stay_live.py"))
        reader.wait_line(reader.out, "^live$")
        self.ready_writer().send("stock.MSFT", "x")
        reader.wait_line(reader.out, r"^stock\.MSFT 1$")
        broker.kill()
        reader.wait_line(reader.out, "^not live$")
        self.start_broker()
        deadline = Deadline()
        while reader.out.count("live") < 2:
            self.assertTrue(deadline.left(), reader.transcript())
            time.sleep(0.01)
        # The first reply after a reconnect may come before the other subscriptions are active, as the page says.
        writer = self.ready_writer(source="again@test")
        while not any(line.startswith("stock.IBM ") for line in reader.out):
            self.assertTrue(deadline.left(), reader.transcript())
            writer.send("stock.IBM", "x")
            time.sleep(0.1)

    def test_the_publisher_is_confirmed(self):
        self.start_broker()
        reader = self.live_reader("weather.")
        publisher = self.run_process(python("publish.py"))
        self.assertEqual(publisher.wait_exit(), 0, publisher.transcript())
        self.assertEqual(publisher.out, ["admitted up to 2, refused 0 "])
        self.assertEqual([reader.receive()[1].text for _ in range(2)], ["21.5", "21.7"])


class Facts(BackplaneTest):
    """What the page says about libzmq."""

    def setUp(self):
        super().setUp()
        self.context = zmq.Context()
        self.addCleanup(self.context.term)

    def socket(self, kind, endpoint, **options):
        socket = self.context.socket(kind)
        self.addCleanup(socket.close, 0)
        for name, value in options.items():
            socket.setsockopt(getattr(zmq, name), value)
        socket.connect(endpoint)
        return socket

    def test_an_xpub_that_reconnects_shows_it_only_with_xpub_verbose(self):
        broker = self.start_broker()
        silent, verbose = (self.socket(zmq.XPUB, INGRESS, XPUB_VERBOSE=value) for value in (0, 1))
        for socket in (silent, verbose):
            self.assertTrue(socket.poll(30_000))
            self.assertEqual(socket.recv(), b"\x01")
        broker.kill()
        self.start_broker()
        self.assertTrue(verbose.poll(30_000))
        self.assertEqual(verbose.recv(), b"\x01")
        self.assertFalse(silent.poll(1000))

    def test_a_live_reply_needs_an_unlimited_sndhwm(self):
        self.start_broker()
        for mark, is_live in ((1000, False), (0, True)):
            reader = self.socket(zmq.SUB, EGRESS, SNDHWM=mark)
            for number in range(5000):
                reader.subscribe(f"t{number}.")
            reader.subscribe(f"$SYS.live.mark{mark}")
            self.assertEqual(bool(reader.poll(30_000 if is_live else 2000)), is_live)

    def test_a_refusal_shows_in_the_reply_to_admitted(self):
        self.start_broker()
        writer = self.ready_writer()
        writer.send("not a topic", "x")
        deadline = Deadline()
        while not (admitted := self.control_request(admitted={"source": writer.source, "session": writer.session})
                   .admitted).refused:
            self.assertTrue(deadline.left())
        self.assertEqual((admitted.refused, admitted.refused_reason), (1, "bad_topic"))

    def test_the_table_names_the_version_of_zeromq_for_node_that_is_tested(self):
        version = json.loads((TOP / "clients/node/node_modules/zeromq/package.json").read_text("utf-8"))["version"]
        self.assertIn(f"| Node, zeromq | {version}, tested |", PAGE)
        self.assertIn(f"| Python, pyzmq | {zmq.__version__}, tested |", PAGE)


class Definitions(unittest.TestCase):
    def files(self):
        files = sorted(PROTO.rglob("*.proto"))
        self.assertGreater(len(files), 10)
        return files

    def test_every_file_has_the_options_of_go_java_and_csharp(self):
        for file in self.files():
            with self.subTest(file.name):
                text = file.read_text(encoding="utf-8")
                package = re.search(r"^package (.+);$", text, re.MULTILINE)[1]
                options = dict(re.findall(r'^option (\w+) = "?([^"]+?)"?;$', text, re.MULTILINE))
                self.assertEqual(options, {
                    "csharp_namespace": ".".join(word.capitalize() for word in package.split(".")),
                    "go_package": f"{package.replace('.', '/')};{''.join(package.split('.')[-2:])}",
                    "java_multiple_files": "true",
                    "java_outer_classname": "".join(word.capitalize() for word in file.stem.split("_")) + "Proto",
                    "java_package": package,
                })

    def test_protoc_generates_code_for_every_language_that_it_knows(self):
        for language in ("csharp", "java", "kotlin", "objc", "php", "python", "ruby"):
            with self.subTest(language), tempfile.TemporaryDirectory() as folder:
                subprocess.run([shutil.which("protoc"), f"-I{PROTO}", f"--{language}_out={folder}", *self.files()],
                               check=True, capture_output=True, text=True)
                self.assertTrue(any(pathlib.Path(folder).rglob("*.*")))


if __name__ == "__main__":
    unittest.main()
