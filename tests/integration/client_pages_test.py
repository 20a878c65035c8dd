"""The programs of docs/python.md and docs/node.md run as printed there, and print what is said there."""

import json
import os
import pathlib
import re
import tempfile
import threading
import unittest

from backplane.events.v1 import quote_pb2
from harness import CONTROL, EGRESS, INGRESS, BackplaneTest

TOP = pathlib.Path(__file__).resolve().parents[2]
NODE = os.environ["NODE"]

# The pages use the default endpoints; the test's broker has others.
PYTHON_PLACES = """
import backplane, backplane.aio, backplane.control, backplane.subscriber_base
backplane.subscriber_base.SubscriberBase.__init__.__kwdefaults__.update(egress={egress!r}, control={control!r})
for kind in (backplane.Publisher, backplane.aio.Publisher):
    kind.__init__.__kwdefaults__.update(ingress={ingress!r}, control={control!r})
backplane.control.ControlBase.__init__.__defaults__ = ({control!r}, None)
""".format(egress=EGRESS, control=CONTROL, ingress=INGRESS)
NODE_PLACES = """
import * as backplane from {library};
export * from {library};
const places = {{ egress: {egress}, control: {control}, ingress: {ingress} }};
export class Subscriber extends backplane.Subscriber {{ constructor(patterns, options) {{ super(patterns, {{ ...places, ...options }}); }} }}
export class Publisher extends backplane.Publisher {{ constructor(source, options) {{ super(source, {{ ...places, ...options }}); }} }}
export class Control extends backplane.Control {{ constructor(endpoint = places.control, options) {{ super(endpoint, options); }} }}
""".format(library=json.dumps((TOP / "clients/node/index.js").as_uri()), egress=json.dumps(EGRESS), control=json.dumps(CONTROL),
           ingress=json.dumps(INGRESS))


def blocks(page):
    """(heading, language, text) of each code block of a page."""
    heading = ""
    for found in re.finditer(r"^## ([^\n]*)$|^```(\w*)\n(.*?)^```$", (TOP / "docs" / page).read_text(encoding="utf-8"),
                             re.MULTILINE | re.DOTALL):
        if found[1] is not None:
            heading = found[1]
        else:
            yield heading, found[2], found[3]


class Pages:
    """A mixin for a BackplaneTest: PAGE, LANGUAGE, and command(text)."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.start_broker()
        writer = self.ready_writer(source="quotes@host7")
        for price in (39.5, 39.7, 39.81):
            self.send_quote(writer, price)
        self.wait_admitted(writer)
        ended = threading.Event()
        thread = threading.Thread(target=self.publish_quotes, args=(writer, ended))  # for those who wait for new ones
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(ended.set)

    @staticmethod
    def send_quote(writer, price):
        event = writer.event()
        event.time.FromNanoseconds(946684800_500000000)
        quote = quote_pb2.Quote(symbol="MSFT", price=price)
        quote.time.FromNanoseconds(946684800_000000000)
        event.message.Pack(quote)
        writer.send_frames(b"stock.MSFT", event.SerializeToString())

    def publish_quotes(self, writer, ended):
        while not ended.wait(0.1):
            self.send_quote(writer, 39.81)

    def run_block(self, heading):
        """What the heading's program prints."""
        [text] = [text for each, language, text in blocks(self.PAGE) if (each, language) == (heading, self.LANGUAGE)]
        process = self.run_process(self.command(text), cwd=self.folder)
        self.assertEqual(process.wait_exit(), 0, process.transcript())
        self.assertEqual(process.err, [])
        return process.out

    def test_every_program_of_the_page_is_tested(self):
        languages = [(heading, language) for heading, language, _ in blocks(self.PAGE)]
        tested = ["Read", "Continue where you stopped", "JSON", "Publish", "Types", "Last values and history"]
        self.assertEqual([heading for heading, language in languages if language == self.LANGUAGE], tested + self.MORE)
        self.assertEqual([each for each in languages if each[1] != self.LANGUAGE], [("", "sh"), ("JSON", "json")])

    def test_read(self):
        self.assertEqual(self.run_block("Read"), ["stock.MSFT 39.81"])

    def test_continue_where_you_stopped(self):
        shown = self.run_block("Continue where you stopped") + self.run_block("Continue where you stopped")
        offsets = [int(re.fullmatch(r"stock\.MSFT (\d+)n?", line)[1]) for line in shown]
        self.assertEqual(offsets[:3], [1, 2, 3])
        self.assertLessEqual(offsets[3], 4)
        self.assertEqual(offsets[3:], list(range(offsets[3], offsets[3] + 3)))

    def test_json(self):
        [page] = [json.loads(text) for heading, language, text in blocks(self.PAGE) if (heading, language) == ("JSON", "json")]
        shown = json.loads("".join(self.run_block("JSON")))
        self.assertEqual(list(shown), list(page))
        for field in ("topic", "time", "source", "type", "data"):
            self.assertEqual(shown[field], page[field])
        for field, value in page.items():
            self.assertIs(type(shown[field]), type(value), field)

    def test_publish(self):
        reader = self.live_reader("office.")
        self.assertEqual(self.run_block("Publish"), ["admitted: 2"])
        self.assertEqual([reader.receive()[0] for _ in range(2)], ["office.temperature", "office.door"])

    def test_types(self):
        self.assertEqual(self.run_block("Types"), ["backplane.events.v1.Quote 12.5"])

    def test_last_values_and_history(self):
        shown = self.run_block("Last values and history")
        self.assertEqual(shown[0], "stock.MSFT 39.81")
        self.assertEqual([line.split()[0].rstrip("n") for line in shown[1:4]], ["1", "2", "3"])
        self.assertEqual([line.split()[1] for line in shown[1:4]], ["39.5", "39.7", "39.81"])

    def test_the_commands(self):
        [text] = [text for _, language, text in blocks(self.PAGE) if language == "sh"]
        shell = self.run_process(["bash", "-ec", self.adapt(text)], cwd=TOP)
        self.assertEqual(shell.wait_exit(), 0, shell.transcript())
        self.assertEqual(shell.err, [])


class Python(Pages, BackplaneTest):
    PAGE, LANGUAGE, MORE = "python.md", "python", ["asyncio"]

    def command(self, text):
        return ["/usr/bin/python3", "-B", "-W", "error", "-c", PYTHON_PLACES + text]

    def adapt(self, text):
        generated = os.environ["PYTHONPATH"].split(":")[-1]
        return text.replace("build/dev/proto/python", generated).replace("python3 ", "/usr/bin/python3 -B ")

    def test_asyncio(self):
        self.assertEqual(self.run_block("asyncio"), ["hello", "['hello']", "['hello']"])


class Node(Pages, BackplaneTest):
    PAGE, LANGUAGE, MORE = "node.md", "js", []

    def command(self, text):
        self.folder.joinpath("places.mjs").write_text(NODE_PLACES, encoding="utf-8")
        self.folder.joinpath("program.mjs").write_text(text.replace('from "backplane"', 'from "./places.mjs"'), encoding="utf-8")
        return [NODE, "program.mjs"]

    def adapt(self, text):
        return text.replace("node ", f"{NODE} ").replace('"clock"]', f'"clock"], {{ egress: "{EGRESS}", control: "{CONTROL}" }}')


if __name__ == "__main__":
    unittest.main()
