"""The gateway's page in Chromium, with real processes behind it. Screenshots are kept beside the build."""

import gzip
import json
import math
import os
import pathlib
import signal
import time
import unittest

from harness import ENDPOINTS, HOST
from web_harness import ORIGIN, SANITIZED, BrowserTest, testid

DESK = {"width": 1280, "height": 900}
PHONES = ({"width": 320, "height": 640}, {"width": 390, "height": 844})
# What Chromium reports on the console while the gateway is down.
NOBODY_THERE = ["WebSocket connection to", "net::ERR_"]
# How long a busy page takes to respond, in ms: the median and longest of some turns of its event loop.
TURNS = """async (count) => {
    const turn = () => new Promise((resolve) => {
        const begun = performance.now();
        const channel = new MessageChannel();
        channel.port1.onmessage = () => resolve(performance.now() - begun);
        requestAnimationFrame(() => channel.port2.postMessage(null));
    });
    const turns = [];
    while (turns.length < count) turns.push(await turn());
    turns.sort((a, b) => a - b);
    return { median: turns[count >> 1], longest: turns[count - 1] };
}"""
# Whether something is drawn on the chart's canvas.
DRAWN = """(selector) => {
    const canvas = document.querySelector(`${selector} canvas`);
    if (!canvas || !canvas.width) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add(`${data[at]} ${data[at + 1]} ${data[at + 2]} ${data[at + 3]}`);
    return colours.size > 5;
}"""


class PageTest(BrowserTest):
    def setUp(self):
        super().setUp()
        self.start_all()

    def open(self, viewport=DESK, hash="", **options):
        """Opens the page and waits until it is connected."""
        page = self.page(f"{ORIGIN}/{hash}", viewport=viewport, **options)
        self.wait_state(page, "live")
        return page

    def wait_state(self, page, state):
        page.wait("([selector, state]) => document.querySelector(selector)?.dataset.state === state",
                  [testid("connection"), state])

    def subscribe(self, page, pattern):
        """Subscribes, and waits until the subscription is active: events published before would be missed."""
        page.fill("sub-pattern", pattern)
        page.click("sub-go")
        self.wait_subscribed(page, pattern)

    def wait_subscribed(self, page, pattern):
        page.wait("""(pattern) => {
            const tab = document.querySelector('[role="tab"][aria-selected="true"]');
            return tab?.dataset.state === "live" && tab.title.endsWith(`: ${pattern}`);
        }""", pattern)

    def chart(self, page, field):
        """Shows a chart, and waits until something is drawn."""
        page.locate("#as-chart", "click")
        page.wait("([selector, field]) => [...document.querySelector(selector).options].some(({ value }) => value === field)",
                  [testid("chart-field"), field])
        page.locate(testid("chart-field"), "selectOption", field)
        page.wait(DRAWN, testid("chart"))

    def figure(self, name):
        return json.loads(self.get("/v1/status")[2])["counters"].get(name, 0)

    def wait_row(self, page, pattern):
        return page.wait_text("event-row", pattern)

    def start_quotes(self, every="100ms"):
        """Publishes prices that rise and fall."""
        rows = "".join(f"2024-{month:02}-{day:02},{symbol},{price + price / 10 * math.sin((month * 28 + day) / 9):.2f}\n"
                       for month in range(1, 13) for day in range(1, 29)
                       for symbol, price in (("MSFT", 400), ("IBM", 180), ("AAPL", 190)))
        path = self.config_file("date,symbol,price\n" + rows)
        quotes = self.run_program("publish", "quotes", "--csv", path, "--format", "csv", "--every", every, *ENDPOINTS)
        quotes.ready()
        return quotes

    def start_sources(self):
        self.start_clock(every="200ms").ready()
        self.start_quotes()
        self.run_program("publish", "thermometer", "--every", "1s", *ENDPOINTS).ready()


