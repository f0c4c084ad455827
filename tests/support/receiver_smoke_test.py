#!/usr/bin/env python3
"""The bundled receiver does what docs/testing-receiver.md says. Usage: receiver_smoke_test.py PATH-OF-RECEIVER"""

import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

RECEIVER = None
WAIT_S = 20


def until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen: {what}")
        time.sleep(0.01)


class Receiver:
    """A running receiver on a free port; ends with the `with` block, by SIGTERM, and must exit 0."""

    def __init__(self, scenario="", *options):
        self.folder = tempfile.TemporaryDirectory(prefix="receiver-test-")
        self.mail = self.path("mail")
        self.scenario = self.path("scenario.toml")
        self.write_scenario(scenario)
        self.command = [RECEIVER, "--port", "0", "--port-file", self.path("port"), "--scenario", self.scenario,
                        "--dir", self.mail, "--log", self.path("log"), "--quiet", *options]

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write_scenario(self, text):
        with open(self.scenario, "w") as file:
            file.write(text)

    def __enter__(self):
        self.process = subprocess.Popen(self.command)
        until(lambda: os.path.exists(self.path("port")) or self.process.poll() is not None, "receiver listens")
        with open(self.path("port")) as file:
            self.ports = [int(line) for line in file]
        self.port = self.ports[0]
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(WAIT_S)
        self.folder.cleanup()
        assert status == 0, f"receiver ended with {status}"

    def messages(self):
        numbers = sorted(int(name[:-5]) for name in os.listdir(self.mail) if name.endswith(".json"))
        found = []
        for number in numbers:
            with open(f"{self.mail}/{number}.json") as file:
                found.append(json.load(file))
            with open(f"{self.mail}/{number}.eml", "rb") as file:
                found[-1]["content"] = file.read()
        return found

    def log(self):
        with open(self.path("log")) as file:
            return [json.loads(line) for line in file]

    def client(self, host="127.0.0.1", source=None):
        return smtplib.SMTP(host, self.port, local_hostname="client.test", timeout=WAIT_S,
                            source_address=(source, 0) if source else None)

    def raw(self):
        """A socket that has been greeted and has said EHLO and MAIL and RCPT."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        file = connection.makefile("rwb")
        expect(file, b"220")
        for line in (b"EHLO raw.test", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.net>"):
            file.write(line + b"\r\n")
            file.flush()
            expect(file, b"250")
        return connection, file


def expect(file, code):
    while True:
        line = file.readline()
        assert line.startswith(code), (code, line)
        if line[3:4] != b"-":
            return line


def say(file, text):
    file.write(text)
    file.flush()


CONTENT = b"From: a@example.com\r\nSubject: dots\r\n\r\n.one dot\r\n..two\r\n.\r\n\xc3\xa9\r\n"


class Storing(unittest.TestCase):
    def test_content_and_envelope_are_kept_exactly(self):
        with Receiver() as receiver:
            with receiver.client(source="127.0.0.9") as client:
                client.ehlo()
                for name in ("pipelining", "8bitmime", "size", "smtputf8", "enhancedstatuscodes", "dsn"):
                    self.assertTrue(client.has_extn(name), name)
                self.assertFalse(client.has_extn("chunking"))
                client.sendmail("a@example.com", ["b@example.net", "c@example.net"], CONTENT,
                                ["BODY=8BITMIME", "RET=HDRS"], ["NOTIFY=FAILURE"])
                client.sendmail("", ["b@example.net"], b"Subject: second\r\n\r\n")
            first, second = receiver.messages()
            self.assertEqual(first["content"], CONTENT)
            self.assertEqual(first["mail_from"], "a@example.com")
            self.assertEqual(first["mail_params"], [f"size={len(CONTENT)}", "BODY=8BITMIME", "RET=HDRS"])
            self.assertEqual(first["rcpts"], [{"address": "b@example.net", "params": ["NOTIFY=FAILURE"]},
                                              {"address": "c@example.net", "params": ["NOTIFY=FAILURE"]}])
            self.assertEqual((first["client_address"], first["listen_address"], first["helo"], first["tls"]),
                             ("127.0.0.9", "127.0.0.1", "client.test", None))
            self.assertEqual((second["message_on_connection"], second["connection"], second["mail_from"]), (2, 1, ""))
            self.assertEqual(first["violations"], [])
            self.assertFalse([name for name in os.listdir(receiver.mail) if name.endswith(".part")])

    def test_sender_faults_are_noted(self):
        with Receiver() as receiver:
            connection, file = receiver.raw()
            say(file, b"DATA\r\n")
            expect(file, b"354")
            say(file, b"Subject: x\r\n\r\nbare\nlf\n.\nnot the end\rbare cr \xff\r\n" + b"y" * 999 + b"\r\n.\r\n")
            expect(file, b"250")
            file.close()
            connection.close()
            (message,) = receiver.messages()
            for fault in ("bare LF", "bare CR", "octets above 127", "line over 998 octets"):
                self.assertIn(fault, message["violations"])
            self.assertIn(b"lf\n.\nnot the end", message["content"])

    def test_bdat(self):
        with Receiver("", "--chunking") as receiver:
            connection, file = receiver.raw()
            say(file, b"BDAT 10\r\n" + CONTENT[:10] + b"BDAT %d LAST\r\n" % len(CONTENT[10:]) + CONTENT[10:])
            expect(file, b"250")
            expect(file, b"250")
            file.close()
            connection.close()
            (message,) = receiver.messages()
            self.assertEqual(message["content"], CONTENT)
            self.assertTrue(message["chunked"])

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = f"{folder}/key.pem", f"{folder}/cert.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "2", "-subj", "/CN=mx.test", "-keyout", key, "-out", certificate],
                           check=True, capture_output=True)
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with Receiver("", "--certificate", certificate, "--key", key, "--listen", "127.0.0.1",
                          "--listen-tls", "127.0.0.1") as receiver:
                with receiver.client() as client:
                    client.starttls(context=context)
                    client.ehlo()
                    self.assertFalse(client.has_extn("starttls"))
                    client.sendmail("a@example.com", ["b@example.net"], CONTENT[:20])
                with smtplib.SMTP_SSL("127.0.0.1", receiver.ports[1], context=context, timeout=WAIT_S) as client:
                    client.sendmail("a@example.com", ["b@example.net"], CONTENT[:20])
                for message in receiver.messages():
                    self.assertTrue(message["tls"]["version"].startswith("TLSv1."), message["tls"])
                self.assertEqual(len(receiver.messages()), 2)


class Rules(unittest.TestCase):
    def test_replies_by_recipient_client_and_listener(self):
        scenario = """
            [[rule]]
            stage = "rcpt"
            rcpt = "bad@*"
            action = "reply"
            reply = ["550 5.1.1 no such user", "{rcpt}"]
            [[rule]]
            stage = "mail"
            client = "127.0.0.16/28"
            action = "reply"
            reply = "451 4.7.1 {client} is slowed"
            [[rule]]
            stage = "connect"
            listen = ["127.0.0.3"]
            action = "reply"
            reply = "554 5.7.1 not here"
        """
        with Receiver(scenario, "--listen", "127.0.0.1-127.0.0.3") as receiver:
            with receiver.client("127.0.0.2") as client:
                refused = client.sendmail("a@example.com", ["BAD@example.net", "good@example.net"], CONTENT[:20])
                self.assertEqual(refused, {"BAD@example.net": (550, b"5.1.1 no such user\nBAD@example.net")})
            with receiver.client(source="127.0.0.17") as client:
                with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
                    client.sendmail("a@example.com", ["good@example.net"], CONTENT)
                self.assertEqual(caught.exception.smtp_code, 451)
                self.assertEqual(caught.exception.smtp_error, b"4.7.1 127.0.0.17 is slowed")
            with self.assertRaises(smtplib.SMTPConnectError):
                receiver.client("127.0.0.3")
            (message,) = receiver.messages()
            self.assertEqual([rcpt["address"] for rcpt in message["rcpts"]], ["good@example.net"])

    def test_greylist_rate_attempt_times_and_every(self):
        scenario = """
            [[rule]]
            stage = "rcpt"
            rcpt = "grey@*"
            greylist = "300ms"
            action = "reply"
            reply = "451 4.7.1 greylisted"
            [[rule]]
            stage = "rcpt"
            rcpt = "second@*"
            attempt = "1"
            action = "reply"
            reply = "450 4.2.1 try again"
            [[rule]]
            stage = "rcpt"
            rcpt = "rate@*"
            above_rate = "2/h"
            action = "reply"
            reply = "450 4.7.0 too fast"
            [[rule]]
            stage = "rcpt"
            rcpt = "twice@*"
            times = 2
            action = "reply"
            reply = "451 4.3.0 twice"
            [[rule]]
            stage = "rcpt"
            rcpt = "third@*"
            every = 3
            action = "reply"
            reply = "451 4.3.0 each third"
        """
        with Receiver(scenario) as receiver, receiver.client() as client:
            client.ehlo()
            client.mail("a@example.com")

            def codes(local_part, count):
                return [client.rcpt(f"{local_part}@example.net")[0] for _ in range(count)]

            self.assertEqual(codes("grey", 2), [451, 451])
            until(lambda: codes("grey", 1) == [250], "the greylist lets it pass")
            self.assertEqual(codes("second", 3), [450, 250, 250])
            self.assertEqual(codes("rate", 4), [250, 250, 450, 450])
            self.assertEqual(codes("twice", 4), [451, 451, 250, 250])
            self.assertEqual(codes("third", 6), [250, 250, 451, 250, 250, 451])

    def test_broken_ends(self):
        scenario = """
            [[rule]]
            stage = "dot"
            mail = "stored@*"
            action = "drop"
            store = true
            [[rule]]
            stage = "dot"
            mail = "lost@*"
            action = "drop"
            reset = true
            [[rule]]
            stage = "data"
            mail = "closed@*"
            action = "close"
            [[rule]]
            stage = "content"
            mail = "middle@*"
            action = "drop"
            [[rule]]
            stage = "mail"
            message = "3-"
            action = "close"
            reply = "421 4.7.0 two are enough"
        """
        with Receiver(scenario) as receiver:
            for sender in ("stored", "lost", "middle"):
                with self.subTest(sender), self.assertRaises((smtplib.SMTPServerDisconnected, ConnectionError)):
                    receiver.client().sendmail(f"{sender}@example.com", ["b@example.net"], CONTENT[:39] * 2000)
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                receiver.client().sendmail("closed@example.com", ["b@example.net"], CONTENT)
            self.assertEqual(caught.exception.smtp_code, 421)
            with receiver.client() as client:
                for _ in range(2):
                    client.sendmail("a@example.com", ["b@example.net"], CONTENT)
                with self.assertRaises(smtplib.SMTPSenderRefused):
                    client.sendmail("a@example.com", ["b@example.net"], CONTENT)
            until(lambda: sum(line["event"] == "close" for line in receiver.log()) == 5, "all connections closed")
            senders = [(message["mail_from"], message["answered"]) for message in receiver.messages()]
            self.assertEqual(senders, [("stored@example.com", False)] + [("a@example.com", True)] * 2)

    def test_half_a_reply_has_no_line_end(self):
        with Receiver('[[rule]]\nstage = "data"\naction = "half-reply"\n') as receiver:
            connection, file = receiver.raw()
            say(file, b"DATA\r\n")
            answer = file.read()
            self.assertTrue(answer.startswith(b"354"))
            self.assertNotIn(b"\n", answer)
            file.close()
            connection.close()

    def test_stalls_end_with_their_time_the_client_or_the_receiver(self):
        scenario = """
            [[rule]]
            stage = "rcpt"
            rcpt = "slow@*"
            action = "stall"
            for = "200ms"
            [[rule]]
            stage = "dot"
            action = "stall"
            for = "forever"
        """
        with Receiver(scenario) as receiver:
            for ends_by_itself in (True, False):
                connection, file = receiver.raw()
                started = time.monotonic()
                say(file, b"RCPT TO:<slow@example.net>\r\n")
                expect(file, b"250")
                self.assertGreaterEqual(time.monotonic() - started, 0.2)
                say(file, b"DATA\r\n")
                expect(file, b"354")
                say(file, b"x: y\r\n\r\n.\r\n")
                until(lambda: [line for line in receiver.log() if line["event"] == "rule"][-1]["stage"] == "dot", "stall")
                if ends_by_itself:
                    file.close()
                    connection.close()
                    until(lambda: receiver.log()[-1]["event"] == "close", "the stall ends with the client")
            # The second connection is still stalled: leaving the block proves that SIGTERM ends it.
        file.close()
        connection.close()

    def test_open_connections(self):
        scenario = """
            [[rule]]
            stage = "connect"
            open_connections = "3-"
            action = "close"
            reply = "421 4.7.0 two at once"
        """
        with Receiver(scenario) as receiver:
            clients = [receiver.client(), receiver.client()]
            with self.assertRaises(smtplib.SMTPConnectError):
                receiver.client()
            receiver.client(source="127.0.0.5").quit()
            for client in clients:
                client.quit()

    def test_announcements(self):
        scenario = '[[announce]]\nlisten = "127.0.0.2"\nwithout = ["8BITMIME", "PIPELINING"]\nwith = ["CHUNKING"]\n'
        with Receiver(scenario, "--listen", "127.0.0.1", "--listen", "127.0.0.2") as receiver:
            for host, has_8bitmime, has_chunking in (("127.0.0.1", True, False), ("127.0.0.2", False, True)):
                with receiver.client(host) as client:
                    client.ehlo()
                    self.assertEqual((client.has_extn("8bitmime"), client.has_extn("chunking")),
                                     (has_8bitmime, has_chunking))
                    code, _ = client.docmd("MAIL", "FROM:<a@example.com> BODY=8BITMIME")
                    self.assertEqual(code, 250 if has_8bitmime else 555)

    def test_sighup_reads_the_scenario_again(self):
        with Receiver() as receiver, receiver.client() as client:
            client.ehlo()

            def mail_code():
                code = client.mail("a@example.com")[0]
                client.rset()
                return code

            self.assertEqual(mail_code(), 250)
            receiver.write_scenario('[[rule]]\nstage = "mail"\naction = "reply"\nreply = "450 4.0.0 no"\n')
            receiver.process.send_signal(signal.SIGHUP)
            until(lambda: mail_code() == 450, "the new rule applies")

    def test_mistakes_in_the_scenario_are_named_with_their_place(self):
        cases = {
            '[[rule]]\nstage = "rcpt"\naction = "reply"\nreply = "no code"\n': ":4:9: reply: a reply is a code",
            '[[rule]]\nstage = "rcpt"\naction = "accept"\ncolour = 1\n': ':4:1: unknown key "colour"',
            '[[rule]]\nstage = "lunch"\naction = "accept"\n': ':2:9: stage: "lunch" is none of connect,',
            '[[rule]]\nstage = "rcpt"\n': ":1:1: a rule needs a stage and an action",
            '[[rule]]\nstage = "rcpt"\naction = "stall"\nfor = "5 parsecs"\n': ":4:7: for: ",
        }
        for scenario, problem in cases.items():
            with self.subTest(problem):
                receiver = Receiver(scenario)
                outcome = subprocess.run(receiver.command, capture_output=True, text=True, timeout=WAIT_S)
                self.assertEqual(outcome.returncode, 78)
                self.assertIn(problem, outcome.stderr)


if __name__ == "__main__":
    RECEIVER = sys.argv.pop(1)
    unittest.main(warnings="ignore")  # clients whose server hung up are left to the collector
