"""A browser, npm's WebSocket client and raw HTTP, for tests of the gateway over HTTP. Builds on the processes of
tests/integration/harness.py. Every wait is for a condition and bounded."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile

from client_scenarios import Driver
from harness import GATEWAY, HOST, TIMEOUT_S, BackplaneTest, Deadline, Process

HERE = pathlib.Path(__file__).resolve().parent
NODE, CHROMIUM = os.environ["NODE"], os.environ["CHROMIUM"]
SCREENSHOTS = pathlib.Path(os.environ["SCREENSHOTS"])
SANITIZED = bool(os.environ.get("SANITIZED"))
ORIGIN = f"http://{GATEWAY}"
# The origin of a foreign page, and a foreign name that resolves to this machine.
ELSEWHERE = f"http://{HOST}:8181"
REBOUND = "rebound.test"
# Drivers time out before the tests do: their errors say what was missing.
DRIVER_TIMEOUT_MS = int(TIMEOUT_S * 1000 * 0.8)


class Browser:
    """Headless Chromium, for all tests of a class."""

    def __init__(self):
        # Everything that it writes goes into this folder; a process with the folder on its command line is ours.
        self._folder = tempfile.TemporaryDirectory(prefix="backplane-web-", ignore_cleanup_errors=True)
        self._process = Process(["env", f"TMPDIR={self._folder.name}", f"HOME={self._folder.name}", NODE,
                                 str(HERE / "browser_driver.mjs"), CHROMIUM, f"MAP {REBOUND} {HOST}",
                                 str(DRIVER_TIMEOUT_MS)], stdin=subprocess.PIPE)
        self._driver = Driver(self._process)
        self.pages = 0

    def do(self, *command):
        return self._driver.do(*command)

    def fails(self, *command):
        return self._driver.fails(*command)

    def close(self):
        try:
            self._driver.leave()
        finally:
            if self._process.running():
                self._process.kill()
            self._kill_leftovers()
            self._folder.cleanup()

    def _kill_leftovers(self):
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self._folder.name.encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), 9)
            except OSError:
                pass  # it has ended


class Page:
    """A page in a context of its own: pages share no state."""

    def __init__(self, browser, **options):
        browser.pages += 1
        self._browser, self._name = browser, f"page {browser.pages}"
        self.expected_problems = []
        self._do("open", options)

    def _do(self, command, *arguments):
        return self._browser.do(command, self._name, *arguments)

    def goto(self, url):
        """Loads a URL. Returns the status and headers."""
        return self._do("goto", url)

    def evaluate(self, expression, argument=None):
        return self._do("evaluate", expression, argument)

    def wait(self, expression, argument=None):
        """Waits until the expression, or the function's result for the argument, is true. Returns it."""
        return self._do("wait", expression, argument)

    def locate(self, selector, method, *arguments):
        """Calls a method of a Playwright locator."""
        return self._do("locate", selector, method, *arguments)

    def click(self, name):
        self.locate(testid(name), "click")

    def fill(self, name, text):
        self.locate(testid(name), "fill", text)

    def count(self, name):
        return self.locate(testid(name), "count")

    def text(self, name):
        """Returns the text of all elements with this name."""
        return "\n".join(self.locate(testid(name), "allInnerTexts"))

    def wait_text(self, name, pattern):
        """Waits until the text of an element with this name matches the JavaScript pattern, ignoring case. Returns the
        text."""
        return self.wait("""([selector, pattern]) => {
            const found = [...document.querySelectorAll(selector)].map((each) => each.innerText)
                .find((text) => new RegExp(pattern, "i").test(text));
            return found === undefined ? false : found || " ";
        }""", [testid(name), pattern])

    def press(self, key):
        self._do("press", key)

    def type(self, text):
        self._do("type", text)

    def resize(self, width, height):
        self._do("resize", width, height)

    def emulate(self, **media):
        self._do("emulate", media)

    def screenshot(self, name, whole=False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self._do("screenshot", str(SCREENSHOTS / f"{name}.png"), whole)

    def problems(self):
        """Console errors, uncaught errors and violations of the security policy, except for the expected ones."""
        return [each for each in self._do("problems")
                if not any(re.search(pattern, each) for pattern in self.expected_problems)]

    def close(self):
        """Fails if the page had unexpected problems."""
        problems = self.problems()
        self._do("close_page")
        if problems:
            raise AssertionError("the page had problems:\n" + "\n".join(problems))


def testid(name):
    return f'[data-testid="{name}"]'


class RawHttp:
    """A connection whose bytes a test writes itself."""

    def __init__(self, address=GATEWAY, source=None):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S,
                                                source_address=(source, 0) if source else None)
        self._rest = b""

    def send(self, data):
        """Returns False if the other side has closed already."""
        try:
            self._socket.sendall(data)
            return True
        except OSError:
            return False

    def half_close(self):
        self._socket.shutdown(socket.SHUT_WR)

    def response(self, head=False):
        """Returns (status, headers in lower case, body) of the next response; None if the connection ended."""
        deadline = Deadline()
        while b"\r\n\r\n" not in self._rest:
            if not self._more(deadline):
                if self._rest:
                    raise AssertionError(f"half a response: {self._rest[:300]!r}")
                return None
        before, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *lines = before.decode("latin-1").split("\r\n")
        status = int(re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: .*)?", first)[1])
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = b""
        if status >= 200 and status not in (204, 304) and not head:
            body = self._body(headers, deadline)
        return status, headers, body

    def _body(self, headers, deadline):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := self._take(int(self.line(deadline), 16), deadline):
                body += chunk
                self._take(2, deadline)
            self._take(2, deadline)
            return body
        if "content-length" in headers:
            return self._take(int(headers["content-length"]), deadline)
        return self.read_to_end()

    def line(self, deadline=None):
        """Returns the next line, without its end."""
        deadline = deadline or Deadline()
        while b"\n" not in self._rest:
            if not self._more(deadline):
                raise AssertionError(f"it ended within a line: {self._rest[:300]!r}")
        line, self._rest = self._rest.split(b"\n", 1)
        return line.rstrip(b"\r")

    def take(self, count):
        return self._take(count, Deadline())

    def _take(self, count, deadline):
        while len(self._rest) < count:
            if not self._more(deadline):
                raise AssertionError(f"it ended {count - len(self._rest)} bytes too early")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def read_to_end(self):
        """Returns everything until the other side closes."""
        deadline = Deadline()
        while self._more(deadline):
            pass
        taken, self._rest = self._rest, b""
        return taken

    def _more(self, deadline):
        self._socket.settimeout(max(deadline.left(), 0.001))
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise AssertionError(f"nothing more came; there was {self._rest[-300:]!r}") from None
        self._rest += data
        return bool(data)

    def close(self):
        self._socket.close()


