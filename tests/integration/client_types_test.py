"""What type checkers say about the client libraries and about programs that use them."""

import json
import os
import pathlib
import re
import tempfile
import unittest

from harness import BackplaneTest

TOP = pathlib.Path(__file__).resolve().parents[2]
PYTHON, NODE = TOP / "clients/python", TOP / "clients/node"

PROGRAM = """
import asyncio
import datetime
from backplane import (Control, Event, Gap, Pattern, Publisher, Reset, Subscriber, aio, check_topic, escape, find_type, load_types,
                       message, read_stamp, unescape)
from backplane.events.v1 import quote_pb2


def show(item: Event | Gap | Reset) -> str:
    if isinstance(item, Event):
        quote = item.unpack(quote_pb2.Quote)
        received: int = item.stamp.received_ns
        return f"{item.topic} {item.type} {received}" + (quote.symbol if quote else "")
    return item.topic if isinstance(item, Gap) else str(item.to_dict())


def read() -> str:
    with Subscriber("a", "b.>", last=True, every="5s", name="me", egress=["tcp://a:1"], control=["tcp://a:2"]) as subscriber:
        subscriber.wait_live(timeout=1)
        for item in subscriber:
            print(show(item))
        if following := subscriber.receive(0.5):
            print(following.to_dict())
        return subscriber.resume_token()


def publish() -> None:
    with Publisher("me@here", ingress="tcp://a:1") as publisher:
        publisher.publish("a", message("backplane.events.v1.Quote", symbol="X"), time_ns=1, attributes={"a": "b"})
        publisher.publish("a", None)
        publisher.flush(timeout=1)


async def main() -> None:
    async with aio.Subscriber("a", since=datetime.timedelta(minutes=1)) as subscriber, aio.Publisher("me") as publisher:
        await publisher.publish("a", b"x")
        await publisher.flush()
        async for item in subscriber:
            print(show(item))
    async with aio.Control() as control:
        print([event.payload async for event in control.replay("a", since_ago=1.5)], await control.last("a"))


def others() -> None:
    stamp = read_stamp(b"")
    print(stamp.offset if stamp else 0, Pattern("a.*").matches(check_topic("a.b")), escape(b""), unescape(b""), find_type("a.B"))
    load_types("file")
    with Control() as control:
        print(control.tails(["a"]), [event.time_ns for event in control.replay("a", after=(1, 2))])
"""

WRONG = [('Subscriber(["a"])', "arg-type"), ('Subscriber("a", since=1.5)', "arg-type"), ('Subscriber("a").recieve()', "attr-defined"),
         # Without types-protobuf, a payload may be anything.
         ('Publisher("me").publish(5, "a")', "arg-type"), ('Subscriber("a").receive().topic', "union-attr")]

TYPESCRIPT = """
import { Control, Event, Gap, loadTypes, message, Pattern, Publisher, Reset, Subscriber, TimeoutError, type Item } from "backplane";

function show(item: Item): string {
  if (item instanceof Event) {
    const quote = item.unpack<{ symbol: string }>("backplane.events.v1.Quote");
    const received: bigint = item.stamp.received_ns;
    return `${item.topic} ${item.type} ${received} ${quote?.symbol ?? ""} ${item.toJSON().position + 1}`;
  }
  return item instanceof Gap ? `${item.first} ${item.reason}` : `${(item satisfies Reset).newStream}`;
}

const subscriber = new Subscriber(["a", "b.>"], { last: true, every: "5s", name: "me", egress: ["tcp://a:1"], control: ["tcp://a:2"] });
await subscriber.waitLive({ timeout: 1000 });
for await (const item of subscriber) show(item);
const next: Item | null = await subscriber.receive();
const token: string = subscriber.resumeToken();
new Subscriber(["a"], { since: token || new Date() }).close();
loadTypes("file.proto");
const publisher = new Publisher("me@here", { ingress: "tcp://a:1" });
await publisher.publish("a", message("backplane.events.v1.Quote", { symbol: "X" }), { timeNs: 1n, attributes: { a: "b" } });
await publisher.publish("a", null);
await publisher.flush({ timeout: 1000 }).catch((error: unknown) => { if (!(error instanceof TimeoutError)) throw error; });
const control = new Control("tcp://a:2", { keyFile: "me.key" });
for await (const event of control.replay("a", { sinceAgo: 1000 })) show(event);
const values: Event[] = await control.last("a");
export { next, values };
export const matches: boolean = new Pattern("a.*").matches("a.b");
"""

