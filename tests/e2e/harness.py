"""What the end-to-end tests share: dankid and its peers as real processes on loopback, in a folder of the test's own.

The programs are found in --bin FOLDER, else in $DANKI_BIN_DIR, else in build/release/bin. Tools that no Debian package
brings (Exim beside Postfix, nodemailer) are in $DANKI_TOOLS_DIR, else in .cache/tools, where ./check puts them.
"""

import base64
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("DANKI_TOOLS_DIR", REPOSITORY / ".cache/tools"))
WAIT_S = 20
PASSWORD = "correct horse battery staple"
SENDER = "news@example.com"
SELECTOR = "e2e"

bin_dir = pathlib.Path(os.environ.get("DANKI_BIN_DIR", REPOSITORY / "build/release/bin"))


def main():
    """Instead of unittest.main(): knows --bin, and shows the logs of a test that failed."""
    global bin_dir
    if "--bin" in sys.argv:
        position = sys.argv.index("--bin")
        bin_dir = pathlib.Path(sys.argv[position + 1])
        del sys.argv[position:position + 2]
    runner = unittest.TextTestRunner(resultclass=ResultWithLogs, verbosity=2, warnings="ignore")
    unittest.main(module="__main__", testRunner=runner)


class ResultWithLogs(unittest.TextTestResult):
    """While what the test started still runs and its folder still exists."""

    def addError(self, test, err):
        super().addError(test, err)
        self.show_logs(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.show_logs(test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.stream.writeln(f"\nFAILED: {subtest}")
            self.show_logs(test)

    def show_logs(self, test):
        for path in getattr(test, "logs", []):
            if path.exists():
                lines = path.read_text(errors="replace").splitlines()
                self.stream.writeln(f"\n--- {path}, the last lines of {len(lines)}")
                for line in lines[-25:]:
                    self.stream.writeln(line[:1000])


# --- waiting, ports, files -------------------------------------------------------------------------------------------

def until(condition, what, seconds=WAIT_S):
    """Polls, because what is waited for happens in other processes. Gives what `condition` gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def free_port(address="127.0.0.1"):
    """Below the range from which the kernel gives ports to clients: none of them takes it before we listen."""
    for _ in range(200):
        port = random.randrange(10_000, 32_000)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def run(*command, seconds=60, **options):
    """A program to its end; its output as text."""
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, timeout=seconds, **{"text": True, **options})


def must(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tool(script, name):
    """The folder of a tool that scripts/<script> fetches; does nothing where it is already there."""
    folder = TOOLS / name
    must("bash", REPOSITORY / "scripts" / script, folder, seconds=300)
    return folder.resolve()


@functools.cache
def rsa_key():
    """A private key and its public half as DNS has it; one for the whole run, since making one takes a moment."""
    private = must("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    public = run("openssl", "pkey", "-pubout", "-outform", "DER", input=private.encode(), text=False).stdout
    return private, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


@functools.cache
def certificate():
    """A self-signed certificate and its key, as PEM."""
    text = must("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "3", "-subj", "/CN=relay.example.com", "-addext",
                "subjectAltName=DNS:relay.example.com,IP:127.0.0.1",
                "-keyout", "-")
    key_end = text.index("-----END PRIVATE KEY-----") + len("-----END PRIVATE KEY-----\n")
    return text[key_end:], text[:key_end]


@functools.cache
def password_hash():
    return must("openssl", "passwd", "-6", "-stdin", input=PASSWORD).strip()


def careless_tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def message(to="user@inbox.test", subject="a test", body=b"Hello.\r\n", sender=SENDER, more=()):
    """A small message with everything a message should have."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Date: Mon, 23 Nov 2026 07:00:00 +0000",
             f"Message-ID: <{random.randrange(10**12)}@example.com>", *more, "", ""]
    return "\r\n".join(lines).encode() + body


# --- processes -------------------------------------------------------------------------------------------------------

class Process:
    """One program in the background. Ended by its pid, at the latest when its test ends."""

    def __init__(self, test, name, command, **options):
        self.name = name
        self.log = test.folder / f"{name}.log"
        test.logs.append(self.log)
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, **options)
        test.addCleanup(self.end)

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def end(self, seconds=WAIT_S):
        """SIGTERM, and after a while SIGKILL, to this one process. Its status."""
        if self.running():
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()

    def kill(self):
        self.child.kill()
        return self.child.wait()

    def text(self):
        return self.log.read_text(errors="replace")


