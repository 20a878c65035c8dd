"""A foreign page can use a gateway on this machine only if the configuration allows it; so can a foreign name that
resolves to this machine."""

import http.server
import threading
import unittest

from harness import GATEWAY, HOST
from web_harness import ELSEWHERE, ORIGIN, REBOUND, BrowserTest

# What a browser reports about a request that the gateway did not allow.
REFUSED = [r"/favicon\.ico", "net::ERR_", "blocked by CORS policy", "WebSocket connection to", "Failed to load resource", "403"]

ATTEMPTS = {
    "fetch": """async (origin) => {
        try { return await (await fetch(`${origin}/v1/topics`)).text(); } catch { return "refused"; }
    }""",
    "post": """async (origin) => {
        try { return (await fetch(`${origin}/v1/topics/n`, { method: "POST", body: "from elsewhere" })).status; }
        catch { return "refused"; }
    }""",
    # The browser sends it without permission, but hides the response: only the gateway can refuse it.
    "blind post": """async (origin) => {
        await fetch(`${origin}/v1/topics/n`, { method: "POST", mode: "no-cors", body: "from elsewhere" });
        return "sent";
    }""",
    "events": """(origin) => new Promise((resolve) => {
        const source = new EventSource(`${origin}/v1/events?topic=n&last`);
        source.onmessage = ({ data }) => resolve(JSON.parse(data).text);
        source.onerror = () => resolve("refused");
    })""",
    "socket": """(origin) => new Promise((resolve) => {
        const socket = new WebSocket(`${origin.replace("http", "ws")}/v1/socket`);
        socket.onopen = () => socket.send("SUB n last");
        socket.onmessage = ({ data }) => data.startsWith("{") && resolve(JSON.parse(data).text);
        socket.onclose = () => resolve("refused");
    })""",
}


class PageElsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>elsewhere</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Elsewhere(BrowserTest):
    def setUp(self):
        super().setUp()
        server = http.server.ThreadingHTTPServer((HOST, int(ELSEWHERE.rsplit(":", 1)[1])), PageElsewhere)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)

    def attempt(self, name):
        return self.visitor.evaluate(ATTEMPTS[name], ORIGIN)

    def start(self, config=""):
        self.start_all(config=config)
        self.publisher.send("n", "secret")
        self.wait_admitted(self.publisher)

    def offset(self):
        """The text of the last event on n."""
        topic, = (reply for reply in self.lines("TOPICS n") if reply.startswith("+TOPIC"))
        return int(topic.split(" ")[2])

    def lines(self, command):
        client = self.client()
        client.send(command)
        while True:
            line = client.reply()
            yield line
            if not line.startswith("+TOPIC"):
                return

    def test_a_foreign_page_can_do_nothing(self):
        self.start()
        self.visitor = self.document(ELSEWHERE)
        self.visitor.expected_problems += REFUSED
        for name in ("fetch", "post", "blind post", "events", "socket"):
            with self.subTest(name):
                self.assertEqual(self.attempt(name), "sent" if name == "blind post" else "refused")
        self.assertEqual(self.offset(), 1, "it has published something")

    def test_a_page_named_in_the_configuration_can_do_everything(self):
        self.start(f'cors_origins = ["{ELSEWHERE}"]\n')
        self.visitor = self.document(ELSEWHERE)
        self.assertIn('"topic":"n"', self.attempt("fetch").replace(" ", ""))
        self.assertEqual(self.attempt("events"), "secret")
        self.assertEqual(self.attempt("socket"), "secret")
        self.assertEqual(self.attempt("post"), 200)
        self.assertEqual(self.offset(), 2)

    def test_a_page_not_named_in_the_configuration_still_cannot(self):
        self.start('cors_origins = ["http://friend.test"]\n')
        self.visitor = self.document(ELSEWHERE)
        self.visitor.expected_problems += REFUSED
        for name in ("fetch", "post", "events", "socket"):
            with self.subTest(name):
                self.assertEqual(self.attempt(name), "refused")
        self.assertEqual(self.offset(), 1)

    def test_a_foreign_name_that_resolves_here_opens_nothing(self):
        """DNS rebinding: for the browser, the page and the gateway have the same origin."""
        self.start()
        rebound = f"http://{REBOUND}:{GATEWAY.rsplit(':', 1)[1]}"
        self.visitor = self.page()
        self.visitor.expected_problems += REFUSED
        answer = self.visitor.goto(rebound + "/")
        self.assertIn(answer["status"], (403, 421))
        for name in ("fetch", "events", "socket", "post"):
            with self.subTest(name):
                result = self.visitor.evaluate(ATTEMPTS[name], rebound)
                self.assertNotIn("secret", str(result))
                self.assertNotIn('"topic"', str(result))
        self.assertEqual(self.offset(), 1)

    def test_a_name_in_the_configuration_is_served(self):
        self.start(f'hosts = ["{REBOUND}"]\n')
        self.visitor = self.page()
        self.visitor.expected_problems.append(r"/favicon\.ico")
        rebound = f"http://{REBOUND}:{GATEWAY.rsplit(':', 1)[1]}"
        self.assertEqual(self.visitor.goto(rebound + "/healthz")["status"], 200)
        for name in ("events", "socket"):
            self.assertEqual(self.visitor.evaluate(ATTEMPTS[name], rebound), "secret")


if __name__ == "__main__":
    unittest.main()