class Files(PageTest):
    def test_the_page_is_compressed_and_cached_by_its_etag(self):
        status, headers, body = self.get("/")
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'self'", headers["content-security-policy"])
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        raw = self.raw()
        raw.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: br, gzip\r\n\r\n".encode())
        _, headers, packed = raw.response()
        self.assertEqual(headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed).decode(), body)
        self.assertLess(len(packed), len(body))
        status, _, again = self.get("/", If_None_Match=headers["etag"], Accept_Encoding="gzip")
        self.assertEqual((status, again), (304, ""))
        self.assertEqual(self.get("/", If_None_Match='"another"')[0], 200)

    def test_everything_that_the_page_loads_comes_from_the_gateway(self):
        page = self.open()
        loaded = page.evaluate('() => performance.getEntriesByType("resource").map(({ name }) => name)')
        self.assertGreater(len(loaded), 3)
        for url in loaded:
            self.assertTrue(url.startswith(ORIGIN) or url.startswith(ORIGIN.replace("http", "ws")), url)


class Topics(PageTest):
    def test_topics_appear_with_their_rates_and_are_found(self):
        self.start_sources()
        page = self.open()
        page.wait_text("topic-row", r"stock\.MSFT")
        page.wait_text("topic-row", r"clock")
        page.wait_text("topic-row", r"[1-9][\d.]*/s")
        page.fill("topic-search", "stock")
        page.wait(f"() => [...document.querySelectorAll('{testid('topic-row')}')].length === 3")
        page.fill("topic-search", "*.IBM")
        page.wait(f"() => [...document.querySelectorAll('{testid('topic-row')}')].length === 1")
        page.fill("topic-search", "nothing has this name")
        page.wait(f"() => document.querySelectorAll('{testid('topic-row')}').length === 0")
        page.fill("topic-search", "")
        page.wait_text("topic-row", r"clock")

    def test_thousands_of_topics_are_listed_with_few_elements(self):
        count = 1000 if SANITIZED else 5000
        for number in range(count):
            self.publisher.send(f"many.{number % 10}.{number}", "x")
        self.wait_admitted(self.publisher)
        page = self.open()
        page.wait_text("topic-row", r"many\.0\.0")
        page.wait(f"(text) => document.body.innerText.includes(text)", f"{count:,}")
        self.assertLess(page.count("topic-row"), 200)
        page.fill("topic-search", f"many.7.{count - 3}")
        page.wait_text("topic-row", rf"many\.7\.{count - 3}")
        page.locate(testid("topic-row"), "click")
        self.assertEqual(page.locate(testid("sub-pattern"), "inputValue"), f"many.7.{count - 3}")

    def test_the_status_shows_clients_and_refusals(self):
        page = self.open()
        page.wait_text("status-clients", r"^[1-9]")
        self.publisher.send("not a topic", "x")
        self.wait_admitted(self.publisher)
        page.wait_text("status-drops", r"bad.topic")


