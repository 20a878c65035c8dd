"""Behind Debian's nginx, which buffers by default."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from client_scenarios import Driver
from harness import GATEWAY, HOST
from web_harness import DRIVER_TIMEOUT_MS, HERE, NODE, BrowserTest

PROXY = f"{HOST}:8180"

CONFIG = """
daemon off;
master_process off;  # one process: none is left behind
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{
    listen {proxy};
    location / {{
      proxy_pass http://{gateway};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $http_host;
    }}
    # The minimal configuration: HTTP/1.0 to the gateway, under the gateway's own name.
    location /plain/ {{ proxy_pass http://{gateway}/; }}
  }}
}}
"""


class Proxy(BrowserTest):
    def setUp(self):
        super().setUp()
        self.start_all()
        folder = tempfile.TemporaryDirectory(prefix="backplane-nginx-")
        self.addCleanup(folder.cleanup)
        config = pathlib.Path(folder.name, "nginx.conf")
        config.write_text(CONFIG.format(folder=folder.name, proxy=PROXY, gateway=GATEWAY), encoding="utf-8")
        self.nginx = self.run_process([os.environ["NGINX"], "-e", "stderr", "-c", str(config)])
        self.wait_listening()

    def wait_listening(self):
        while True:
            self.assertTrue(self.nginx.running(), self.nginx.transcript())
            try:
                return self.request("GET", "/healthz", address=PROXY)
            except ConnectionRefusedError:
                pass

    def test_an_event_passes_at_once(self):
        """Waits for each event before publishing the next: a buffer would keep the first one forever."""
        for path in ("/v1/events?topic=n", "/plain/v1/events?topic=n"):
            with self.subTest(path):
                events = self.sse(path, address=PROXY)
                self.assertIn("no-transform", events.headers.get("cache-control", "no-transform"))
                for number in range(20):
                    self.publish(1, first=number)
                    event, _ = events.message()
                    self.assertEqual(event["text"], str(number))

    def test_last_event_id_resumes_where_the_reader_was(self):
        events = self.sse("/v1/events?topic=n", address=PROXY)
        self.publish(10)
        ids = [events.message()[1] for _ in range(10)]
        events.close()
        again = self.sse("/v1/events?topic=n", address=PROXY, Last_Event_ID=ids[3])
        self.publish(1, first=10)
        self.assertEqual([again.message()[0]["text"] for _ in range(7)], [str(number) for number in range(4, 11)])

    def test_a_browsers_event_source_resumes_after_kill_9_of_the_gateway(self):
        document = self.document(f"http://{PROXY}/healthz")
        document.expected_problems += ["net::ERR_", "502", "504", "503"]
        # An EventSource stops at an error response, such as the proxy's while the gateway is down: pages create a new one.
        document.evaluate("""(path) => {
            window.texts = [];
            window.failures = 0;
            const listen = () => {
                const source = new EventSource(window.last ? `${path}&last_event_id=${window.last}` : path);
                source.onmessage = (event) => {
                    window.texts.push(JSON.parse(event.data).text);
                    window.last = event.lastEventId;
                };
                source.onopen = () => window.opened = true;
                source.onerror = () => {
                    ++window.failures;
                    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 100);
                };
            };
            listen();
        }""", "/v1/events?topic=n")
        document.wait("() => window.opened")
        self.publish(100)
        document.wait("() => window.texts.length === 100")
        self.gateway.kill()
        document.wait("() => window.failures > 0")
        self.publish(100, first=100)
        self.start_the_gateway()
        self.publish(1, first=200)
        document.wait('() => window.texts.includes("200")')
        self.assertEqual(document.evaluate("() => window.texts"), [str(number) for number in range(201)])

    def test_a_websocket_passes(self):
        ws = Driver(self.run_process([NODE, str(HERE / "ws_driver.mjs"), str(DRIVER_TIMEOUT_MS)], stdin=subprocess.PIPE))
        self.addCleanup(ws.leave)
        ws.do("connect", "one", f"ws://{PROXY}/v1/socket", {"origin": f"http://{PROXY}"})
        ws.do("send", "one", "SUB n")
        self.assertEqual(ws.do("take", "one", 1), ["+OK SUB n"])
        for number in range(20):
            self.publish(1, first=number)
            message, = ws.do("take", "one", 1)
            self.assertEqual(json.loads(message)["text"], str(number))

    def test_publishing_passes(self):
        events = self.sse("/v1/events?topic=n", address=PROXY)
        status, _, body = self.request("POST", "/v1/topics/n", body="through a proxy", address=PROXY)
        self.assertEqual((status, json.loads(body)["topic"]), (200, "n"))
        self.assertEqual(events.message()[0]["text"], "through a proxy")


if __name__ == "__main__":
    unittest.main()