class SseReader:
    """Reads Server-Sent Events from a connection whose response has begun."""

    def __init__(self, raw, path, address=GATEWAY, **headers):
        self.raw = raw
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        raw.send(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
        self.status = int(raw.line().split()[1])
        self.headers = {}
        while line := raw.line().decode():
            name, value = line.split(":", 1)
            self.headers[name.lower()] = value.strip()
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        self._text = b""

    def _line(self):
        while b"\n" not in self._text:
            if not self._chunked:
                self._text += self.raw.line() + b"\n"
                continue
            size = int(self.raw.line(), 16)
            if not size:
                raise AssertionError("the events ended")
            self._text += self.raw.take(size)
            self.raw.take(2)
        line, self._text = self._text.split(b"\n", 1)
        return line.rstrip(b"\r").decode()

    def event(self):
        """Returns the fields of the next event as a dictionary. Ignores comments."""
        fields = {}
        while True:
            line = self._line()
            if not line:
                if "data" in fields:
                    return fields
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value

    def message(self):
        """Returns the JSON of the next event without a name, and its id; None if it has none, like a retained value."""
        fields = self.event()
        if "event" in fields:
            raise AssertionError(f"expected an event, got {fields}")
        return json.loads(fields["data"]), fields.get("id")

    def close(self):
        self.raw.close()


class WebTest(BackplaneTest):
    """A broker, a gateway and a publisher, with HTTP clients."""

    def start_all(self, *options, config=""):
        self.broker = self.start_broker()
        self.start_the_gateway(*options, config=config)
        self.publisher = self.ready_writer()

    def start_the_gateway(self, *options, config=""):
        if config:
            options = (*options, "--config", self.config_file("[gateway]\n" + config))
        self.gateway = self.start_gateway(*options)
        self.wait_has_broker()

    def wait_has_broker(self):
        deadline = Deadline()
        while self.get("/readyz")[0] != 200:
            self.assertTrue(deadline.left(), "the gateway has no broker")

    def publish(self, count, topic="n", first=0):
        for number in range(first, first + count):
            self.publisher.send(topic, str(number))
        self.wait_admitted(self.publisher)

    def request(self, method, path, body=None, address=GATEWAY, **headers):
        """(status, headers in lower case, body)"""
        host, port = address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body=body,
                               headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return (response.status, {name.lower(): value for name, value in response.getheaders()},
                    response.read().decode())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def raw(self, **options):
        raw = RawHttp(**options)
        self.addCleanup(raw.close)
        return raw

    def sse(self, path, address=GATEWAY, **headers):
        reader = SseReader(self.raw(address=address), path, address, **headers)
        self.assertEqual(reader.status, 200)
        self.assertTrue(reader.headers["content-type"].startswith("text/event-stream"), reader.headers)
        return reader

    def wait_figure(self, pattern, condition):
        """Waits until `condition` is true for the metric whose line starts with the pattern. Returns its value."""
        deadline = Deadline()
        while True:
            text = self.get("/metrics")[2]
            values = [float(match[1]) for match in re.finditer(rf"^{pattern}\S* (\S+)$", text, re.MULTILINE)]
            if values and condition(sum(values)):
                return sum(values)
            self.assertTrue(deadline.left(), f"{pattern} is {values}\n{text}")


class BrowserTest(WebTest):
    """Tests with a browser: one per class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def page(self, url=None, **options):
        page = Page(self.browser, **options)
        self.addCleanup(page.close)
        if url:
            page.goto(url)
        return page

    def document(self, url):
        """Opens a document of the gateway that has neither script nor icon."""
        page = self.page()
        page.expected_problems.append(r"404 .*/favicon\.ico")
        page.goto(url)
        return page
