#!/usr/bin/python3
"""What the other side hears: the table of answers, code and enhanced code, told by a client that says exactly that."""

import base64
import time

import harness
from harness import PASSWORD, Raw

LISTENERS = """
[[listener]]
address = "127.0.0.1:{port}"
tls = "starttls"
certificate = "cert.pem"
private_key = "key.pem"
require_auth = true
trusted_networks = ["127.0.0.9"]
tenant_for_trusted = "shop"
check_recipient_domain = false
[[listener]]
address = "127.0.0.1:{tls_port}"
tls = "none"
auth_without_tls = true
require_auth = false
check_recipient_domain = false
"""
LIMITS = """
[limits]
message_size = "100KiB"
header_size = "8KiB"
recipients = 100
errors = 5
sessions_per_client = 8
auth_failures = 3
"""


def plain(user, password):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


class Conversation(harness.EndToEnd):
    """A relay with tight limits and clients for it."""

    more = LIMITS
    tenant = ""

    def setUp(self):
        super().setUp()
        self.receiver = harness.Receiver(self)
        self.relay = harness.Danki(self, {"*.test": self.receiver.next_hop}, listeners=LISTENERS, more=self.more,
                                   tenant=self.tenant)

    def client(self):
        """One from a trusted address that has said EHLO."""
        raw = Raw(self.relay.port, source="127.0.0.9")
        self.addCleanup(raw.close)
        raw.ask("EHLO client.test")
        return raw

    def stranger(self):
        raw = Raw(self.relay.port)
        self.addCleanup(raw.close)
        raw.ask("EHLO client.test")
        return raw

    def assert_answer(self, answer, code, enhanced, text=""):
        self.assertEqual(answer[0], code, answer)
        self.assertTrue(answer[1].startswith(enhanced + " "), answer)
        self.assertIn(text, answer[1])

    def content(self, octets, chunked=False, sender="<news@example.com>"):
        """The answer to a message of these octets, which include their end unless chunked."""
        client = self.client()
        self.assertEqual(client.ask(f"MAIL FROM:{sender} BODY=8BITMIME")[0], 250)
        self.assertEqual(client.ask("RCPT TO:<user@inbox.test>")[0], 250)
        if chunked:
            client.say(b"BDAT %d LAST\r\n" % len(octets) + octets)
        else:
            self.assertEqual(client.ask("DATA")[0], 354)
            client.say(octets)
        answer = client.reply()
        self.assertEqual(client.ask("NOOP")[0], 250)  # the session goes on
        client.close()
        return answer


