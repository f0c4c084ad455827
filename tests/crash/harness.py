"""What the crash tests share: a real dankid in a folder of its own, receivers that count, senders that keep a record.

Everything listens on loopback, at ports below the ephemeral range: a client that keeps connecting to a daemon that is
down would otherwise, sooner or later, be given the daemon's own port and connect to itself.
"""

import collections
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BIN = None
DOMAINS = 50  # d00.test .. d49.test, one receiver address each
SINK_ADDRESSES = "127.0.0.2-127.0.0.51"
WAIT_S = 60
# Sanitizers cost time and memory; what the figures below promise is meant for the release build.
SLACK = 10 if os.environ.get("CRASH_SANITIZED") else 1


def main():
    """Usage of each test: NAME.py FOLDER-OF-PROGRAMS [unittest arguments]"""
    global BIN
    BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__", warnings="ignore", verbosity=2)


def program(name):
    return os.path.join(BIN, name)


def say(text):
    """A figure of the test, for whoever reads its output."""
    print(f"    {text}", file=sys.stderr, flush=True)


def until(condition, what, within=WAIT_S):
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within} s: {what}")
        time.sleep(0.02)


def free_port():
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def rss_anon_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise AssertionError("no RssAnon")


class Folder:
    """A temporary folder; kept, and named, if the test in it fails and KEEP_CRASH_FOLDERS is set."""

    def __init__(self, parent=None):
        self.name = tempfile.mkdtemp(prefix="danki-crash-", dir=parent)

    def path(self, *names):
        return os.path.join(self.name, *names)

    def remove(self):
        if os.environ.get("KEEP_CRASH_FOLDERS"):
            say(f"kept {self.name}")
        else:
            shutil.rmtree(self.name, ignore_errors=True)


class Relay:
    """dankid with a spool in `folder`, delivering dNN.test to 127.0.0.(NN+2):next_hop_port."""

    def __init__(self, folder, next_hop_port, tables=None, data_dir=None, environment=None, listeners=""):
        self.folder = folder
        self.port = free_port()
        self.environment = environment or {}
        self.process = None
        self.data_dir = data_dir or folder.path("data")
        self.socket = folder.path("admin.sock")
        self.config = folder.path("danki.toml")
        self.log_path = folder.path("dankid.log")
        tables = {"delivery": 'transactional_retries = ["1s"]', "limits": "", **(tables or {})}
        text = f"""
            [node]
            hostname = "relay.example.com"
            data_dir = "{self.data_dir}"
            [[listener]]
            address = "127.0.0.1:{self.port}"
            tls = "none"
            require_auth = false
            trusted_networks = ["127.0.0.0/8"]
            tenant_for_trusted = "shop"
            {listeners}
            [[tenant]]
            name = "shop"
            class = "transactional"
            pool = "main"
            domains = ["example.com"]
            allow_null_sender = true
            [[source]]
            name = "any"
            address = "any"
            [[pool]]
            name = "main"
            sources = ["any"]
            [[shaping]]
            connections = 20
            messages_per_connection = "none"
            [auth]
            missing_key = "send_unsigned"
            gate = "off"
            [admin]
            socket = "{self.socket}"
        """
        for name, body in tables.items():
            text += f"\n[{name}]\n{body}\n"
        for number in range(DOMAINS):
            text += f'\n[[route]]\nmatch = "d{number:02}.test"\nnext_hop = "127.0.0.{number + 2}:{next_hop_port}"\n'
        with open(self.config, "w") as file:
            file.write("\n".join(line.strip() for line in text.splitlines()))

    def start(self, within=WAIT_S):
        """Returns after how many seconds the banner came."""
        begin = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([program("dankid"), "--config", self.config], stdout=log, stderr=log,
                                            env={**os.environ, **self.environment})
        until(self.greets, "dankid greets", within)
        return time.monotonic() - begin

    def greets(self):
        if self.process.poll() is not None:
            raise AssertionError(f"dankid ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(200).startswith(b"220")
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self, within=WAIT_S):
        """SIGTERM; the exit status and the seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within), time.monotonic() - begin

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def danki(self, *arguments):
        outcome = subprocess.run([program("danki"), "--socket", self.socket, "--json", *arguments],
                                 capture_output=True, text=True, timeout=WAIT_S)
        if outcome.returncode != 0:
            raise AssertionError(f"danki {' '.join(arguments)}: {outcome.returncode} {outcome.stderr}")
        return json.loads(outcome.stdout)

    def status(self):
        return self.danki("status")

    def drained(self, within=120):
        until(lambda: self.status()["queued"] == 0, "the queue has drained", within)

    def rss_anon_mib(self):
        return rss_anon_mib(self.process.pid)

    def events(self, *types):
        folder = os.path.join(self.data_dir, "events")
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".log"):
                continue
            with open(os.path.join(folder, name), errors="replace") as file:
                for line in file:
                    if not line.endswith("\n"):
                        continue  # being written
                    if types and not any(f'"event":"{kind}"' in line for kind in types):
                        continue
                    yield json.loads(line)


class Sink:
    """smtp-sink-fast: a line `TOKEN RECIPIENT` in `seen` for each accepted message and recipient."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.port = free_port()
        self.seen_path = folder.path("seen")
        self.control = folder.path("sink.ctl")
        port_file = folder.path("sink.port")
        self.process = subprocess.Popen(
            [program("smtp-sink-fast"), "--listen", f"{SINK_ADDRESSES}:{self.port}", "--control", self.control,
             "--seen-file", self.seen_path, "--seen-recipients", "--seen-immediate", "--port-file", port_file,
             "--quiet", *options])
        until(lambda: os.path.exists(port_file), "the sink listens")

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT_S)
            connection.connect(self.control)
            connection.sendall(command.encode() + b"\n")
            return connection.recv(65536).decode()

    def seen(self):
        """Counter of (token, recipient)."""
        if not os.path.exists(self.seen_path):
            return collections.Counter()
        with open(self.seen_path) as file:
            return collections.Counter(tuple(line.split()) for line in file)

    def close(self):
        self.process.terminate()
        self.process.wait(WAIT_S)