class Receiver:
    """The bundled receiver on loopback addresses."""

    def __init__(self, test, scenario="", listen=("127.0.0.2",), name="receiver", port=0, options=()):
        self.folder = test.folder / name
        self.folder.mkdir()
        self.mail = self.folder / "mail"
        self.scenario = self.folder / "scenario.toml"
        self.scenario.write_text(scenario)
        addresses = [part for address in listen for part in ("--listen", address)]
        self.process = Process(test, name, [
            bin_dir / "receiver", *addresses, "--port", port, "--port-file", self.folder / "port", "--scenario",
            self.scenario, "--dir", self.mail, "--log", self.folder / "log", "--quiet", *options])
        test.logs.append(self.folder / "log")
        until(lambda: (self.folder / "port").exists() or not self.process.running(), "the receiver listens")
        assert self.process.running(), self.process.text()
        self.port = int((self.folder / "port").read_text().split()[0])
        self.next_hop = f"{listen[0].split('-')[0]}:{self.port}"

    def change(self, scenario):
        """Other rules, soon: the receiver reads them when it gets the signal."""
        self.scenario.write_text(scenario)
        self.process.signal(signal.SIGHUP)

    def messages(self):
        found = []
        for path in sorted(self.mail.glob("*.json"), key=lambda file: int(file.stem)):
            entry = json.loads(path.read_text())
            entry["content"] = path.with_suffix(".eml").read_bytes()
            entry["to"] = [rcpt["address"] for rcpt in entry["rcpts"]]
            found.append(entry)
        return found

    def recipients(self):
        """Every recipient of every message stored, sorted: one that came twice is there twice."""
        return sorted(address for entry in self.messages() for address in entry["to"])

    def log(self):
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, count, seconds=WAIT_S):
        until(lambda: len(list(self.mail.glob("*.json"))) >= count, lambda: f"{count} messages: {self.recipients()}",
              seconds)
        return self.messages()


# --- the relay -------------------------------------------------------------------------------------------------------

TRUSTED = """
[[listener]]
address = "127.0.0.1:{port}"
tls = "none"
require_auth = false
trusted_networks = ["127.0.0.0/8"]
tenant_for_trusted = "shop"
check_recipient_domain = {check_domain}
"""

CONFIGURATION = """
[node]
hostname = "relay.example.com"
data_dir = "{folder}/data"
{listeners}
[[tenant]]
name = "shop"
class = "{klass}"
password_hash = ["{password_hash}"]
pool = "main"
domains = ["example.com", ".example.com"]
{tenant}
{sources}
[[pool]]
name = "main"
sources = [{source_names}]
{routes}
[[shaping]]
{shaping}
[delivery]
shutdown_grace = "5s"
{delivery}
[auth]
missing_key = "{missing_key}"
gate = "off"
[admin]
socket = "{folder}/admin.sock"
[dns]
{dns}
{more}
"""


class Danki:
    """A dankid with its configuration. `routes` is {pattern: next hop}, `sources` the addresses it sends from."""

    def __init__(self, test, routes=None, *, sources=("127.0.0.1",), listeners=TRUSTED, klass="transactional",
                 tenant="", shaping="connections = 5", delivery="",
                 dns='servers = ["127.0.0.1:9"]\ntimeout = "200ms"\ntries = 1',
                 more="", sign=False, check_domain=False, start=True, name="dankid"):
        self.test = test
        self.name = name
        self.folder = test.folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.tls_port = free_port()
        self.config = self.folder / "danki.toml"
        self.process = None
        self.starts = 0
        cert, key = certificate()
        (self.folder / "cert.pem").write_text(cert)
        self.write_secret("key.pem", key)
        if sign:
            self.write_secret("dkim.pem", rsa_key()[0])
            more += f'\n[[dkim]]\ndomain = "example.com"\nselector = "{SELECTOR}"\nkey_file = "dkim.pem"\n'
        names = [f"out{number:02}" for number in range(1, len(sources) + 1)]
        values = {
            "folder": self.folder, "klass": klass, "password_hash": password_hash(), "tenant": tenant,
            "shaping": shaping, "delivery": delivery, "dns": dns, "more": more, "missing_key": "send_unsigned",
            "listeners": listeners.format(port=self.port, tls_port=self.tls_port, folder=self.folder,
                                          check_domain=str(check_domain).lower()),
            "sources": "".join(f'[[source]]\nname = "{name}"\naddress = "{address}"\nehlo = "{name}.example.com"\n'
                               for name, address in zip(names, sources)),
            "source_names": ", ".join(f'"{name}"' for name in names),
            "routes": "".join(f'[[route]]\nmatch = "{pattern}"\nnext_hop = "{hop}"\n'
                              for pattern, hop in (routes or {}).items())}
        self.text = CONFIGURATION.format(**values)
        self.config.write_text(self.text)
        test.logs.append(self.folder / "data/events/events.log")
        if start:
            self.start()

    def write_secret(self, name, text):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    def start(self, **options):
        self.starts += 1
        self.process = Process(self.test, f"{self.name}-{self.starts}", [bin_dir / "dankid", "--config", self.config],
                               **options)
        until(lambda: " info started " in self.process.text() or not self.process.running(), "dankid starts")
        assert self.process.running(), self.process.text()
        return self

    def stop(self):
        """By SIGTERM; its status."""
        return self.process.end(60)

    def reload(self):
        before = self.log_text()
        self.process.signal(signal.SIGHUP)
        until(lambda: "reload" in self.log_text()[len(before):], "the reload is answered")
        return self.log_text()[len(before):]

    def log_text(self):
        return self.process.text()

    def check(self, text=None):
        """dankid --check of a file."""
        path = self.folder / "checked.toml"
        path.write_text(self.text if text is None else text)
        return run(bin_dir / "dankid", "--check", "--config", path)

    def client(self, **options):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=WAIT_S, **options)

    def send(self, to="user@inbox.test", content=None, sender=SENDER, options=(), rcpt_options=()):
        """One message by smtplib; the id it was queued under."""
        to = [to] if isinstance(to, str) else list(to)
        content = message(to[0]) if content is None else content
        with self.client() as client:
            client.ehlo()
            assert client.mail(sender, list(options))[0] == 250
            for recipient in to:
                code, text = client.rcpt(recipient, list(rcpt_options))
                assert code == 250, (recipient, code, text)
            code, text = client.data(content)
            assert code == 250, (code, text)
        return text.decode().split()[-1]

    def danki(self, *arguments, status=0):
        """The operator's command."""
        done = run(bin_dir / "danki", "--socket", self.folder / "admin.sock", *arguments)
        assert done.returncode == status, f"danki {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    def ask(self, *arguments):
        return json.loads(self.danki("--json", *arguments))

    def queued(self):
        return self.ask("queue", "list")["messages"]

    def is_empty(self):
        return not self.queued()

    def events(self, kind=None, **fields):
        path = self.folder / "data/events/events.log"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [entry for entry in found if (kind is None or entry["event"] == kind) and
                all(entry.get(name) == value for name, value in fields.items())]

    def wait_event(self, kind, count=1, seconds=WAIT_S, **fields):
        until(lambda: len(self.events(kind, **fields)) >= count,
              lambda: f"{count} {kind} {fields} in {[(e['event'], e.get('to')) for e in self.events()][-30:]}", seconds)
        return self.events(kind, **fields)