class Answers(Conversation):
    def test_who_may_send(self):
        self.assert_answer(self.stranger().ask("MAIL FROM:<news@example.com>"), 530, "5.7.0")
        self.assert_answer(self.stranger().ask("AUTH PLAIN " + plain("shop", PASSWORD)), 530, "5.7.0")
        with Raw(self.relay.tls_port) as open_client:
            open_client.ask("EHLO client.test")
            self.assert_answer(open_client.answers("MAIL FROM:<a@elsewhere.test>", "RCPT TO:<user@inbox.test>"), 550,
                               "5.7.1")
            open_client.ask("RSET")
            self.assertEqual(open_client.ask("AUTH LOGIN"), (334, base64.b64encode(b"Username:").decode()))
            self.assertEqual(open_client.ask(base64.b64encode(b"shop"))[0], 334)
            self.assert_answer(open_client.ask(base64.b64encode(PASSWORD.encode())), 235, "2.7.0")
            self.assert_answer(open_client.answers("MAIL FROM:<news@example.com>", "RCPT TO:<user@inbox.test>"), 250,
                               "2.1.5")
        over_tls = self.stranger()
        over_tls.start_tls()
        over_tls.ask("EHLO client.test")
        self.assert_answer(over_tls.ask("MAIL FROM:<news@example.com>"), 530, "5.7.0")
        self.assert_answer(over_tls.ask("AUTH PLAIN " + plain("shop", "guess")), 535, "5.7.8")
        self.assert_answer(over_tls.ask("AUTH PLAIN " + plain("nobody", PASSWORD)), 535, "5.7.8")
        self.assert_answer(over_tls.ask("AUTH PLAIN " + plain("shop", PASSWORD)), 235, "2.7.0")
        self.assert_answer(over_tls.ask("MAIL FROM:<news@example.com>"), 250, "2.1.0")

    def test_too_many_wrong_passwords(self):
        def guess():
            client = self.stranger()
            client.start_tls()
            client.ask("EHLO client.test")
            started = time.monotonic()
            answer = client.ask("AUTH PLAIN " + plain("shop", "guess"))
            client.close()
            return answer, time.monotonic() - started

        for _ in range(3):
            self.assert_answer(guess()[0], 535, "5.7.8")
        answer, waited = guess()
        self.assertEqual(answer[0], 421, answer)
        self.assertIn("4.7.0", answer[1])
        self.assertGreater(waited, 0.2, "no delay")

    def test_reverse_path_and_from_field(self):
        self.assert_answer(self.client().ask("MAIL FROM:<news@elsewhere.test>"), 550, "5.7.1", "elsewhere.test")
        self.assert_answer(self.client().ask("MAIL FROM:<>"), 550, "5.7.1")
        end = b"\r\nhello\r\n.\r\n"
        for name, header in (("none", b"Subject: x\r\n"), ("two", b"From: a@example.com\r\nFrom: b@example.com\r\n"),
                             ("a stranger's", b"From: a@elsewhere.test\r\n"), ("empty", b"From:\r\n"),
                             ("one of two", b"From: a@example.com, b@elsewhere.test\r\n"),
                             ("no address", b"From: me\r\n"),
                             ("evil suffix", b"From: a@notexample.com\r\n")):
            with self.subTest(name):
                self.assert_answer(self.content(header + end), 550, "5.7.1")
        for header in (b"From: a@example.com\r\n", b"From: A <a@sub.example.com>, b@example.com\r\n"):
            self.assert_answer(self.content(header + end), 250, "2.0.0", "queued as ")

    def test_recipients(self):
        client = self.client()
        client.ask("MAIL FROM:<news@example.com>")
        self.assert_answer(client.ask("RCPT TO:<用戸@inbox.test>".encode()), 553, "5.6.7")
        for number in range(100):
            self.assert_answer(client.ask(f"RCPT TO:<r{number}@inbox.test>"), 250, "2.1.5")
        self.assert_answer(client.ask("RCPT TO:<one.more@inbox.test>"), 452, "4.5.3")
        self.assertEqual(client.ask("DATA")[0], 354)
        client.say(b"From: a@example.com\r\n\r\n.\r\n")
        self.assert_answer(client.reply(), 250, "2.0.0")
        self.relay.wait_event("delivered", 100)

    def test_sizes(self):
        self.assert_answer(self.client().ask("MAIL FROM:<news@example.com> SIZE=200000"), 552, "5.3.4")
        line = b"x" * 76 + b"\r\n"
        self.assert_answer(self.content(b"From: a@example.com\r\n\r\n" + line * 1500 + b".\r\n"), 552, "5.3.4")
        self.assert_answer(self.content(b"From: a@example.com\r\n\r\n" + line * 1500, chunked=True), 552, "5.3.4")
        self.assert_answer(self.content(b"From: a@example.com\r\n" + b"Y: y\r\n" * 2000 + b"\r\n.\r\n"), 552, "5.3.4")

    def test_content_that_could_be_read_in_two_ways(self):
        head = b"From: a@example.com\r\n\r\n"
        faults = {"NUL": b"a\0b\r\n", "bare CR": b"a\rb\r\n", "bare LF": b"a\nb\r\n",
                  "999 octets": b"x" * 999 + b"\r\n",
                  "smuggled with LF": b"a\n.\nMAIL FROM:<x@example.com>\r\n", "LF.CRLF": b"a\n.\r\nQUIT\r\n",
                  "CR.CR": b"a\r.\rQUIT\r\n", "CRLF.LF": b"a\r\n.\nQUIT\r\n", "CRLF.CR": b"a\r\n.\rQUIT\r\n"}
        for name, body in faults.items():
            with self.subTest(name):
                self.assert_answer(self.content(head + body + b".\r\n"), 550, "5.6.0")
                self.assert_answer(self.content(head + body, chunked=True), 550, "5.6.0")
        self.assert_answer(self.content(head + b"x" * 998 + b"\r\n." + b"." + b"y" * 997 + b"\r\n.\r\n"), 250, "2.0.0")
        self.assertEqual(len(self.relay.events("accepted")), 1)

    def test_header_lines_that_are_no_fields(self):
        for header in (b"From: a@example.com\r\nno field\r\n\r\n", b"From: a@example.com\r\nhello\r\n",
                       b"From a@example.com Mon Nov 23 05:49:39 2026\r\nFrom: a@example.com\r\n\r\n"):
            for chunked in (False, True):
                with self.subTest(header, chunked=chunked):
                    self.assert_answer(self.content(header + (b"" if chunked else b".\r\n"), chunked), 550, "5.6.0",
                                       "is no field: ")
        self.assert_answer(self.content(b"From: a@example.com\r\nSubject: a\r\n\tb\r\n.\r\n"), 250, "2.0.0")

    def test_loops(self):
        received = b"Received: from a by b; Mon, 23 Nov 2026 07:00:00 +0000\r\n"
        end = b"From: a@example.com\r\n\r\nx\r\n.\r\n"
        self.assert_answer(self.content(received * 51 + end), 554, "5.4.6")
        self.assert_answer(self.content(received * 50 + end), 250, "2.0.0")

    def test_syntax_and_order(self):
        for lines, code, enhanced in ((["MAIL FROM:<news@example.com>", "DATA"], 554, "5.5.1"),
                                      (["RCPT TO:<a@inbox.test>"], 503, "5.5.1"), (["DATA"], 503, "5.5.1"),
                                      (["MAIL FROM:<news@example.com>"] * 2, 503, "5.5.1"), (["HLEO x"], 500, "5.5.2"),
                                      (["MAIL FROM:news@example.com"], 501, "5."),
                                      (["MAIL FROM:<news@example.com> X=1"], 555, "5.5.4"),
                                      (["MAIL FROM:<news@example.com>", "RCPT TO:<no-domain>"], 501, "5."),
                                      (["NOOP " + "x" * 5000], 500, "5.5.2"), (["VRFY root"], 252, "2."),
                                      (["EXPN list"], 502, "5.5.1"),
                                      (["BDAT x"], 501, "5.5.4"), (["STARTTLS now"], 501, "5.5.4")):
            with self.subTest(lines[-1][:40]):
                client = self.client()
                code_heard, text = client.answers(*lines)
                self.assertEqual(code_heard, code, text)
                self.assertTrue(text.startswith(enhanced), text)
                client.close()
        with Raw(self.relay.port, source="127.0.0.9") as rude:
            self.assert_answer(rude.ask("MAIL FROM:<news@example.com>"), 503, "5.5.1")

    def test_too_many_errors(self):
        client = self.client()
        for _ in range(5):
            self.assert_answer(client.ask("RUBBISH"), 500, "5.5.2")
        code, text = client.ask("RUBBISH")
        self.assertEqual(code, 421)
        self.assertIn("4.7.0", text)
        self.assertTrue(client.ended())

    def test_too_many_sessions_of_one_client(self):
        clients = [Raw(self.relay.port, source="127.0.0.9") for _ in range(8)]
        with Raw(self.relay.port, source="127.0.0.9", greet=False) as crowded:
            code, text = crowded.reply()
            self.assertEqual(code, 421)
            self.assertIn("4.3.2", text)
            self.assertTrue(crowded.ended())
        for client in clients:
            self.assertEqual(client.ask("QUIT")[0], 221)
            client.close()
        harness.until(lambda: self.relay.ask("status")["sessions"] == 0, "the sessions end")
        self.assertEqual(self.client().ask("NOOP")[0], 250)

    def test_commands_sent_behind_starttls_are_discarded(self):
        with Raw(self.relay.port) as client:
            client.ask("EHLO client.test")
            client.say(b"STARTTLS\r\nEHLO injected.test\r\nNOOP\r\n")
            self.assertEqual(client.reply()[0], 220)
            client.connection = harness.careless_tls().wrap_socket(client.connection)
            client.file = client.connection.makefile("rb")
            answer = client.ask("MAIL FROM:<news@example.com>")  # the first answer is to the first command inside TLS
            self.assert_answer(answer, 503, "5.5.1", "EHLO first")
            _, extensions = client.ask("EHLO client.test")
            self.assertNotIn("STARTTLS", extensions)
            self.assertIn("AUTH PLAIN LOGIN", extensions)

    def test_ehlo_announces(self):
        with Raw(self.relay.port) as client:
            _, text = client.ask("EHLO client.test")
            self.assertEqual(set(text.split("\n")[1:]), {"STARTTLS", "PIPELINING", "8BITMIME", "SMTPUTF8",
                                                         "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "SIZE 102400"})

    def test_pipelined_commands_are_answered_in_order(self):
        client = self.client()
        client.say(b"MAIL FROM:<news@example.com>\r\nRCPT TO:<a@inbox.test>\r\nRCPT TO:<bad>\r\n"
                   b"RCPT TO:<c@inbox.test>\r\nDATA\r\n")
        self.assertEqual([client.reply()[0] for _ in range(5)], [250, 250, 501, 250, 354])
        client.say(b"From: a@example.com\r\n\r\nfirst\r\n.\r\n"
                   b"MAIL FROM:<news@example.com>\r\nRCPT TO:<d@inbox.test>\r\n"
                   b"BDAT 23\r\nFrom: a@example.com\r\n\r\nBDAT 8 LAST\r\nsecond\r\nQUIT\r\n")
        self.assertEqual([client.reply()[0] for _ in range(6)], [250, 250, 250, 250, 250, 221])
        self.assertTrue(client.ended())
        harness.until(lambda: self.receiver.recipients() == ["a@inbox.test", "c@inbox.test", "d@inbox.test"],
                      "delivery")


class Rates(Conversation):
    """A tenant with a rate, and a client that is too slow."""

    tenant = 'rate = "5/h"'
    more = '[limits]\nidle = "1s"\n'

    def test_tenant_rate(self):
        client = self.client()
        client.ask("MAIL FROM:<news@example.com>")
        for number in range(5):
            self.assertEqual(client.ask(f"RCPT TO:<r{number}@inbox.test>")[0], 250)
        self.assert_answer(client.ask("RCPT TO:<six@inbox.test>"), 451, "4.7.1", "T")
        self.assertRegex(client.ask("RCPT TO:<six@inbox.test>")[1], r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

    def test_idle(self):
        client = self.client()
        code, text = client.reply()
        self.assertEqual(code, 421)
        self.assertIn("4.4.2", text)
        self.assertTrue(client.ended())

class NoRoom(Conversation):
    more = '[limits]\ndisk_reserve = "16000GiB"\n'

    def test_disk_below_its_reserve(self):
        harness.until(lambda: self.relay.ask("status").get("refusing"),
                      "the relay sees that the disk is below its reserve")
        self.assert_answer(self.client().ask("MAIL FROM:<news@example.com>"), 452, "4.3.1")
        self.assertFalse(self.relay.ask("status")["taking_mail"])


if __name__ == "__main__":
    harness.main()
