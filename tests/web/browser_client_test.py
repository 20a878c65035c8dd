"""Chromium's WebSocket and EventSource, on a document of the gateway without scripts."""

import json
import unittest

from harness import GATEWAY, Deadline
from web_harness import ORIGIN, BrowserTest

# Keeps everything that an EventSource receives, as [name, data, id].
LISTEN = """(path) => {
    window.said = [];
    window.source = new EventSource(path);
    const keep = (what) => (event) => window.said.push([what, event.data ?? null, event.lastEventId ?? null]);
    window.source.onmessage = keep("message");
    for (const what of ["open", "error", "gap", "reset", "wait", "live", "bye"])
        window.source.addEventListener(what, keep(what));
}"""
TEXTS = '() => window.said.filter(([what]) => what === "message").map(([, data]) => JSON.parse(data).text)'
# The console reports connections that the gateway cut, and attempts while it is down.
BROKEN_OFF = ["net::ERR_", "WebSocket connection to"]


class BrowserClients(BrowserTest):
    def setUp(self):
        super().setUp()
        self.start_all()
        self.chromium = self.document(f"{ORIGIN}/healthz")

    def wait_said(self, condition):
        """Waits until the JavaScript condition is true for a [name, data, id]. Returns it."""
        return self.chromium.wait(f"() => window.said.find(([what, data, id]) => {condition})")

    def wait_open(self):
        self.wait_said('what === "open"')

    def texts(self):
        return self.chromium.evaluate(TEXTS)

    def wait_text(self, text):
        self.wait_said(f'what === "message" && JSON.parse(data).text === "{text}"')

    def test_a_websocket_receives_events(self):
        self.chromium.evaluate("""(url) => {
            window.said = [];
            window.socket = new WebSocket(url);
            window.socket.onopen = () => window.socket.send("SUB n");
            window.socket.onmessage = ({ data }) => window.said.push(data);
            window.socket.onclose = ({ code, wasClean }) => window.said.push({ code, wasClean });
        }""", f"ws://{GATEWAY}/v1/socket")
        self.assertEqual(self.chromium.wait("() => window.said[0]"), "+OK SUB n")
        self.publish(1000)
        self.chromium.wait("() => window.said.length === 1001")
        events = [json.loads(text) for text in self.chromium.evaluate("() => window.said.slice(1)")]
        self.assertEqual([event["offset"] for event in events], list(range(1, 1001)))
        self.chromium.evaluate('() => window.socket.send("QUIT")')
        self.assertEqual(self.chromium.wait("() => window.said.find((each) => each.code)"), {"code": 1000, "wasClean": True})
        self.assertEqual(self.chromium.evaluate("() => window.socket.extensions"), "")

    def test_an_event_source_receives_events_with_their_position_as_id(self):
        self.chromium.evaluate(LISTEN, "/v1/events?topic=n&topic=m.*")
        self.wait_open()
        # It opens when the first subscription is active.
        deadline = Deadline()
        while not self.chromium.evaluate("() => window.said.some(([, data]) => /m.knock/.test(data))"):
            self.publish(1, topic="m.knock")
            self.assertTrue(deadline.left(), "m.* is not in force")
        self.publish(500)
        self.publish(1, topic="m.end")
        self.wait_said('what === "message" && JSON.parse(data).topic === "m.end"')
        said = self.chromium.evaluate(
            '() => window.said.filter(([what, data]) => what === "message" && !/m.knock/.test(data))')
        events = [json.loads(data) for _, data, _ in said]
        self.assertEqual([event["text"] for event in events], [*map(str, range(500)), "0"])
        self.assertEqual([place for *_, place in said],
                         [f"{event['stream']}:{event['position']}" for event in events])

    def test_after_kill_9_of_the_gateway_an_event_source_resumes_where_it_was(self):
        self.chromium.expected_problems += BROKEN_OFF
        self.chromium.evaluate(LISTEN, "/v1/events?topic=n")
        self.wait_open()
        self.publish(200)
        self.wait_text("199")
        self.gateway.kill()
        self.wait_said('what === "error"')
        self.publish(300, first=200)
        self.start_the_gateway()
        self.publish(1, first=500)
        self.wait_text("500")
        self.assertEqual(self.texts(), [str(number) for number in range(501)])
        self.assertFalse(self.chromium.evaluate(
            '() => window.said.filter(([what]) => what === "gap" || what === "reset")'))

    def test_the_lost_history_of_a_restarted_broker_is_announced(self):
        self.chromium.expected_problems += BROKEN_OFF
        self.chromium.evaluate(LISTEN, "/v1/events?topic=n")
        self.wait_open()
        self.publish(5)
        self.wait_text("4")
        self.broker.kill()
        self.wait_said('what === "wait"')
        self.broker = self.start_broker()
        self.wait_said('what === "live"')
        self.publisher = self.ready_writer(source="again@test")
        self.publish(3, first=5)
        self.wait_text("7")
        self.assertEqual(self.texts(), [str(number) for number in range(8)])
        what, data, _ = self.wait_said('what === "gap" || what === "reset"')
        self.assertEqual(json.loads(data)[what]["topic"], "n")

    def test_history_lost_while_broker_and_gateway_were_down_is_announced(self):
        self.chromium.expected_problems += BROKEN_OFF
        self.chromium.evaluate(LISTEN, "/v1/events?topic=n")
        self.wait_open()
        self.publish(5)
        self.wait_text("4")
        self.gateway.kill()
        self.broker.kill()
        self.broker = self.start_broker()
        self.publisher = self.ready_writer(source="again@test")
        self.publish(3, first=5)
        self.start_the_gateway()
        self.wait_text("7")
        self.assertEqual(self.texts(), [str(number) for number in range(8)])
        self.wait_said('what === "gap" || what === "reset"')


if __name__ == "__main__":
    unittest.main()
