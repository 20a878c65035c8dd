"""Running a broker: health, metrics, signals, configuration."""

import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess
import unittest

from backplane.v1 import control_pb2, event_pb2, system_pb2
from harness import CONTROL, EGRESS, HOST, INGRESS, METRICS, BackplaneTest, Deadline, Reader, Writer

GATEWAY_METRICS = f"{HOST}:9571"
MONITORING = pathlib.Path(__file__).parents[2] / "config" / "monitoring"
OPERATIONS_MD = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"
SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\} (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')


def documented():
    """The kind and labels of each metric in docs/operations.md."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|", OPERATIONS_MD.read_text("utf-8"), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
            if not name.startswith("backplane_gateway_")}  # the gateway has a table of its own


class OperationsTest(BackplaneTest):
    def get(self, path, method="GET", address=METRICS):
        """Returns (status, body) of a page."""
        host, port = address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def scrape(self):
        """Checks the format of /metrics. Returns {name: {labels: value}}."""
        status, body = self.get("/metrics")
        self.assertEqual(status, 200)
        kinds, values = {}, {}
        for line in body.splitlines():
            if line.startswith("# HELP "):
                self.assertRegex(line, r"^# HELP backplane_broker_\w+ \S.*$")
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, kinds)
                kinds[name] = kind
            else:
                match = SAMPLE.match(line)
                self.assertTrue(match, line)
                labels = tuple(LABEL.findall(match[2]))
                if (name := re.sub("_(bucket|count|sum)$", "", match[1])) in kinds and kinds[name] == "histogram":
                    if match[1] == f"{name}_count":
                        values.setdefault(name, {})[labels] = float(match[3])
                    continue
                self.assertIn(match[1], kinds)
                self.assertNotIn(labels, values.setdefault(match[1], {}))
                values[match[1]][labels] = float(match[3])
        self.assertEqual(kinds.keys(), values.keys())
        return kinds, values

    def wait_figure(self, name, condition):
        """Waits until `condition` is true for a counter in Stats. Returns its value."""
        deadline = Deadline()
        while not condition(value := self.counters()[name]):
            self.assertTrue(deadline.left(), f"{name} is {value}")
        return value


# The rules of promtool (github.com/prometheus/client_golang/prometheus/testutil/promlint).
ABBREVIATED_UNITS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
OTHER_UNITS = re.compile(r"(pico|nano|micro|milli|centi|kilo|kibi|mega|mibi|giga|gibi|tera|tebi|peta)\w+|"
                         r"minutes|hours|days|weeks|bits|percent|percentage")
KINDS = {"counter", "gauge", "histogram", "summary"}


def bad_names(page):
    """What promtool would criticise on a /metrics page."""
    bad, help_text = [], {}
    for line in page.splitlines():
        if match := re.match(r"# HELP (\S+) (.*)", line):
            help_text[match[1]] = match[2]
        elif match := re.match(r"# TYPE (\S+) (\S+)", line):
            name, kind = match.groups()
            words = name.split("_")
            if not help_text.get(name):
                bad.append(f"{name}: no help text")
            if (kind == "counter") != name.endswith("_total"):
                bad.append(f"{name}: counters and no others end in _total")
            if found := ABBREVIATED_UNITS & set(words):
                bad.append(f"{name}: abbreviated unit {found}")
            if found := [word for word in words if OTHER_UNITS.fullmatch(word)]:
                bad.append(f"{name}: {found} is not a base unit")
            if KINDS & set(words) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                bad.append(f"{name}: not a name of letters in lower case without its kind")
    return bad


class Figures(OperationsTest):
    def setUp(self):
        super().setUp()
        self.broker = self.start_broker()

    def test_the_pages_show_the_brokers_state(self):
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        self.assertEqual(self.get("/readyz"), (200, "ready\n"))
        self.assertEqual(self.get("/elsewhere")[0], 404)
        self.assertEqual(self.get("/metrics", "POST")[0], 405)
        self.assertEqual(self.get("/metrics", "HEAD"), (200, ""))

    def test_every_documented_metric_exists_and_no_other(self):
        kinds, values = self.scrape()
        expected = documented()
        self.assertGreater(len(expected), 30)
        self.assertEqual(kinds, {f"backplane_broker_{name}": kind for name, (kind, _) in expected.items()})
        for name, (_, labels) in expected.items():
            for sample in values[f"backplane_broker_{name}"]:
                self.assertEqual({label for label, _ in sample}, {"backplane"} | labels, name)

    def test_names_follow_the_conventions_of_prometheus(self):
        self.start_gateway("--metrics", GATEWAY_METRICS)
        for address in (METRICS, GATEWAY_METRICS):
            page = self.get("/metrics", address=address)[1]
            self.assertIn("# TYPE backplane_", page)
            self.assertEqual(bad_names(page), [])
            if promtool := shutil.which("promtool"):
                check = subprocess.run([promtool, "check", "metrics"], input=page, text=True, capture_output=True)
                self.assertEqual((check.returncode, check.stderr), (0, ""))

    def test_the_alert_rules_use_metrics_that_exist(self):
        rules = MONITORING / "prometheus-alerts.yml"
        self.check_metrics(re.findall(r"expr: (.*?)\n +(?:for|labels):", rules.read_text("utf-8"), re.DOTALL))
        if promtool := shutil.which("promtool"):
            check = subprocess.run([promtool, "check", "rules", rules], text=True, capture_output=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_the_dashboard_uses_metrics_that_exist(self):
        dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 15)
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))
        expressions = [target["expr"] for panel in panels for target in panel["targets"]]
        for each in dashboard["templating"]["list"]:
            expressions += re.findall(r"label_values\((.*), ", each.get("definition", ""))
        self.check_metrics(expressions)
        # Names of Grafana's variables that the dashboard defines, or that Grafana does.
        names = {each["name"] for each in dashboard["templating"]["list"]} | {"__rate_interval", "__all"}
        self.assertEqual(set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - names, set())

    def check_metrics(self, expressions):
        """Each metric in them is on the page of a broker or gateway, and has the labels that they use."""
        self.start_gateway("--metrics", GATEWAY_METRICS)
        pages = "".join(self.get("/metrics", address=address)[1] for address in (METRICS, GATEWAY_METRICS))
        # Some have samples only after something has happened, but their type is always there.
        kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", pages, re.MULTILINE))
        rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \|", OPERATIONS_MD.read_text("utf-8"), re.MULTILINE)
        documented_labels = {name.removeprefix("backplane_gateway_"): set(re.findall(r"`(\w+)`", text)) for name, text in rows
                             if name.startswith("backplane_gateway_")}
        labels = {}
        for name, kind in kinds.items():
            short = name.removeprefix("backplane_broker_").removeprefix("backplane_gateway_")
            table = documented_labels if name.startswith("backplane_gateway_") else {key: each[1] for key, each in documented().items()}
            # Prometheus adds these two.
            found = table.get(short, set()) | {"backplane", "instance", "job"}
            labels[name] = found
            if kind == "histogram":
                labels[f"{name}_bucket"] = found | {"le"}
        used = set()
        for expression in expressions:
            names = set(re.findall(r"backplane_(?:broker|gateway)_\w+", expression))
            self.assertEqual(names - set(labels), set(), expression)
            wanted = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(", *", group)}
            wanted |= set(re.findall(r'(\w+)=~?"', expression))
            for name in names:
                self.assertEqual(wanted - labels[name], set(), expression)
            used |= names
        self.assertGreater(len(used), 8)

    def test_a_wait_for_subscribers_is_in_seconds_and_in_whole_nanoseconds(self):
        self.assertIn("backplane_broker_egress_wait_seconds_total", self.scrape()[0])
        self.assertIn("egress_wait_nanoseconds_total", self.counters())

    def test_the_ledger_balances_while_events_arrive_and_after(self):
        writers = [self.ready_writer(source=f"load{number}@test") for number in range(2)]
        for _ in range(10):
            for writer in writers * 200:
                writer.send("n", "good")
                writer.send_frames(b"one frame")
                writer.send("not a topic", "bad")
                writer.send_frames(b"n", b"\x0a\xff")
                writer.send_frames(b"n", event_pb2.Event(source=writer.source, session=writer.session, sequence=1,
                                                         text="again").SerializeToString())
            self.assert_balanced()  # while the broker reads what was sent
            counters = self.counters()
            self.assertEqual(counters["received_total"], counters["published_total"] + self.rejected(counters))
        for writer in writers:
            writer.send("n", "the end")
            self.wait_admitted(writer)
        counters = self.counters()
        self.assertEqual((counters["received_total"], counters["published_total"]), (20_002, 4_002))
        for reason in ("wrong_frames", "bad_topic", "truncated", "repeat"):
            self.assertEqual(counters[f"rejected_total.{reason}"], 4_000)
        deadline = Deadline()
        while self.assert_balanced() != 20_002:
            self.assertTrue(deadline.left(), "/metrics stays behind Stats")

    def rejected(self, counters):
        return sum(value for name, value in counters.items() if name.startswith("rejected_total."))

    def assert_balanced(self):
        """Checks the ledger on /metrics. Returns the number of messages received."""
        values = self.scrape()[1]
        received, = values["backplane_broker_received_total"].values()
        published, = values["backplane_broker_published_total"].values()
        self.assertEqual(received, published + sum(values["backplane_broker_rejected_total"].values()))
        return received

    def test_sources_are_announced_up_and_down(self):
        reader = self.live_reader("$SYS.source.")
        closing = self.start_clock("--source-name", "closing@test")
        killed = self.start_clock("--source-name", "killed@test")
        told = self.told_of_sources(reader, 2)
        self.assertEqual(told, {("closing@test", True, ""), ("killed@test", True, "")})
        closing.end()
        self.assertEqual(self.told_of_sources(reader, 1), {("closing@test", False, "closed")})
        killed.kill()
        self.assertEqual(self.told_of_sources(reader, 1), {("killed@test", False, "silent")})
        # A late subscriber gets the last state.
        stored = self.control_request(retained=control_pb2.RetainedRequest(pattern="$SYS.source.*")).retained.events
        statuses = {each.topic: self.payload(event_pb2.Event.FromString(each.event), system_pb2.SourceStatus).up
                    for each in stored}
        self.assertEqual(statuses, {"$SYS.source.closing@test": False, "$SYS.source.killed@test": False})

    def told_of_sources(self, reader, count):
        statuses = [self.payload(reader.receive()[1], system_pb2.SourceStatus) for _ in range(count)]
        return {(status.name, status.up, status.reason) for status in statuses}

    def payload(self, event, kind):
        payload = kind()
        self.assertTrue(event.message.Unpack(payload))
        return payload


class FromAFile(OperationsTest):
    def rewrite(self, path, text):
        pathlib.Path(path).write_text(text, encoding="utf-8")

    def reload(self, broker, pattern):
        """Sends SIGHUP, and waits for a new line that matches."""
        said = len(broker.err)
        broker.signal(signal.SIGHUP)
        return broker.wait_line(broker.err, pattern, since=said)

    def test_the_broker_publishes_its_stats_regularly(self):
        self.start_broker("--config", self.config_file('[[backplane]]\nstats_every = "100ms"\n'))
        reader = self.live_reader("$SYS.broker.")
        writer = self.ready_writer()
        for _ in range(10):
            writer.send("n", "x")
        offset, received = 0, 0
        while received < 10:
            topic, event = reader.receive()
            stats = system_pb2.BrokerStats()
            self.assertTrue(event.message.Unpack(stats))
            self.assertEqual((topic, stats.backplane), ("$SYS.broker.default.stats", "default"))
            self.assertGreater(event.stamp.offset, offset)
            offset, received = event.stamp.offset, stats.counters["received_total"]
        self.assertEqual(received, 10)

    def test_sighup_applies_what_can_change_and_reports_what_cannot(self):
        path = self.config_file("[[backplane]]\nhistory_events = 1000\nmax_topics = 500\n")
        broker = self.start_broker("--config", path)
        writer = self.ready_writer()
        for _ in range(900):
            writer.send("n", "x")
        self.wait_admitted(writer)
        self.assertEqual(self.held("n"), 900)

        self.rewrite(path, "[[backplane]]\nhistory_events = 50\nmax_topics = 400\n[[backplane.retention]]\n"
                           'pattern = "few.*"\nhistory_events = 3\n')
        self.reload(broker, "needs a restart.*max_topics.*stays 500")
        broker.wait_line(broker.err, "applied retention")
        for _ in range(20):
            writer.send("n", "x")
            writer.send("few.x", "x")
        self.wait_admitted(writer)
        deadline = Deadline()
        while (held := (self.held("n"), self.held("few.x"))) != (50, 3):
            self.assertTrue(deadline.left(), f"expected 50 and 3 events in history, got {held}")

    def held(self, topic):
        listed = self.control_request(topics=control_pb2.TopicsRequest(pattern=topic)).topics.topics
        return listed[0].history_events

    def test_sighup_changes_the_log_level(self):
        path = self.config_file("[log]\nlevel = 'error'\n")
        broker = self.start_broker("--config", path)
        writer = self.ready_writer()
        writer.send("not a topic", "x")
        self.wait_admitted(writer)
        self.rewrite(path, "[log]\nlevel = 'info'\n")
        self.reload(broker, r"applied \[log\]\.level")
        self.assertNotIn("not a topic", "\n".join(broker.err))
        broker.signal(signal.SIGTERM)
        broker.wait_line(broker.err, "drained at position")

    def test_sighup_with_another_endpoint_reports_that_it_needs_a_restart(self):
        text = ('[[backplane]]\ningress = "{}"\n' f'egress = "{EGRESS}"\ncontrol = "{CONTROL}"\nraw = "off"\n'
                '[metrics]\nlisten = "off"\n')
        path = self.config_file(text.format(INGRESS))
        broker = self.run_program("broker", "--config", path)
        broker.ready()
        self.rewrite(path, text.format(f"tcp://{HOST}:7777"))
        self.reload(broker, f"needs a restart.*ingress.*stays {re.escape(INGRESS)}")
        self.ready_writer().send("n", "x")
        self.wait_figure("published_total", lambda value: value == 1)

    def test_sighup_with_a_mistake_changes_nothing(self):
        path = self.config_file("[[backplane]]\nhistory_events = 1000\n")
        broker = self.start_broker("--config", path)
        self.rewrite(path, "[[backplane]]\nhistory_events = 5\nhistory_age = 'soon'\n")
        self.reload(broker, "not applied.*backplane.toml:3.*soon")
        writer = self.ready_writer()
        for _ in range(100):
            writer.send("n", "x")
        self.wait_admitted(writer)
        self.assertEqual(self.held("n"), 100)

    def two(self):
        """A file with two backplanes, on ports of this test."""
        tables = []
        for number, name in enumerate(("prices", "logs")):
            endpoints = "".join(f'{key} = "tcp://{HOST}:{5600 + 10 * number + at}"\n'
                                for at, key in enumerate(("ingress", "egress", "control", "raw")))
            tables.append(f'[[backplane]]\nname = "{name}"\n{endpoints}')
        return "\n".join(tables) + f'[metrics]\nlisten = "{METRICS}"\n'

    def test_two_backplanes_in_one_process_are_independent(self):
        broker = self.run_program("broker", "--config", self.config_file(self.two()))
        sides = {}
        for name in ("prices", "logs"):
            line = broker.wait_line(broker.out, f"^ready (.* name={name} .*)$")[1]
            fields = dict(field.split("=", 1) for field in line.split())
            self.assertEqual((fields["role"], fields["metrics"]), ("broker", METRICS))
            reader = Reader(self.context, "", egress=fields["egress"])
            self.addCleanup(reader.close)
            reader.wait_live()
            writers = [Writer(self.context, source=f"{name}@test", endpoint=fields[way]) for way in ("ingress", "raw")]
            for writer in writers:
                self.addCleanup(writer.close)
                writer.wait_ready()
            sides[name] = (reader, *writers)
        self.assertEqual(len(broker.out), 2)
        for number in range(500):
            for name, (_, writer, raw) in sides.items():
                writer.send(f"{name}.{number}", "x")
                raw.send_frames(b"the.same", name.encode())
        for name, (reader, *_) in sides.items():
            came = []
            while len(came) < 1000:
                topic, event = reader.receive()
                if not topic.startswith("$SYS."):
                    came.append((topic, event.text))
            expected = [("the.same", name)] * 500 + [(f"{name}.{number}", "x") for number in range(500)]
            self.assertEqual(sorted(came), sorted(expected))
        published = self.scrape()[1]["backplane_broker_published_total"]
        deadline = Deadline()
        while published != {(("backplane", "logs"),): 1000.0, (("backplane", "prices"),): 1000.0}:
            self.assertTrue(deadline.left(), published)
            published = self.scrape()[1]["backplane_broker_published_total"]
        self.assertEqual(self.get("/readyz"), (200, "ready\n"))

    def test_the_same_name_or_endpoint_twice_is_refused_with_both_lines(self):
        text = self.two()
        for key, place in (("name", r":9\b.*\bprices.*:2\b"), ("raw", rf":13\b.*{HOST}:5601.*:4\b")):
            with self.subTest(key):
                wrong = text.replace('"logs"', '"prices"') if key == "name" else text.replace(":5613", ":5601")
                broker = self.run_program("broker", "--config", self.config_file(wrong))
                self.assertEqual(broker.wait_exit(), 2)
                self.assertRegex("\n".join(broker.err), place)

    def test_an_invalid_metrics_address_is_wrong_usage(self):
        for wrong in ("nowhere", f"{HOST}:99999", "::1:9570"):
            broker = self.run_program("broker", "--metrics", wrong)
            self.assertEqual(broker.wait_exit(), 2, broker.transcript())
            self.assertIn(wrong, "\n".join(broker.err))


class Configuration(OperationsTest):
    def ends(self, code, *arguments):
        program = self.run_program(*arguments)
        self.assertEqual(program.wait_exit(), code, program.transcript())
        return program

    def test_a_valid_file_is_ok_and_all_mistakes_of_another_are_reported(self):
        good = self.config_file("[[backplane]]\nname = 'x'\n[gateway]\nlisten = ['127.0.0.1:0']\n")
        bad = self.config_file("[[backplane]]\nname = 'x.y'\n[gateway]\nlisten = ['nowhere']\n")
        for daemon in ("broker", "gateway"):
            self.assertEqual(self.ends(0, daemon, "--check-config", "--config", good).out, [f"{good}: ok"])
            refused = self.ends(2, daemon, "--check-config", "--config", bad)
            self.assertEqual(refused.out, [])
            self.assertEqual([line.split(" ")[0] for line in refused.err], [f"{bad}:2", f"{bad}:4"])
            self.assertIn("no/such", self.ends(2, daemon, "--check-config", "--config", "no/such").err[0])

    def test_the_printed_configuration_is_valid_input(self):
        path = self.config_file("[[backplane]]\nmax_topics = 77\n[log]\nlevel = 'debug'\n")
        for daemon, flags, line in (
                ("broker", ["--ingress", "tcp://127.0.0.1:7001"], 'ingress = "tcp://127.0.0.1:7001"'),
                ("gateway", ["--listen", "127.0.0.1:7002"], 'listen = ["127.0.0.1:7002"]')):
            printed = self.ends(0, daemon, "--config", path, *flags, "--print-config").out
            for expected in (line, "max_topics = 77", 'level = "debug"'):
                self.assertIn(expected, printed)
            again = self.config_file("\n".join(printed))
            self.ends(0, daemon, "--config", again, "--check-config")
            self.assertEqual(self.ends(0, daemon, "--config", again, "--print-config").out, printed)

    def test_without_a_file_the_reference_is_printed(self):
        reference = pathlib.Path(__file__).parents[2] / "config" / "backplane.toml"
        self.assertEqual("\n".join(self.ends(0, "broker", "--print-config").out) + "\n", reference.read_text("utf-8"))
        self.ends(0, "broker", "--config", str(reference), "--check-config")


if __name__ == "__main__":
    unittest.main()