WRONG_TYPESCRIPT = ['new Subscriber("a");', 'new Subscriber(["a"], { since: true });', 'new Subscriber(["a"]).recieve();',
                    'new Publisher("me").publish("a", 5);', '(await new Subscriber(["a"]).receive()).topic;']


class Types(BackplaneTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def mypy(self, *arguments):
        os.environ["MYPYPATH"] = os.environ["PYTHONPATH"]
        process = self.run_process(["mypy", "--python-executable", "/usr/bin/python3", f"--config-file={PYTHON / 'mypy.ini'}",
                                    f"--cache-dir={self.folder / 'cache'}", *arguments])
        code = process.wait_exit(240)
        return code, process

    def test_the_python_library_and_programs_have_consistent_types(self):
        code, process = self.mypy("-p", "backplane")
        self.assertEqual(code, 0, process.transcript())
        program = self.folder / "program.py"
        program.write_text(PROGRAM, encoding="utf-8")
        code, process = self.mypy("--strict", "--strict-optional", "--follow-imports=silent", str(program))
        self.assertEqual(code, 0, process.transcript())
        lines = [wrong for wrong, _ in WRONG]
        program.write_text("\n".join(["from backplane import Publisher, Subscriber", *lines]), encoding="utf-8")
        code, process = self.mypy("--strict", "--strict-optional", "--follow-imports=silent", str(program))
        self.assertEqual(code, 1, process.transcript())
        found = {int(match[1]): match[2] for line in process.out if (match := re.search(r":(\d+): error: .*\[([\w-]+)\]$", line))}
        self.assertEqual(found, {number: kind for number, (_, kind) in enumerate(WRONG, start=2)}, process.transcript())

    def tsc(self, text):
        program = self.folder / "program.ts"
        program.write_text(text, encoding="utf-8")
        modules = self.folder / "node_modules"
        if not modules.exists():
            modules.mkdir()
            (modules / "backplane").symlink_to(NODE)
            (self.folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
            options = {"noEmit": True, "strict": True, "target": "es2022", "lib": ["es2022"], "module": "nodenext", "types": []}
            (self.folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["program.ts"]}),
                                                       encoding="utf-8")
        process = self.run_process([os.environ["NODE"], str(NODE / "node_modules/typescript/bin/tsc")], cwd=self.folder)
        return process.wait_exit(240), process

    def test_programs_in_typescript_are_checked_by_the_declarations(self):
        code, process = self.tsc(TYPESCRIPT)
        self.assertEqual(code, 0, process.transcript())
        code, process = self.tsc("\n".join(['import { Publisher, Subscriber } from "backplane";', *WRONG_TYPESCRIPT]))
        self.assertNotEqual(code, 0)
        wrong = {int(match[1]) for line in process.out if (match := re.search(r"program\.ts\((\d+),\d+\): error", line))}
        self.assertEqual(wrong, set(range(2, 2 + len(WRONG_TYPESCRIPT))), process.transcript())

    def test_the_declarations_name_what_the_library_exports(self):
        text = (NODE / "index.d.ts").read_text(encoding="utf-8")
        declared = set(re.findall(r"^export (?:class|function|const) (\w+)", text, re.MULTILINE))
        process = self.run_process([os.environ["NODE"], "--input-type=module", "--eval", """
            import * as backplane from "backplane";
            const members = (kind) => Object.getOwnPropertyNames(kind.prototype).filter((name) => !/^_|^constructor$/.test(name));
            const classes = Object.entries(backplane).filter(([name]) => /^[A-Z][a-z]/.test(name));
            console.log(JSON.stringify([Object.keys(backplane), Object.fromEntries(classes.map(([n, c]) => [n, members(c)]))]));
            """], cwd=NODE)
        self.assertEqual(process.wait_exit(), 0, process.transcript())
        names, classes = json.loads(process.out[0])
        self.assertEqual(set(names), declared)
        for name, members in classes.items():
            body = re.search(rf"^export class {name}\b.*?(?:^}}|}}$)", text, re.MULTILINE | re.DOTALL)[0]
            for member in members:
                self.assertRegex(body, rf"\b{member}\b", f"{name}.{member}")


if __name__ == "__main__":
    unittest.main()