class Raw:
    """A client that says exactly what it is told."""

    def __init__(self, port, address="127.0.0.1", greet=True, source=None):
        self.connection = socket.create_connection((address, port), timeout=WAIT_S,
                                                   source_address=(source, 0) if source else None)
        self.file = self.connection.makefile("rb")
        if greet:
            code, _ = self.reply()
            assert code == 220, code

    def say(self, octets):
        self.connection.sendall(octets)

    def reply(self):
        """(code, text) of the next reply, lines joined."""
        text = []
        while True:
            line = self.file.readline()
            assert line.endswith(b"\r\n"), f"the server ended the connection: {line!r}"
            text.append(line[4:-2].decode())
            if line[3:4] == b" ":
                return int(line[:3]), "\n".join(text)

    def ask(self, line):
        self.say(line.encode() + b"\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def answers(self, *lines):
        return [self.ask(line) for line in lines][-1]

    def ended(self):
        """True if the server has closed."""
        return self.file.read(1) == b""

    def start_tls(self):
        code, _ = self.ask("STARTTLS")
        assert code == 220, code
        self.connection = careless_tls().wrap_socket(self.connection)
        self.file = self.connection.makefile("rb")

    def close(self):
        self.file.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- the tests -------------------------------------------------------------------------------------------------------

class EndToEnd(unittest.TestCase):
    """A test with a folder of its own. What it starts ends with it."""

    maxDiff = 2000

    def setUp(self):
        self.logs = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="danki-e2e-"))
        self.folder.chmod(0o755)  # Postfix and Exim deliver as users of their own
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def assert_arrived_unchanged(self, arrived, submitted, added=("Received", "DKIM-Signature"), leading=()):
        """`arrived` is `submitted` behind header lines of ours, and behind those that the peers added before."""
        self.assertTrue(arrived.endswith(submitted), difference(arrived, submitted))
        head = arrived[:len(arrived) - len(submitted)]
        names = [line.split(b":")[0].decode() for line in head.split(b"\r\n") if line and line[:1] not in b" \t"]
        ours = [name for name in names if name in added]
        self.assertEqual(sorted(set(names) - set(leading) - set(added)), [], "header lines that nobody was to add")
        self.assertIn("Received", ours)


def difference(arrived, submitted):
    """Where two contents part, counted from the end."""
    length = 0
    while length < min(len(arrived), len(submitted)) and arrived[-1 - length] == submitted[-1 - length]:
        length += 1
    return (f"they differ {length} octets before the end: arrived "
            f"{arrived[-length - 60:len(arrived) - length + 20]!r}, "
            f"submitted ...{submitted[-length - 60:len(submitted) - length + 20]!r}")
