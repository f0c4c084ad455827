#!/usr/bin/env python3
"""Hostile clients: each hears an answer or is closed, memory stays bounded, and others are served meanwhile.

Usage: hostile_test.py FOLDER-OF-PROGRAMS [--silent N]
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import time
import unittest

import harness
from harness import Client, Folder, Relay, Sink, say, until

SILENT = 10_000
MAX_MIB = 150          # private memory, whatever clients do
MAX_SILENT_KIB = 16    # of one silent session, on top of that
MAX_P99_S = 0.5        # of a well-behaved client's transactions, on two cores that also run the attack
PROXY = "127.0.3.0/24"
BEHIND_PROXY = "192.0.2.0/24"
IDLE_S = 3


def well_behaved(port, pipe):
    """A session that goes on, and one more connection for every fifth message, until told to end."""
    times, trouble = [], []
    kept = Client(port)
    while not pipe.poll(0.02) or len(times) < 50:
        begin = time.monotonic()
        try:
            token = f"dddddddd-{len(times):010}"
            if len(times) % 5 == 4:
                with Client(port) as client:
                    answer = client.message(token)
            else:
                answer = kept.message(token)
            if not answer.startswith(b"250"):
                trouble.append(answer.decode())
        except (OSError, AssertionError) as error:
            trouble.append(repr(error))
            kept = Client(port)
        times.append(time.monotonic() - begin)
    pipe.send((times, trouble))


class HostileCase(unittest.TestCase):
    LIMITS = f'idle = "{IDLE_S}s"'

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.sink = Sink(self.folder)
        self.addCleanup(self.sink.close)
        self.make_certificate()
        self.tls_port, self.proxy_port = harness.free_port(), harness.free_port()
        tables = {"limits": self.LIMITS}
        self.relay = Relay(self.folder, self.sink.port, tables, listeners=f"""
            [[listener]]
            address = "127.0.0.1:{self.proxy_port}"
            tls = "none"
            require_auth = false
            trusted_networks = ["{BEHIND_PROXY}"]
            tenant_for_trusted = "shop"
            proxy_protocol_from = ["{PROXY}"]
            [[listener]]
            address = "127.0.0.1:{self.tls_port}"
            tls = "starttls"
            certificate = "{self.folder.path("cert.pem")}"
            private_key = "{self.folder.path("key.pem")}"
        """)
        self.relay.start()
        self.addCleanup(self.relay.close)

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=relay.example.com",
                        "-days", "2", "-keyout", self.folder.path("key.pem"), "-out", self.folder.path("cert.pem")],
                       check=True, capture_output=True)
        os.chmod(self.folder.path("key.pem"), 0o600)

    @contextlib.contextmanager
    def others_unharmed(self, what, max_mib=MAX_MIB):
        """While the block runs somebody else sends mail; prints and checks how that went, and the memory at the end."""
        pipe, other = multiprocessing.Pipe()
        bystander = multiprocessing.Process(target=well_behaved, args=(self.relay.port, other), daemon=True)
        bystander.start()
        self.peak = self.sampled_at = 0
        cpu = self.cpu_seconds()
        begin = time.monotonic()
        try:
            yield
            self.sampled_at = 0
            self.sample()
        finally:
            pipe.send("end")
            told = pipe.recv() if pipe.poll(60) else ([60.0], ["the well-behaved client hangs"])
            bystander.terminate()
            bystander.join()
        times, trouble = told
        times.sort()
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        say(f"{what}: RssAnon {self.peak:.0f} MiB, {time.monotonic() - begin:.1f} s, "
            f"CPU {self.cpu_seconds() - cpu:.1f} s; "
            f"others: {len(times)} messages, {len(trouble)} refused, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
            f"max {times[-1] * 1000:.0f} ms")
        self.assertEqual(trouble[:3], [])
        self.assertLess(p99, MAX_P99_S * harness.SLACK)
        self.assertLess(self.peak, max_mib * harness.SLACK)
        self.assertIsNone(self.relay.process.poll(), "dankid runs")

    def sample(self):
        now = time.monotonic()
        if now - self.sampled_at > 0.01:
            self.sampled_at = now
            self.peak = max(self.peak, self.relay.rss_anon_mib())

    def cpu_seconds(self):
        with open(f"/proc/{self.relay.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ends(self, connection, within=20):
        """Reads until the other side closes; what it said. Fails if it does not close."""
        connection.settimeout(within)
        said = b""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                got = connection.recv(65536)
            except ConnectionError:
                return said
            except TimeoutError:
                break
            if not got:
                return said
            said = (said + got)[-4096:]
            self.sample()
        self.fail(f"not closed within {within} s; it said {said[-200:]!r}")

    def push(self, connection, data, times, within=10):
        """Sends `data` `times` over without reading, until the other side takes no more or closes; the octets taken."""
        connection.setblocking(False)
        deadline = time.monotonic() + within
        sent, whole = 0, len(data) * times
        while sent < whole and time.monotonic() < deadline:
            self.sample()
            _, writable, _ = select.select([], [connection], [], 0.5)
            if not writable:
                break
            try:
                sent += connection.send(data[sent % len(data):])
            except BlockingIOError:
                continue
            except ConnectionError:
                break
        connection.setblocking(True)
        return sent


class Silence(HostileCase):
    LIMITS = 'idle = "8s"'

    def test_ten_thousand_connections_that_say_nothing(self):
        baseline = self.relay.rss_anon_mib()
        with self.others_unharmed(f"{SILENT} silent connections", MAX_MIB + SILENT * MAX_SILENT_KIB / 1024):
            connections = []
            self.addCleanup(lambda: [connection.close() for connection in connections])
            begin = time.monotonic()
            for number in range(SILENT):
                connections.append(socket.create_connection(("127.0.0.1", self.relay.port), 30,
                                                            (f"127.1.0.{number // 900 + 1}", 0)))
            opened = time.monotonic() - begin
            greeted = sum(self.first_octets(connection).startswith(b"220") for connection in connections)
            self.sample()
            sessions = self.relay.status()["sessions"]
            said = [self.ends(connection) for connection in connections]
            polite = sum(text.startswith(b"421 4.4.2") for text in said)
        after = self.relay.rss_anon_mib()
        say(f"opened in {opened:.1f} s, greeted {greeted}, {sessions} sessions at once, told 421 4.4.2: {polite}; "
            f"RssAnon {baseline:.0f} MiB before, {self.peak:.0f} MiB with them, {after:.0f} MiB after")
        self.assertEqual(greeted, SILENT)
        self.assertEqual(polite, SILENT)
        until(lambda: self.relay.status()["sessions"] <= 1, "the sessions have ended")

    def first_octets(self, connection):
        connection.settimeout(30)
        return connection.recv(4096)

    def test_one_client_with_too_many_connections(self):
        with self.others_unharmed("1,200 connections of one client"):
            connections = [socket.create_connection(("127.0.0.1", self.relay.port), 30, ("127.1.1.1", 0))
                           for _ in range(1200)]
            answers = [self.first_octets(connection)[:9] for connection in connections]
            for connection in connections:
                connection.close()
        self.assertEqual(sum(answer.startswith(b"220") for answer in answers), 1000)
        self.assertEqual(answers.count(b"421 4.3.2"), 200)

    def test_no_descriptors_left(self):
        """A process limit far below [limits] sessions: no spinning, no crash, and all is well when they are gone."""
        pid = self.relay.process.pid
        limit = 200
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
        cpu, begin = self.cpu_seconds(), time.monotonic()
        connections = [socket.create_connection(("127.0.0.1", self.relay.port), 30) for _ in range(2 * limit)]
        time.sleep(3)  # what it costs while it goes on is the point
        used, took = self.cpu_seconds() - cpu, time.monotonic() - begin
        for connection in connections:
            connection.close()
        begin = time.monotonic()
        with Client(self.relay.port) as client:
            self.assertTrue(client.message("dddddddd-0000000000").startswith(b"250"))
        say(f"no descriptors left: CPU {used:.2f} s in {took:.1f} s; served {time.monotonic() - begin:.2f} s after")
        self.assertLess(used, took / 2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


class Slowness(HostileCase):
    def test_one_octet_a_second(self):
        def opened(*lines):
            client = Client(self.relay.port)
            for line in lines:
                client.command(line)
            return client

        with self.others_unharmed("one octet a second"):
            in_command = [opened() for _ in range(20)]
            in_content = [opened("MAIL FROM:<news@example.com>", "RCPT TO:<user@d00.test>", "DATA") for _ in range(20)]
            begin, ended = time.monotonic(), set()
            for octet in b"MAIL FROM:<n":
                for client in in_command + in_content:
                    with contextlib.suppress(OSError):
                        client.send(bytes([octet]))
                for client in in_command:
                    if client not in ended and select.select([client.socket], [], [], 0)[0]:
                        self.assertTrue(client.reply().startswith(b"421 4.4.2"))
                        ended.add(client)
                if len(ended) == len(in_command):
                    break
                time.sleep(1)
            took = time.monotonic() - begin
            for client in in_content:  # slow, but it goes on: the message is taken
                client.send(b"\r\nFrom: news@example.com\r\n\r\nx\r\n.\r\n")
                self.assertIn(client.reply()[:3], (b"250", b"550"))
                client.close()
        say(f"one octet a second: {len(ended)} of {len(in_command)} commands ended after {took:.1f} s, "
            f"idle = {IDLE_S} s")
        self.assertEqual(len(ended), len(in_command))
        self.assertLess(took, 2 * IDLE_S + 2)


class Size(HostileCase):
    def test_header_of_ten_megabytes(self):
        with self.others_unharmed("header of 10 MB"):
            for line in (b"X-Long: " + b"x" * 980 + b"\r\n", b"a:\r\n"):
                header = line * (65536 // len(line))
                with Client(self.relay.port) as client:
                    client.command("MAIL FROM:<news@example.com>", b"250")
                    client.command("RCPT TO:<user@d00.test>", b"250")
                    client.command("DATA", b"354")
                    client.send(b"From: news@example.com\r\n")
                    sent = self.push(client.socket, header, 153, 30)
                    self.assertEqual(sent, 153 * len(header), "it is read to its end")
                    client.send(b"\r\nbody\r\n.\r\n")
                    self.assertTrue(client.expect(b"552 5.3.4"))
                    self.assertTrue(client.message("dddddddd-0000000000").startswith(b"250"), "the session goes on")

    def test_hundred_thousand_recipients(self):
        answers = {}
        with self.others_unharmed("100,000 RCPTs"):
            for at_once in (500, 1):
                with Client(self.relay.port) as client:
                    client.command("MAIL FROM:<news@example.com>", b"250")
                    sent = 0
                    with contextlib.suppress(ConnectionError):
                        while sent < 100_000:
                            client.send(b"".join(b"RCPT TO:<user%d@d00.test>\r\n" % (sent + n) for n in range(at_once)))
                            for _ in range(at_once):
                                sent += 1
                                answer = client.reply()[:9]
                                answers[answer] = answers.get(answer, 0) + 1
                                if answer[:3] in (b"421", b""):
                                    sent = 100_000
                                    break
                            self.sample()
        say(f"answers: {answers}")
        self.assertEqual(answers[b"250 2.1.5"], 2000)
        self.assertIn(b"452 4.5.3", answers)

    def test_endless_command_line(self):
        with self.others_unharmed("a command line of 50 MB"):
            connections = [Client(self.relay.port) for _ in range(10)]
            for client in connections:
                sent = self.push(client.socket, b"MAIL FROM:<" + b"a" * 65525, 800, 20)
                client.socket.settimeout(20)
                with contextlib.suppress(OSError):
                    client.send(b">\r\n")
                answer = client.reply()
                self.assertTrue(answer == b"" or answer.startswith((b"500", b"421")), (answer, sent))
                client.close()

    def test_chunks_of_absurd_size(self):
        sizes = ("18446744073709551615", "18446744073709551616 LAST", "9" * 400, "-1", "4294967296",
                 "36700161 LAST", "0x10", "1e9", "", "0", "999999999999 LAST x", "10 first")
        with self.others_unharmed("BDAT of absurd sizes"):
            for size in sizes:
                with Client(self.relay.port) as client:
                    client.command("MAIL FROM:<news@example.com>", b"250")
                    client.command("RCPT TO:<user@d00.test>", b"250")
                    client.send(f"BDAT {size}\r\n".encode() + b"From: news@example.com\r\n" * 1000)
                    sent = self.push(client.socket, b"x" * 65536, 640, 10)
                    said = self.ends(client.socket)
                    self.assertRegex(said, rb"(^|\n)[45]\d\d |^$|250 ", (size, sent))
                    if size != "0":  # no octets, which is a chunk as well
                        self.assertNotIn(b"250 2.0.0", said, size)


class Nonsense(HostileCase):
    COMMANDS = ("NOOP", "RSET", "MAIL FROM:<news@example.com>", "RCPT TO:<user@d00.test>", "VRFY x", "HELP", "BDAT 0",
                "DATA")

    def test_garbage_after_every_command(self):
        garbage = (b"\x00\xff\xfe", b" \x80\x81", b"\x1b[2J", b"\r", b" X=" + b"y" * 400, b"\xed\xa0\x80>",
                   b" \t\x0b\x0c", b"\x00" * 300)
        ended = {}
        with self.others_unharmed("garbage after every command"):
            for junk in garbage:
                client = Client(self.relay.port)
                for _ in range(30):
                    for command in self.COMMANDS:
                        try:
                            client.send(command.encode() + junk + b"\r\n")
                            answer = client.reply()
                        except OSError:
                            answer = b""
                        if answer.startswith(b"354"):
                            client.send(junk + b"\r\n.\r\n")
                            answer = client.reply()
                        if answer[:3] in (b"", b"421"):
                            break
                        self.assertRegex(answer, rb"^[245]\d\d ")
                    else:
                        continue
                    ended[junk] = answer
                    break
                client.close()
            with Client(self.relay.port, greet=False) as client:  # nothing but noise
                self.push(client.socket, os.urandom(1 << 20), 20)
                self.ends(client.socket)
        say(f"ended for too many errors: {len(ended)} of {len(garbage)} sessions")
        for junk, answer in ended.items():
            self.assertRegex(answer, rb"^421 4\.7\.0 |^$", junk)
        # White space at the end of a line is forgiven.
        self.assertGreaterEqual(len(ended), len(garbage) - 1, set(garbage) - set(ended))

    def test_floods_without_reading(self):
        floods = (b"NOOP\r\n", b"EHLO client.example.com\r\n", b"x\r\n",
                  b"MAIL FROM:<news@example.com>\r\nRCPT TO:<user@d00.test>\r\nRSET\r\n", b"HELP\r\n", b"VRFY x\r\n")
        with self.others_unharmed("60 pipelined floods, replies not read"):
            clients = []
            for number in range(60):
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", self.relay.port))
                clients.append(client)
            taken = [self.push(client, floods[number % len(floods)] * 2000, 1000, 2)
                     for number, client in enumerate(clients)]
            begin = time.monotonic()
            while time.monotonic() - begin < IDLE_S + 1:
                self.sample()
                time.sleep(0.1)
            for client in clients:
                self.ends(client)
                client.close()
        say(f"took {min(taken) >> 10} to {max(taken) >> 10} KiB of each")

    def test_garbage_instead_of_tls(self):
        with self.others_unharmed("STARTTLS garbage"):
            waiting = []
            for number in range(300):
                client = Client(self.tls_port)
                client.command("STARTTLS", b"220")
                if number % 3 == 0:
                    waiting.append(client)  # never says a word of TLS
                    continue
                too_long = b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb" + bytes(70000)
                with contextlib.suppress(OSError):
                    client.send(b"NOOP\r\n" * 300 if number % 3 == 1 else too_long)
                self.ends(client.socket)
                client.close()
            with Client(self.tls_port) as client:  # what came behind STARTTLS in the clear is not obeyed under TLS
                client.send(b"STARTTLS\r\nMAIL FROM:<news@example.com>\r\nNOOP\r\n")
                client.expect(b"220")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with contextlib.suppress(ssl.SSLError, OSError):  # or the clear text spoils the handshake: as good
                    secured = context.wrap_socket(client.socket)
                    secured.sendall(b"EHLO client.example.com\r\n")
                    self.assertTrue(secured.recv(4096).startswith(b"250-"))
            for client in waiting:
                client.close()

    def test_garbage_instead_of_a_proxy_header(self):
        signature = b"\r\n\r\n\0\r\nQUIT\n"
        headers = (b"EHLO client.example.com\r\n" * 4, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", os.urandom(300),
                   b"\0" * 300, signature + b"\x21\x11\xff\xff" + bytes(70000),
                   signature + b"\x21\x11\x00\x03" + b"abc",
                   signature + b"\x2f\x11\x00\x0c" + bytes(12), signature + b"\x11\x11\x00\x0c" + bytes(12),
                   signature + b"\x21\x21\x00\x0c" + bytes(12))
        with self.others_unharmed("PROXY garbage"):
            for header in headers:
                with Client(self.proxy_port, "127.0.3.1", greet=False) as client:
                    with contextlib.suppress(OSError):
                        client.send(header)
                    said = self.ends(client.socket)
                    self.assertEqual(said, b"", header[:40])
            begin, waiting = time.monotonic(), []
            for half in (b"", signature[:7], signature + b"\x21\x11\x00\x0c" + bytes(5)):
                waiting.append(Client(self.proxy_port, "127.0.3.2", greet=False))
                waiting[-1].send(half)
            for client in waiting:
                self.assertEqual(self.ends(client.socket), b"", "half a header")
                client.close()
            self.assertLess(time.monotonic() - begin, 7)
            for address, answer in (("192.0.2.9", b"250"), ("198.51.100.9", b"5")):
                told = struct.pack("!4s4sHH", socket.inet_aton(address), socket.inet_aton("127.0.0.1"), 1, 2)
                with Client(self.proxy_port, "127.0.3.1", greet=False) as client:
                    client.send(signature + b"\x21\x11\x00\x0c" + told)
                    client.expect(b"220")
                    client.command("EHLO client.example.com", b"250")
                    client.command("MAIL FROM:<news@example.com>")
                    client.command("RCPT TO:<user@d00.test>", answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--silent", type=int, default=SILENT)
    known, sys.argv[1:] = parser.parse_known_args()
    SILENT = known.silent
    harness.main()