class Load:
    """smtp-load in the background, trying again whatever is refused or cut off."""

    def __init__(self, folder, relay, run, count, *options, retry=100000):
        self.run = run
        self.acked_path = folder.path("acked")
        self.process = subprocess.Popen(
            [program("smtp-load"), "--port", str(relay.port), "--run", run, "--count", str(count), "--retry",
             str(retry), "--acked-file", self.acked_path, "--json", *options], stdout=subprocess.PIPE, text=True)

    def is_running(self):
        return self.process.poll() is None

    def result(self, within=WAIT_S):
        out, _ = self.process.communicate(timeout=within)
        return json.loads(out) if out else {}

    def close(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()


def acked(folder):
    path = folder.path("acked")
    if not os.path.exists(path):
        return set()
    with open(path) as file:
        return set(file.read().split())


def account(test, folder, relay, sink, log_failed=False):
    """Nothing acknowledged is missing, and every delivery stands in the event log. Prints the figures. `log_failed`:
    the event log could not be written at times, and what it lost does not count."""
    seen = sink.seen()
    arrived = collections.Counter(token for token, _ in seen)
    promised = acked(folder)
    lost = [token for token in promised if not arrived[token]]
    duplicates = sum(seen.values()) - len(seen)
    told = {(event["id"], event["to"]) for event in relay.events("delivered")}
    accepted = {event["id"] for event in relay.events("accepted")}
    silent = len({message for message, _ in told} - accepted)
    say(f"acknowledged {len(promised)}, arrived {len(arrived)}, lost {len(lost)}, duplicates {duplicates}, "
        f"delivered events {len(told)} for {len(seen)} deliveries, without accepted event {silent}")
    test.assertEqual(lost[:10], [], "acknowledged, not delivered")
    if not log_failed:
        # A message whose sync failed may outlive it: its client heard 451, nobody announced it, and a kill brings it back
        # beside the copy that the client sent again. So a message without its accepted event may be one too many.
        test.assertGreaterEqual(len(told), len(seen), "each delivered message has its event")
        test.assertLessEqual(len(told), len(seen) + silent, "no event without a delivery")
    return {"acked": len(promised), "arrived": len(arrived), "duplicates": duplicates}


class Client:
    """SMTP by hand."""

    def __init__(self, port, source=None, timeout=30, greet=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)
        self.file = self.socket.makefile("rb")
        if greet:
            self.expect(b"220")
            self.command("EHLO client.example.com", b"250")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        """The last line of the next reply; empty when the connection is closed."""
        while True:
            try:
                line = self.file.readline(4096)
            except ConnectionError:
                return b""
            if len(line) < 4 or line[3:4] != b"-":
                return line.rstrip(b"\r\n")

    def expect(self, code):
        answer = self.reply()
        if not answer.startswith(code):
            raise AssertionError(f"expected {code}, got {answer!r}")
        return answer

    def command(self, text, code=None):
        self.send(text.encode() + b"\r\n")
        return self.expect(code) if code else self.reply()

    def message(self, token, domain="d00.test", size=200):
        """One transaction; the first reply that is not positive, or that to the end of data."""
        for text in ("MAIL FROM:<news@example.com>", f"RCPT TO:<user@{domain}>"):
            answer = self.command(text)
            if not answer.startswith(b"250"):
                if answer:
                    self.command("RSET")
                return answer
        answer = self.command("DATA")
        if not answer.startswith(b"354"):
            return answer
        body = (b"all work and no play\r\n" * (size // 22 + 1))[:size] + b"\r\n"
        self.send(b"From: news@example.com\r\nX-Bench-Seq: " + token.encode() + b"\r\nSubject: hello\r\n\r\n" + body
                  + b".\r\n")
        return self.reply()
