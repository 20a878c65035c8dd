"""Every command in the documentation works as it is typed, and the pages are consistent.

Commands are the blocks of `sh` and `bash`, and lines that begin with `$ ` in blocks without a language. They run on the
default ports, in namespaces of their own, beside a broker, a gateway and publishers (with keys, tokens and TLS if the block uses
them); or beside nothing, if they start a broker themselves. Those that end must exit with 0, or print what the page shows; those that do not end must print
something. Comments in the page are exceptions:

  <!-- not run: REASON -->            before a block
  <!-- commands: one session -->      anywhere: all blocks of the page run one after the other, beside nothing else

Programs in Python run in such a session, too; and HTML is written to the file that the text before it names.
"""

import ast
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from harness import PROGRAM, BackplaneTest, Process
from own_namespaces import enter_own_namespaces

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(PROGRAM).resolve().parents[1]
PAGES = [*sorted((TOP / "docs").glob("*.md")), *sorted((TOP / "docs/benchmarks").glob("*.md")), TOP / "README.md", TOP / "deploy/README.md",
         TOP / "clients/python/README.md", TOP / "clients/node/README.md"]
# Other machines are this one. A second broker is at FAR.
FAR = "127.0.0.2"
NAMES = f"127.0.0.1 localhost host7 host9 edge7\n::1 localhost\n{FAR} central h1 h2\n"
SHELL = ("sh", "bash")
# Commands that run until they are stopped, unless an option says otherwise.
ENDLESS = re.compile(r"backplane (sub|publish|serve|up|link|gateway|top|broker(?! drain))\b|curl -\w*N|mosquitto_sub|\| nc |^nc |s_client"
                     r"|http\.server|^\./dev up")
ENDS = re.compile(r"--count|-n \d|--once|--check-config|--timeout|\| head|& done")
NEEDS_KEYS = re.compile(r"me\.token|me\.key|BACKPLANE_KEY_FILE")
CONNECTS = re.compile(r"backplane (?!keys|policy|config|context)\w|curl|mosquitto|\bnc\b|s_client|python|node")
STARTS_BROKER = re.compile(r"backplane (serve|up|broker(?! drain))\b")
COMMAND_WORDS = re.compile(r"(backplane \w+ [^ ]|(\./dev|curl|openssl|nc|mosquitto_\w+|cmake|apt|docker|kubectl|python3|npm|pip|echo|export|cd|build/\S+) )")


class Block:
    """A code block of a page."""

    def __init__(self, page, line, language, text, before):
        self.page, self.line, self.language, self.text, self.before = page, line, language, text, before
        reason = re.search(r"<!-- not run: (.*?) -->\s*\Z", before, re.DOTALL)
        self.not_run = reason[1].strip() if reason else None
        self.is_shell = language in SHELL or (not language and re.search(r"^\$ ", text, re.MULTILINE) is not None)

    def __str__(self):
        return f"{self.page.relative_to(TOP)}:{self.line}"

    def commands(self):
        """(command, lines that the page shows after it) of a block of commands."""
        if self.language in SHELL:
            for command in joined(self.text.splitlines()):
                if command and not command.startswith("#"):
                    yield command, []
            return
        command, shown = None, []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line.removeprefix("$ "), []
            else:
                shown.append(line)
        yield command, shown


def joined(lines):
    """Lines as commands: with what continues them, and with their here-documents."""
    command, end = "", None
    for line in lines:
        command += ("\n" if command else "") + line
        found = re.search(r"<<'?(\w+)'?", line)
        if end is None and found:
            end = found[1]
        if line == end:
            end = None
        if end is None and not line.endswith("\\"):
            yield command
            command = ""


def blocks(page):
    text = page.read_text(encoding="utf-8")
    end = 0
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], text[end:found.start()])
        end = found.end()


def needs(block):
    """What the commands of a block run beside."""
    if STARTS_BROKER.search(block.text) or not re.search(CONNECTS, block.text):
        return "nothing"
    if NEEDS_KEYS.search(block.text):
        return "secure"
    return "broker" if re.search(r"backplane gateway\b", block.text) else "all"


def shape(line):
    """The line without what differs from run to run."""
    return re.sub(r"\d[\d.,:]*", "N", line).strip()


