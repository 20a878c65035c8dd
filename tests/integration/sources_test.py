"""Each source as a user types it, with a real broker."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from backplane.events.v1 import command_result_pb2, earthquake_pb2, memory_use_pb2, quote_pb2
from harness import ENDPOINTS, BackplaneTest, Deadline

DEMO = pathlib.Path(__file__).parents[2] / "config" / "demo"


class SourcesTest(BackplaneTest):
    def setUp(self):
        super().setUp()
        self.start_broker()

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def source(self, *arguments, **options):
        """Starts a publisher; arguments after -- stay last."""
        arguments = list(arguments)
        at = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[at:at] = ENDPOINTS
        return self.run_program("publish", *arguments, **options)

    def payload(self, event, kind):
        message = kind()
        self.assertTrue(event.message.Unpack(message), event)
        return message


    def assert_ended_well(self, source):
        """Its exit code is 0, and nothing is lost. On a machine that is too busy to confirm within a second, it may fail
        and say so: that is tested elsewhere."""
        code = source.wait_exit()
        lost = [line for line in source.err if "lost" in line]
        if code == 1 and lost and os.getloadavg()[0] > 2 * os.cpu_count():
            return
        self.assertEqual((code, lost), (0, []), source.transcript())


class Replays(SourcesTest):
    def test_demo_quotes_at_a_rate(self):
        reader = self.live_reader("stock.")
        quotes = self.source("quotes", "--csv", str(DEMO / "stocks.csv"), "--every", "1ms", "--once")
        first = self.payload(reader.receive()[1], quote_pb2.Quote)
        self.assertEqual((first.symbol, first.price, first.time.ToJsonString()), ("MSFT", 39.81, "2000-01-01T00:00:00Z"))
        topics = [reader.receive()[0] for _ in range(559)]
        # All symbols appear at once: a chart of the demo shows every line after a second.
        self.assertEqual({first.symbol, *(topic.removeprefix("stock.") for topic in topics[:4])},
                         {"MSFT", "AMZN", "IBM", "GOOG", "AAPL"})
        self.assertEqual(topics[-1], "stock.AAPL")
        self.assertEqual(quotes.wait_exit(), 0)
        self.assertEqual(quotes.err, [])

    def test_quotes_at_their_own_pace_with_other_columns(self):
        table = self.folder() / "daily.csv"
        table.write_text("Day;Ignored,Day,Ticker,Close\nx,2024-01-02,A,1.5\nx,2024-01-03,A,2.5\n")
        reader = self.live_reader("price.")
        quotes = self.source("quotes", "--csv", str(table), "--topic", "price", "--speed", "864000", "--once",
                             "--map", "symbol=Ticker", "--map", "price=Close", "--map", "time=Day")
        first, second = reader.receive()[1], reader.receive()[1]
        self.assertEqual(self.payload(second, quote_pb2.Quote).price, 2.5)
        # A day in the data takes a tenth of a second.
        self.assertGreaterEqual(second.time.ToNanoseconds() - first.time.ToNanoseconds(), 90_000_000)
        self.assertEqual(quotes.wait_exit(), 0)

    def test_demo_earthquakes(self):
        reader = self.live_reader("earthquake.")
        quakes = self.source("earthquakes", "--file", str(DEMO / "earthquakes.ndjson"), "--speed", "1e6", "--once")
        topic, event = reader.receive()
        self.assertEqual(topic, "earthquake.uw")
        quake = self.payload(event, earthquake_pb2.Earthquake)
        self.assertEqual((quake.id, quake.magnitude, quake.place),
                         ("uw61345682", 0.31, "37km NNE of Amboy, Washington"))
        self.assertEqual(quake.time.ToJsonString(), "2018-01-31T01:49:59.650Z")
        records = len((DEMO / "earthquakes.ndjson").read_text().splitlines())
        for _ in range(records - 1):
            reader.receive()
        self.assertEqual(quakes.wait_exit(), 0)
        self.assertEqual(self.counters()["published_total"], records)

    def test_any_records_as_json_text_and_as_a_named_type(self):
        reader = self.live_reader("weather", "typed.")
        plain = self.source("replay", "--file", str(DEMO / "seattle-hourly.csv"), "--topic", "weather",
                            "--time-field", "date", "--speed", "1e9")
        topic, event = reader.receive()
        self.assertEqual(topic, "weather")
        self.assertEqual(json.loads(event.text), {"date": "2010-01-01T01:00:00", "pressure": 1016.6,
                                                  "temperature": 4.0, "wind": 3.8})
        plain.end()
        typed = self.source("replay", "--file", str(DEMO / "earthquakes.ndjson"), "--topic", "typed",
                            "--type", "Earthquake", "--topic-field", "net", "--rate", "1000", "--once")
        while topic != "typed.uw":
            topic, event = reader.receive()
        self.assertEqual(self.payload(event, earthquake_pb2.Earthquake).net, "uw")
        self.assertEqual(typed.wait_exit(), 0)

    def test_records_after_a_byte_order_mark_and_with_other_separators(self):
        folder, reader = self.folder(), self.live_reader("t")
        (folder / "bom.ndjson").write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
        (folder / "semicolons.csv").write_text("id;n\n39e1804;1,5\n")
        (folder / "tabs.csv").write_text("id\tn\n7\t1.5\n")
        for arguments, records in ((["bom.ndjson"], [{"a": 1}, {"a": 2}]),
                                   (["semicolons.csv", "--separator", ";"], [{"id": "39e1804", "n": "1,5"}]),
                                   (["tabs.csv", "--separator", "tab"], [{"id": 7, "n": 1.5}])):
            source = self.source("replay", "--topic", "t", "--rate", "1000", "--once", "--file",
                                 str(folder / arguments[0]), *arguments[1:])
            self.assertEqual([json.loads(reader.receive()[1].text) for _ in records], records)
            self.assertEqual(source.wait_exit(), 0, source.transcript())
        for name in ("semicolons.csv", "tabs.csv"):
            source = self.source("replay", "--topic", "t", "--rate", "1000", "--file", str(folder / name))
            self.assertEqual(source.wait_exit(), 2)
            self.assertRegex(source.err[0], "expected columns separated by commas, got .*add --separator")
        self.assertEqual(self.counters()["published_total"], 4)

    def test_broken_records_are_reported_by_line_and_counted(self):
        data = self.folder() / "quakes.ndjson"
        good = '{"time": 1517363399650, "magnitude": 1, "net": "uw"}\n'
        data.write_text(good + "{broken\n" + good + '{"time": "soon", "magnitude": 1, "net": "uw"}\n' + good * 2)
        reader = self.live_reader("earthquake.")
        quakes = self.source("earthquakes", "--file", str(data), "--rate", "1000", "--once")
        for _ in range(4):
            reader.receive()
        self.assertEqual(quakes.wait_exit(), 0)
        self.assertRegex(quakes.err[0], r"quakes\.ndjson:2: expected a JSON object")
        self.assertRegex(quakes.err[-1], r"bad records: 2; events published: 4$")

    def test_with_on_error_stop_the_first_broken_record_ends_it_and_all_before_it_is_published(self):
        data = self.folder() / "q.csv"
        data.write_text("symbol,date,price\n" + "A,2000-01-01,1\n" * 3 + "A,2000-01-01,dear\nA,2000-01-01,2\n")
        reader = self.live_reader("stock.")
        quotes = self.source("quotes", "--csv", str(data), "--rate", "1000", "--once", "--on-error", "stop")
        self.assertEqual(quotes.wait_exit(), 1)
        self.assertRegex(quotes.err[0], r"q\.csv:5: price: expected a number, got \"dear\"")
        self.assertRegex(quotes.err[-1], r"bad records: 1; events published: 3$")
        for _ in range(3):
            reader.receive()
        self.assertEqual(self.counters()["published_total"], 3)

    def test_many_broken_records_are_logged_in_few_lines(self):
        data = self.folder() / "q.csv"
        data.write_text("symbol,date,price\n" + "A,2000-01-01,dear\n" * 20_000 + "A,2000-01-01,2\n")
        quotes = self.source("quotes", "--csv", str(data), "--rate", "1000", "--once")
        self.assertEqual(quotes.wait_exit(), 0)
        self.assertRegex(quotes.err[-1], r"bad records: 20000; events published: 1$")
        self.assertLess(len(quotes.err), 100)


class Machines(SourcesTest):
    def test_the_thermometer_publishes_memory_use(self):
        reader = self.live_reader("memory")
        self.source("thermometer", "--every", "100ms")
        memory = self.payload(reader.receive()[1], memory_use_pb2.MemoryUse)
        self.assertGreater(memory.total_bytes, memory.available_bytes)
        reader.receive()

    def test_random_walk_is_the_same_for_the_same_seed(self):
        walks = []
        for topic in ("one", "two"):
            reader = self.live_reader(topic + ".")
            walk = self.source("random-walk", "--topic", topic, "--seed", "7", "--symbols", "100", "--rate", "20000",
                               "--count", "5000")
            quotes = [self.payload(reader.receive()[1], quote_pb2.Quote) for _ in range(5000)]
            self.assertEqual(walk.wait_exit(), 0)
            walks.append([(quote.symbol, quote.price) for quote in quotes])
        self.assertEqual(walks[0], walks[1])
        self.assertEqual(len({symbol for symbol, _ in walks[0]}), 100)

    def test_lines_at_an_interval(self):
        reader = self.live_reader("log")
        lines = self.source("lines", "--topic", "log", "--every", "50ms", stdin=subprocess.PIPE)
        lines.stdin.write("one\ntwo\nthree\n")
        lines.stdin.close()
        events = [reader.receive()[1] for _ in range(3)]
        self.assertEqual([event.text for event in events], ["one", "two", "three"])
        self.assertGreaterEqual(events[2].time.ToNanoseconds() - events[0].time.ToNanoseconds(), 90_000_000)
        self.assertEqual(lines.wait_exit(), 0)

    def test_at_sigterm_each_source_delivers_all_that_it_offered(self):
        path = self.folder() / "log"
        path.write_text("x\n")
        for arguments in (["clock", "--every", "1ms"], ["thermometer", "--every", "1ms"],
                          ["quotes", "--csv", str(DEMO / "stocks.csv"), "--rate", "5000"],
                          ["earthquakes", "--file", str(DEMO / "earthquakes.ndjson"), "--rate", "5000"],
                          ["replay", "--file", str(DEMO / "stocks.csv"), "--topic", "t", "--rate", "5000"],
                          ["random-walk", "--rate", "5000"],
                          ["file", "--path", str(path), "--state", "none", "--topic", "t"],
                          ["exec", "--topic", "t", "--", "yes"]):
            with self.subTest(arguments[0]):
                before = self.counters()["published_total"]
                source = self.source(*arguments)
                source.ready()
                deadline = Deadline()
                while self.counters()["published_total"] == before:
                    self.assertTrue(deadline.left(), source.transcript())
                source.signal(signal.SIGTERM)
                self.assert_ended_well(source)


class Losses(BackplaneTest):
    """What a source says at its end, and its exit code, agree."""

    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()

    def stopped_lines(self, *options, kill_broker):
        reader = self.live_reader("log")
        source = self.run_program("publish", "lines", "--topic", "log", *options, *ENDPOINTS, stdin=subprocess.PIPE)
        source.stdin.write("first\n")
        source.stdin.flush()
        reader.receive()
        if kill_broker:
            self.broker.kill()
            source.wait_line(source.err, "waiting for a broker")
        before = self.bytes_read(source)
        source.stdin.write("x\n" * 1000)
        source.stdin.flush()
        deadline = Deadline()
        while self.bytes_read(source) < before + 2000:
            self.assertTrue(deadline.left(), source.transcript())
        source.signal(signal.SIGTERM)
        return source

    @staticmethod
    def bytes_read(process):
        return int(pathlib.Path(f"/proc/{process.pid}/io").read_text().split("rchar: ")[1].split()[0])

    def test_events_that_no_broker_confirmed_are_lost_and_make_it_fail(self):
        source = self.stopped_lines(kill_broker=True)
        self.assertEqual(source.wait_exit(), 1, source.transcript())
        self.assertRegex(source.err[-1], r"exiting with \d+ unconfirmed events: they are lost")

    def test_lines_that_were_read_and_not_published_are_lost_and_make_it_fail(self):
        source = self.stopped_lines("--every", "1h", kill_broker=False)
        self.assertEqual(source.wait_exit(), 1, source.transcript())
        self.assertRegex("\n".join(source.err), r"exiting with \d+ records that were read and not published: they are lost")

    def test_lines_of_a_command_that_were_read_and_not_published_are_lost_and_make_it_fail(self):
        reader = self.live_reader("t")
        source = self.run_program("publish", "exec", "--topic", "t", *ENDPOINTS, "--", "sh", "-c", "echo first; exec yes")
        reader.receive()
        self.broker.signal(signal.SIGSTOP)
        self.addCleanup(self.broker.signal, signal.SIGCONT)
        source.wait_line(source.err, "waiting for the broker to confirm")
        source.signal(signal.SIGTERM)
        self.assertEqual(source.wait_exit(), 1, source.transcript())
        said = "\n".join(source.err)
        self.assertRegex(said, r"exiting with \d+ records that were read and not published: they are lost")
        self.assertRegex(said, r"exiting with \d+ unconfirmed events: they are lost")

    def test_if_all_is_confirmed_it_ends_well(self):
        source = self.run_program("publish", "lines", "--topic", "log", *ENDPOINTS, stdin=subprocess.PIPE)
        source.stdin.write("x\n" * 1000)
        source.stdin.flush()
        deadline = Deadline()
        while self.counters()["published_total"] < 1000:
            self.assertTrue(deadline.left(), source.transcript())
        source.signal(signal.SIGTERM)
        self.assertEqual(source.wait_exit(), 0, source.transcript())


class Exec(SourcesTest):
    def test_a_command_is_run_repeatedly(self):
        reader = self.live_reader("cmd")
        self.source("exec", "--topic", "cmd", "--every", "50ms", "--", "sh", "-c", "echo out; echo oops >&2; exit 3")
        seen = {"cmd": 0, "cmd.error": 0, "cmd.exit": 0}
        while min(seen.values()) < 3:
            topic, event = reader.receive()
            seen[topic] += 1
            if topic == "cmd":
                self.assertEqual(event.text, "out")
            elif topic == "cmd.error":
                self.assertEqual(event.text, "oops")
            else:
                result = self.payload(event, command_result_pb2.CommandResult)
                self.assertEqual((result.exit_code, result.signal, result.timed_out), (3, 0, False))
                self.assertTrue(result.command.startswith("sh -c echo out"))

    def test_a_followed_command_publishes_its_lines_as_they_come_and_its_end(self):
        reader = self.live_reader("cmd")
        command = self.source("exec", "--topic", "cmd", "--", "sh", "-c", "echo one; printf two; exit 0")
        self.assertEqual([reader.receive()[1].text for _ in range(2)], ["one", "two"])
        result = self.payload(reader.receive()[1], command_result_pb2.CommandResult)
        self.assertEqual((result.exit_code, result.signal), (0, 0))
        self.assertEqual(command.wait_exit(), 0)
        failing = self.source("exec", "--topic", "cmd", "--", "false")
        self.assertEqual(failing.wait_exit(), 1)

    def test_at_the_time_limit_the_whole_process_group_is_ended(self):
        reader = self.live_reader("cmd")
        self.source("exec", "--topic", "cmd", "--every", "50ms", "--limit", "300ms", "--",
                    "sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait; wait")
        # On a busy machine, the limit may come before the line. Each run ends like this one.
        topic, event = reader.receive()
        while topic != "cmd":
            topic, event = reader.receive()
        child = int(event.text)
        result = self.payload(reader.receive()[1], command_result_pb2.CommandResult)
        self.assertEqual((result.exit_code, result.timed_out), (-1, True))
        self.assertIn(result.signal, (signal.SIGTERM, signal.SIGKILL))
        self.wait_gone(child)

    def test_sigterm_ends_the_command_and_what_it_started(self):
        reader = self.live_reader("cmd")
        source = self.source("exec", "--topic", "cmd", "--", "sh", "-c", "sleep 1000 & echo $!; wait")
        child = int(reader.receive()[1].text)
        source.signal(signal.SIGTERM)
        self.assert_ended_well(source)
        result = self.payload(reader.receive()[1], command_result_pb2.CommandResult)
        self.assertEqual(result.signal, signal.SIGTERM)
        self.wait_gone(child)

    def test_a_program_that_does_not_exist_is_wrong_usage(self):
        source = self.source("exec", "--topic", "cmd", "--", "no-such-program-anywhere")
        self.assertEqual(source.wait_exit(), 2)
        self.assertIn("expected a program in PATH", source.err[0])

    def wait_gone(self, pid):
        deadline = Deadline()
        while deadline.left():
            try:
                if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
        self.fail(f"process {pid} still runs")


class Help(BackplaneTest):
    def test_the_help_of_each_source_has_an_example(self):
        for name in ("clock", "thermometer", "quotes", "earthquakes", "replay", "lines", "file", "exec", "random-walk"):
            with self.subTest(name):
                program = self.run_program("publish", name, "--help")
                self.assertEqual(program.wait_exit(), 0)
                text = "\n".join(program.out)
                self.assertRegex(text, rf"Examples:\n[\s\S]*backplane publish {name}|\| backplane publish {name}")
                for option in ("--topic", "--every", "--source-name", "--broker", "--on-error"):
                    self.assertIn(option, text)

    def test_wrong_usage_is_exit_code_two(self):
        for arguments in (["quotes"], ["quotes", "--csv", "/nowhere.csv"], ["lines"], ["clock", "--every", "0s"],
                          ["clock", "--on-error", "perhaps"], ["replay", "--topic", "t"],
                          ["random-walk", "--rate", "0"], ["exec", "--topic", "t"], ["file", "--topic", "t"],
                          ["file", "--topic", "t", "--path", "/tmp", "--state", "none"],
                          ["quotes", "--csv", str(DEMO / "stocks.csv"), "--map", "price"],
                          ["quotes", "--csv", str(DEMO / "stocks.csv"), "--time-unit", "weeks"]):
            with self.subTest(arguments):
                self.assertEqual(self.run_program("publish", *arguments).wait_exit(), 2)


if __name__ == "__main__":
    unittest.main()