class Events(PageTest):
    def test_values_move_and_a_number_becomes_a_chart(self):
        self.start_sources()
        page = self.open()
        self.subscribe(page, "stock.>")
        self.wait_row(page, r"stock\.MSFT[^]*price")
        offset = int(page.evaluate(f"() => document.querySelector('{testid('event-row')} .offset').innerText"))
        page.wait(f"(old) => [...document.querySelectorAll('{testid('event-row')} .offset')].some((each) => Number(each.innerText) > old + 3)",
                  offset)
        page.screenshot("desk-light-events")
        self.chart(page, "price")
        page.wait('() => document.querySelectorAll(\'[data-testid="chart-line"]\').length === 3')
        page.screenshot("desk-light-chart")
        page.emulate(colorScheme="dark")
        page.wait(DRAWN, testid("chart"))
        page.screenshot("desk-dark-chart")

    def test_with_last_retained_values_come_first(self):
        self.publish(3, topic="kept")
        page = self.open(hash="#sub=kept+last")
        self.wait_row(page, r"kept[^]*2")
        self.assertEqual(page.count("event-row"), 1)

    def test_an_invalid_pattern_is_reported_and_the_page_continues(self):
        page = self.open()
        page.fill("sub-pattern", "stock..MSFT")
        page.click("sub-go")
        page.wait("() => /a token/.test(document.getElementById('sub-problem').innerText)")
        self.subscribe(page, "n")
        self.publish(1)
        self.wait_row(page, "n[^]*0")

    def test_text_that_looks_like_html_is_text(self):
        page = self.open()
        self.subscribe(page, "evil.>")
        page.evaluate("() => { window.harmed = false; }")
        texts = ["<img src=x onerror='window.harmed = true'>", "<script>window.harmed = true</script>",
                 "\"><svg onload=window.harmed=true>", "javascript:window.harmed=true", "a" * 20_000,
                 "\u202e right to left \u2066", "💥 e\u0301 \u200d", json.dumps({"__proto__": {"x": 1}, "constructor": 2}),
                 "[" * 5000, '{"a":' * 3000 + "1" + "}" * 3000, "1e999", '{"n": 1e400, "m": "NaN"}']
        for number, text in enumerate(texts):
            self.publisher.send(f"evil.{number}.<b&\"'{'x' * 60}", text)
        self.publisher.send("evil.end", "the end")
        self.wait_row(page, r"evil\.end[^]*the end")
        page.wait_text("topic-row", r"evil\.0\.<b&")
        self.assertFalse(page.evaluate("() => window.harmed"))
        self.assertEqual(page.evaluate(f"() => document.querySelectorAll('{testid('events')} :is(img, script, svg, b)').length"), 0)
        width, inner = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(width, inner)

    def test_the_page_stays_responsive_at_a_thousand_events_a_second(self):
        page = self.open()
        self.subscribe(page, "walk.>")
        rate = 200 if SANITIZED else 1000
        self.run_program("publish", "random-walk", "--symbols", "20", "--rate", str(rate), *ENDPOINTS).ready()
        # For some seconds: all events are counted, a part is drawn, and the page says so.
        self.wait_figure("backplane_gateway_delivered_total", lambda value: value > rate)
        page.wait("() => /showing .* of .*\\/s/.test(document.getElementById('sampled').innerText)")
        turns = [page.evaluate(TURNS, 30)]
        self.chart(page, "price")
        turns.append(page.evaluate(TURNS, 30))
        self.wait_figure("backplane_gateway_delivered_total", lambda value: value > 6 * rate)
        page.screenshot("desk-thousand-a-second")
        for name, turn in zip(("rows", "chart"), turns):
            print(f"a turn at {rate} events/s, {name}: median {turn['median']:.1f} ms, longest {turn['longest']:.1f} ms")
        self.assertLess(page.count("event-row"), 1000)
        page.fill("pub-topic", "walk.end")
        page.fill("pub-text", "typed meanwhile")
        page.click("pub-go")
        page.wait_text("pub-answer", "admitted|published|ok")
        # The page was fast enough: nothing was dropped.
        self.assertEqual(self.figure("dropped_total.slow_consumer"), 0)
        self.assertEqual(page.count("gap"), 0)