class Commands(BackplaneTest):
    """Each page is a test; the methods are added below."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "backplane").symlink_to(PROGRAM)
        (programs / "python3").symlink_to("/usr/bin/python3")
        os.environ.update(PATH=f"{programs}:{START_PATH}", HOME=str(self.folder), PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
        self.running, self.system = [], []
        self.beside = None
        self.begin()

    def tearDown(self):
        self.stop(self.running)
        self.stop(self.system)
        super().tearDown()

    def begin(self):
        """A new folder for commands, like the top of a clone."""
        self.state = ""  # `cd` and `export` of commands before
        self.place = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        (self.place / "build").mkdir()
        (self.place / "build/dev").symlink_to(BUILD)
        for name in ("config", "docs", "deploy", "examples", "clients"):
            (self.place / name).symlink_to(TOP / name)
        (self.place / "data").symlink_to(self.folder / "data")
        os.environ["XDG_CONFIG_HOME"] = str(self.place / ".config")

    @staticmethod
    def stop(processes):
        """Ends them, the newest first."""
        while processes:
            end_group(processes.pop())

    def start(self, command):
        process = Process(["bash", "-c", f"{self.state}{command}"], process_group=0, cwd=self.place)
        self.running.append(process)
        return process

    def start_beside(self, command):
        """Starts a program of the system beside which commands run."""
        process = Process(["bash", "-c", f"exec backplane {command}"], process_group=0, cwd=self.folder)
        self.system.append(process)
        process.ready()

    def write_files(self, block):
        """What the pages' commands use and do not create."""
        write = lambda name, text: (self.place / name).write_text(text, encoding="utf-8")
        write("daily.csv", "Ticker,Day,Close\nMSFT,2000-01-01,39.81\nMSFT,2000-01-02,40\n")
        (self.place / "quakes.ndjson").write_bytes((TOP / "config/demo/earthquakes.ndjson").read_bytes())
        (self.place / "roof.jpg").write_bytes(b"\xff\xd8\xff")
        write("backplane.toml", "\n" * 5 + '[log]\nlevel = "loud"\n')  # the page shows line 7
        write("policy.toml", POLICY)
        for name, text in FILES.items():
            if f"keys new {name.partition('.')[0]}\n" not in block.text:
                write(name, text)

    def be_beside(self, needed):
        """Sees to it that commands have beside them what they need."""
        if needed == self.beside:
            return
        self.stop(self.system)
        self.beside = needed
        if needed == "nothing":
            return
        options = ""
        if needed == "secure":
            for name, text in FILES.items():
                (self.folder / name).write_text(text, encoding="utf-8")
            options = "--key me.key --server-key broker.pub"
            self.start_beside("broker --log-level warning --policy all.toml --key broker.key")
            self.start_beside("gateway --log-level warning --policy all.toml --key gateway.key --server-key broker.pub"
                              " --tls-certificate gw.pem --tls-key gw.key")
        else:
            self.start_beside("broker --log-level warning --data data")
            far = " ".join(f"--{name} tcp://{FAR}:{port}" for name, port in (("ingress", 5570), ("egress", 5571), ("control", 5572)))
            self.start_beside(f"broker --log-level warning {far} --raw off --metrics off")
            if needed == "all":
                self.start_beside("gateway --log-level warning")
        for source in ("clock --every 100ms", "clock --every 100ms --topic sensor.a --source-name sensor",
                       f"quotes --csv {TOP}/config/demo/stocks.csv --rate 20",
                       f"thermometer --csv {TOP}/config/demo/seattle-hourly.csv --rate 5"):
            self.start_beside(f"publish {source} {options}")
        values = Process(["bash", "-c", f"exec backplane sub '>' --last --count 8 {options}"], cwd=self.folder)
        self.assertEqual(values.wait_exit(), 0, values.transcript())

    def run_command(self, block, command, shown):
        if re.match(r"(cd|export) [^;&|]*$", command):
            self.state += command + "\n"
            return
        process = self.start(command)
        if ENDLESS.search(command) and not ENDS.search(command):
            try:
                process.wait_line(process.err if "s_client" in command else process.out, ".")
                return
            except AssertionError as error:
                if "ended without" not in str(error):
                    raise
        code = process.wait_exit()
        self.running.remove(process)
        if code != 0 and shown:
            self.assertIn(shape(shown[0]), [shape(line) for line in (*process.out, *process.err)], f"{block}\n{process.transcript()}")
            return
        self.assertEqual(code, 0, f"{block}\n{process.transcript()}")

    def run_block(self, block):
        if block.language == "python":
            process = self.start(f"exec /usr/bin/python3 -W error - <<'END'\n{block.text}\nEND")
            self.assertEqual(process.wait_exit(), 0, f"{block}\n{process.transcript()}")
            self.assertTrue(process.out, str(block))
        elif block.language == "html":
            name = re.findall(r"`([\w.-]+\.html)`", block.before)[-1]
            (self.place / name).write_text(block.text, encoding="utf-8")
        else:
            for command, shown in block.commands():
                with self.subTest(str(block), command=command):
                    self.run_command(block, command, shown)

    def run_page(self, page):
        session = "<!-- commands: one session -->" in page.read_text(encoding="utf-8")
        for block in blocks(page):
            if block.not_run or not (block.is_shell or session and block.language in ("python", "html")):
                continue
            if not session:
                self.stop(self.running)
                self.begin()
                self.write_files(block)
                self.be_beside(needs(block))
            self.run_block(block)