class Publishing(PageTest):
    def test_a_published_event_is_admitted_and_shown(self):
        page = self.open()
        self.subscribe(page, "news.*")
        page.fill("pub-topic", "news.uk")
        page.fill("pub-text", 'two\nlines, a \\ and "quotes" ✓')
        page.click("pub-go")
        page.wait_text("pub-answer", "admitted|published|ok")
        self.wait_row(page, r"news\.uk[^]*two")
        self.assertEqual(self.history(self.control_client(), "news.uk")[0].text, 'two\nlines, a \\ and "quotes" ✓')

    def test_a_refused_event_shows_the_reason(self):
        page = self.open()
        for topic, why in (("news..uk", "a token"), ("$SYS.x", "read-only"), ("a b", "white space")):
            page.fill("pub-topic", topic)
            page.fill("pub-text", "x")
            page.click("pub-go")
            page.wait_text("pub-answer", why)
        self.broker.kill()
        self.wait_state(page, "waiting")
        page.fill("pub-topic", "news.uk")
        page.click("pub-go")
        page.wait_text("pub-answer", "unavailable|broker")

    def test_a_command_to_copy_subscribes_from_elsewhere(self):
        page = self.open()
        self.subscribe(page, "stock.>")
        page.wait_text("command-text", r"stock\.>[^]*nc ")
        commands = page.text("command-text")
        self.assertIn(HOST, commands)
        self.assertIn("1601", commands)

    def test_the_python_command_runs_as_shown_with_every_and_since(self):
        self.publish(3, topic="kept")
        page = self.open(hash="#sub=kept+since%3D10m+every%3D1s")
        page.click("command-Python")
        page.wait_text("command-text", r'since="10m", every="1s"')
        command = page.locate("#command-text", "textContent")
        self.assertEqual(page.locate("#command-note", "innerText").split(".")[0], "Uses clients/python")
        folder = pathlib.Path(__file__).resolve().parents[2] / "clients/python"
        program = self.run_process(["env", f"PYTHONPATH={folder}:{os.environ['PYTHONPATH']}", "/usr/bin/python3", "-B", "-c",
                                    command])
        program.wait_line(program.out, "^kept 1 ")
        program.wait_line(program.out, "^kept 3 ")  # 2 came within the interval


class Restarts(PageTest):
    def test_the_page_recovers_with_the_broker_and_shows_what_was_lost(self):
        page = self.open()
        self.subscribe(page, "n")
        for number in range(20):
            self.publisher.send("n", json.dumps({"price": 10 + number % 7}))
        self.wait_row(page, "price")
        self.chart(page, "price")
        self.broker.kill()
        self.wait_state(page, "waiting")
        page.screenshot("desk-broker-away")
        self.broker = self.start_broker()
        self.wait_state(page, "live")
        self.publisher = self.ready_writer(source="again@test")
        for number in range(20):
            self.publisher.send("n", json.dumps({"price": 30 + number % 7}))
        page.wait(f"() => Number(document.querySelector('{testid('chart')}').dataset.gaps) > 0")
        page.wait(DRAWN, testid("chart"))
        page.screenshot("desk-chart-with-gap")
        page.locate("#as-text", "click")
        page.wait(f"() => document.querySelectorAll('{testid('gap')}, {testid('reset')}').length > 0")
        self.wait_row(page, f'"price": {30 + 19 % 7}')  # the newest event is always drawn
        page.screenshot("desk-events-with-gap")

    def test_after_kill_9_of_the_gateway_the_page_resumes_where_it_was(self):
        page = self.open()
        page.expected_problems += NOBODY_THERE
        self.subscribe(page, "n")
        self.publish(5)
        self.wait_row(page, r"\b4$")
        self.gateway.kill()
        self.wait_state(page, "away")
        page.screenshot("desk-gateway-away")
        self.publish(5, first=5)
        self.start_the_gateway()
        self.wait_state(page, "live")
        self.wait_row(page, r"\b9$")
        offsets = page.evaluate(f"() => [...document.querySelectorAll('{testid('event-row')} .offset')].map((each) => Number(each.innerText))")
        self.assertEqual(offsets[::-1], list(range(1, 11)))
        self.assertEqual(page.count("gap"), 0)


class Stale(PageTest):
    """Figures that are no longer updated are marked, and say since when."""

    def marked(self, page):
        """The ids or texts of what is marked as stale."""
        return set(page.evaluate("""() => [...document.querySelectorAll("[data-stale]")].map((each) => each.id
            || each.previousElementSibling?.querySelector(".name")?.innerText)"""))

    def wait_marked(self, page, names):
        page.wait("""(names) => {
            const marked = [...document.querySelectorAll("[data-stale]")].map((each) => each.id
                || each.previousElementSibling?.querySelector(".name")?.innerText);
            return names.every((name) => marked.includes(name));
        }""", names)

    def wait_fresh(self, page):
        page.wait('() => !document.querySelector("[data-stale], [data-testid=stale]:not([hidden])")')

    def open_with_figures(self):
        self.start_clock(every="200ms").ready()
        page = self.open(hash="#sub=clock")
        page.wait("() => Number(document.getElementById('total-rate').innerText) > 0")
        page.wait_text("status-clients", "^[1-9]")
        page.wait("() => /events in/.test(document.getElementById('status').innerText)")
        self.assertEqual(self.marked(page), set())
        return page

    def test_without_a_broker_what_it_reported_is_marked(self):
        page = self.open_with_figures()
        self.broker.kill()
        self.wait_state(page, "waiting")
        self.wait_marked(page, ["total-rate", "total-topics", "topics-list", "Broker default", "Publishers"])
        self.assertNotIn("total-clients", self.marked(page))  # the gateway still reports its own
        for text in ("totals-stale", "topics-stale"):
            self.assertRegex(page.locate(f"#{text}", "innerText"), r"^as of \d\d:\d\d:\d\d$")
        self.assertRegex(page.locate("#view-state", "innerText"), r"^no broker since \d\d:\d\d:\d\d")
        self.assertRegex(page.locate("#sampled", "innerText"), r"^nothing new since \d\d:\d\d:\d\d$")
        self.assertIn("–/s", page.text("tab"))
        page.screenshot("desk-stale")
        self.broker = self.start_broker()
        self.start_clock(every="200ms").ready()
        self.wait_state(page, "live")
        self.wait_fresh(page)

    def test_without_a_gateway_everything_is_marked(self):
        page = self.open_with_figures()
        page.expected_problems += NOBODY_THERE
        self.gateway.kill()
        self.wait_state(page, "away")
        self.wait_marked(page, ["total-rate", "total-topics", "total-clients", "topics-list", "Broker default",
                                "This gateway", "status-drops", "Publishers"])
        self.start_the_gateway()
        self.wait_state(page, "live")
        self.wait_fresh(page)

    def test_a_gateway_that_does_not_reply_is_noticed(self):
        page = self.open_with_figures()
        page.expected_problems += NOBODY_THERE
        self.gateway.signal(signal.SIGSTOP)
        self.wait_marked(page, ["total-rate", "total-clients", "topics-list", "This gateway"])
        self.gateway.signal(signal.SIGCONT)
        self.wait_fresh(page)


class History(PageTest):
    """A chart starts with the events that the broker's history has."""

    def wait_points(self, page, count):
        page.wait(f"(count) => Number(document.querySelector('{testid('chart')}').dataset.points) >= count", count)

    def publish_slowly(self, count):
        """Prices with some time between them: a chart keeps the minimum and maximum of each slice of time."""
        begin = time.monotonic()
        for number in range(count):
            while time.monotonic() < begin + number * 0.15:
                time.sleep(0.01)
            self.publisher.send("n", json.dumps({"price": 100 + number}))
        self.wait_admitted(self.publisher)

    def test_a_chart_of_the_address_starts_with_history(self):
        self.publish_slowly(20)
        page = self.open(hash="#sub=n&view=chart&field=price")
        self.wait_points(page, 20)
        self.assertEqual(page.text("chart-line").split(), ["n", "119"])
        page.screenshot("desk-chart-of-history")

    def test_a_chart_without_a_chosen_field_finds_it_in_history(self):
        self.publish_slowly(5)
        page = self.open(hash="#sub=n&view=chart")
        self.wait_points(page, 5)
        self.assertEqual(page.count("event-row"), 0)  # the subscription itself begins with new events

    def test_history_and_live_events_make_one_line(self):
        self.publish_slowly(5)
        page = self.open(hash="#sub=n+last&view=chart&field=price")
        self.wait_points(page, 5)
        self.publish_slowly(5)
        self.wait_points(page, 10)
        self.assertEqual(page.locate(testid("chart"), "getAttribute", "data-points"), "10")

    def test_a_single_value_is_visible(self):
        self.publisher.send("n", '{"price": 42}')
        self.wait_admitted(self.publisher)
        page = self.open(hash="#sub=n&view=chart&field=price")
        self.wait_points(page, 1)
        page.wait("""(selector) => {
            const canvas = document.querySelector(`${selector} canvas`);
            const line = getComputedStyle(document.documentElement).getPropertyValue("--s0").trim();
            const [r, g, b] = [1, 3, 5].map((at) => parseInt(line.slice(at, at + 2), 16));
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let at = 0; at < data.length; at += 4) {
                if (Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b) < 12) return true;
            }
            return false;
        }""", testid("chart"))