def end_group(process):
    """Ends a process with all of its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait_exit(10)
            return
        except AssertionError:
            continue


def add_tests():
    for page in PAGES:
        if any(block.is_shell and not block.not_run for block in blocks(page)):
            name = "_".join(page.relative_to(TOP).with_suffix("").parts).replace("-", "_").lower()
            setattr(Commands, f"test_{name}", lambda self, page=page: self.run_page(page))


class Pages(unittest.TestCase):
    def test_commands_are_marked_as_such(self):
        for page in PAGES:
            for block in blocks(page):
                with self.subTest(str(block)):
                    if not block.language and not block.is_shell:
                        self.assertIsNone(COMMAND_WORDS.match(block.text), "a block of commands is ```sh")
                    if block.not_run is not None:
                        self.assertGreater(len(block.not_run), 10, "a reason")

    def test_programs_and_data_are_well_formed(self):
        for page in PAGES:
            for block in blocks(page):
                with self.subTest(str(block)):
                    if block.language == "python":
                        compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                    elif block.language == "json":
                        json.loads(block.text)

    def test_links_lead_somewhere(self):
        pages = [*PAGES, *sorted((TOP / "docs/decisions").glob("*.md")), TOP / "CHANGELOG.md", TOP / "CONTRIBUTING.md", TOP / "SECURITY.md"]
        anchors = {page: set(anchors_of(page)) for page in pages}
        for page in pages:
            for target in links_of(page):
                with self.subTest(f"{page.relative_to(TOP)}: {target}"):
                    path, _, anchor = target.partition("#")
                    file = (page.parent / path).resolve() if path else page
                    self.assertTrue(file.exists(), "no such file")
                    if anchor and file in anchors:
                        self.assertIn(anchor, anchors[file])

    def test_the_front_page_leads_to_every_page(self):
        linked = set(links_of(TOP / "docs/index.md"))
        for page in sorted((TOP / "docs").glob("*.md")):
            if page.name != "index.md":
                self.assertIn(page.name, {target.partition("#")[0] for target in linked})


def without_code(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links_of(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors_of(page):
    """As GitHub and Python-Markdown make them of headings."""
    seen = {}
    for heading in re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        yield anchor if count == 0 else f"{anchor}-{count}"


def make_files():
    """{name: text} of certificates for this machine's names, of keys, and of a policy by which the user `me`, who has the key in
    me.key and the token in me.token, may do everything."""
    with tempfile.TemporaryDirectory() as folder:
        names = ",".join(f"DNS:{name}" for name in ("localhost", "host7", "host9"))
        subprocess.run(["bash", "-ec", f"""
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=authority
            openssl req -newkey rsa:2048 -nodes -keyout gw.key -out gw.csr -subj /CN=localhost
            echo subjectAltName={names},IP:127.0.0.1 >extensions
            openssl x509 -req -in gw.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out gw.pem -days 30 -extfile extensions
            for name in broker gateway me; do {PROGRAM} keys new $name; done
            echo me:secret >me.token
            echo secret | {PROGRAM} policy hash --stdin >hash"""], cwd=folder, check=True, capture_output=True, timeout=60)
        texts = {path.name: path.read_text(encoding="ascii") for path in pathlib.Path(folder).iterdir()}
    texts["all.toml"] = f"""
[users.me]
curve = "{texts["me.pub"].strip()}"
token = "{texts.pop("hash").strip()}"
roles = ["all"]
[users.gateway]
curve = "{texts["gateway.pub"].strip()}"
roles = ["all"]
[roles.all]
publish = [">"]
subscribe = [">", "$SYS.>"]
admin = true
"""
    return texts


def make_policy():
    """The policy of docs/security.md, with the user that `up` needs."""
    example, up = (block.text for block in blocks(TOP / "docs/security.md") if block.language == "toml" and "[users." in block.text)
    return example + "\n" + up.replace("…", FILES["broker.pub"].strip())


START_PATH = os.environ["PATH"]
if __name__ == "__main__":
    if not enter_own_namespaces(NAMES, empty=["/var/lib"]):
        print("skipped: cannot enter namespaces of its own")
        sys.exit(0)
    os.umask(0o077)  # keys are refused if others can read them
    FILES = make_files()
    POLICY = make_policy()
    add_tests()
    unittest.main()