class Reach(PageTest):
    """With the keyboard alone, on a phone, in the dark theme."""

    def focused(self, page):
        return page.evaluate('() => document.activeElement?.dataset.testid ?? document.activeElement?.id ?? ""')

    def tab_to(self, page, name):
        for _ in range(80):
            page.press("Tab")
            if self.focused(page) == name:
                return
        self.fail(f"the Tab key does not reach {name}")

    def test_the_keyboard_reaches_everything_and_enter_subscribes(self):
        self.start_sources()
        page = self.open()
        page.wait_text("topic-row", "clock")
        self.tab_to(page, "sub-pattern")
        page.type("clock")
        page.press("Enter")
        self.wait_row(page, "clock")
        page.evaluate("() => document.activeElement.blur()")
        reached = set()
        for _ in range(80):
            page.press("Tab")
            reached.add(self.focused(page))
        self.assertLessEqual({"topic-search", "topics-list", "sub-pattern", "sub-go", "as-chart", "events", "pub-topic",
                              "pub-text", "pub-go", "command-text"}, reached)
        # Arrows select a topic in the list, and Enter subscribes to it.
        self.tab_to(page, "topic-search")
        page.type("IBM")
        page.wait(f"() => document.querySelectorAll('{testid('topic-row')}').length === 1")
        self.tab_to(page, "topics-list")
        page.press("ArrowDown")
        page.press("Enter")
        self.wait_row(page, r"stock\.IBM")

    def test_every_input_has_a_name(self):
        page = self.open()
        nameless = page.evaluate("""() => [...document.querySelectorAll("input, textarea, select, button, [role=button]")]
            .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.innerText.trim()
                || each.getAttribute("aria-labelledby")))
            .map((each) => each.outerHTML.slice(0, 200))""")
        self.assertEqual(nameless, [])
        self.assertTrue(page.evaluate("() => document.title && document.documentElement.lang"))

    def test_a_phone_needs_no_horizontal_scrolling(self):
        self.start_sources()
        self.publisher.send("a.topic." + "with-a-very-long-name" * 10, "and a text that is long too " * 100)
        for viewport in PHONES:
            page = self.open(viewport=viewport, deviceScaleFactor=2, hasTouch=True)
            self.subscribe(page, ">")
            self.wait_row(page, "stock")
            for place in ("events", "topics", "status", "publish"):
                with self.subTest(f"{place} at {viewport['width']}"):
                    page.locate(f'[data-place="{place}"]:not(body)', "click")
                    page.wait("(place) => document.body.dataset.place === place", place)
                    width, inner = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
                    self.assertLessEqual(width, inner)
                    page.screenshot(f"phone-{viewport['width']}-{place}")

    def test_the_dark_theme_is_dark(self):
        self.start_sources()
        colours = {}
        for theme in ("light", "dark"):
            page = self.open(colorScheme=theme, hash="#sub=stock.>&sub=clock")
            self.wait_row(page, "stock")
            colours[theme] = page.evaluate("""() => {
                const of = (name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).map(Number);
                return { ground: of("backgroundColor"), ink: of("color") };
            }""")
            page.screenshot(f"desk-{theme}")
        for theme, (low, high) in {"light": ("ink", "ground"), "dark": ("ground", "ink")}.items():
            self.assertLess(sum(colours[theme][low]), 250)
            self.assertGreater(sum(colours[theme][high]), 550)


if __name__ == "__main__":
    unittest.main()
