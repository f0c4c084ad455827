#!/usr/bin/python3
"""Clients that nobody here wrote hand mail to dankid: swaks, Python's smtplib, nodemailer."""

import email
import email.policy
import json
import os
import smtplib

import harness
import nasty
from harness import PASSWORD, SENDER, careless_tls

LISTENERS = """
[[listener]]
address = "127.0.0.1:{port}"
tls = "starttls"
certificate = "cert.pem"
private_key = "key.pem"
check_recipient_domain = false
[[listener]]
address = "127.0.0.1:{tls_port}"
tls = "implicit"
certificate = "cert.pem"
private_key = "key.pem"
check_recipient_domain = false
"""


class Senders(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.receiver = harness.Receiver(self)
        self.relay = harness.Danki(self, {"*.test": self.receiver.next_hop}, listeners=LISTENERS, sign=True)

    def swaks(self, *options, status=0):
        done = harness.run("swaks", "--server", "127.0.0.1", "--ehlo", "client.test", "--from", SENDER,
                           "--timeout", "20",
                           *options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def arrived(self, count):
        messages = self.receiver.wait(count)
        for message in messages:
            self.assertEqual(message["violations"], [])
        return messages

    def test_swaks_authenticates_by_each_mechanism_over_starttls_and_implicit_tls(self):
        password = ["--auth-user", "shop", "--auth-password", PASSWORD]
        count = 0
        for mechanism in ("PLAIN", "LOGIN"):
            for tls in (["--port", self.relay.port, "--tls"], ["--port", self.relay.tls_port, "--tls-on-connect"]):
                for pipeline in ([], ["--pipeline"]):
                    with self.subTest(mechanism=mechanism, tls=tls[2], pipeline=pipeline):
                        count += 1
                        said = self.swaks("--auth", mechanism, *password, *tls, *pipeline, "--to",
                                          f"n{count}@inbox.test",
                                          "--header", f"Subject: swaks {count}", "--body", "one\n.two\n")
                        self.assertIn("250 2.0.0 queued as ", said)
        messages = self.arrived(count)
        self.assertEqual(sorted(m["to"][0] for m in messages), sorted(f"n{n + 1}@inbox.test" for n in range(count)))
        for message in messages:
            parsed = email.message_from_bytes(message["content"], policy=email.policy.default)
            self.assertIn("with ESMTPSA id", parsed["Received"])
            self.assertEqual(parsed.get_content().splitlines()[:2], ["one", ".two"])

    def test_swaks_with_a_wrong_password_or_without_one_is_refused(self):
        self.assertIn("535 5.7.8",
                      self.swaks("--port", self.relay.port, "--tls", "--auth", "PLAIN", "--auth-user", "shop",
                                              "--auth-password", "guess", "--to", "a@inbox.test", status=28))
        self.assertIn("530 5.7.0", self.swaks("--port", self.relay.port, "--tls", "--to", "a@inbox.test", status=23))
        self.assertIn("530 5.7.0", self.swaks("--port", self.relay.port, "--to", "a@inbox.test", status=23))
        self.assertEqual(self.receiver.messages(), [])

    def test_swaks_in_chunks_of_recipients_and_with_an_attachment(self):
        file = self.folder / "attached.bin"
        file.write_bytes(os.urandom(400_000))
        recipients = ",".join(f"r{n}@inbox.test" for n in range(60))
        self.swaks("--port", self.relay.port, "--tls", "--auth", "PLAIN", "--auth-user", "shop", "--auth-password",
                   PASSWORD, "--pipeline", "--to", recipients, "--attach", f"@{file}")
        harness.until(lambda: len(self.receiver.recipients()) == 60, "60 recipients")
        self.assertEqual(self.receiver.recipients(), sorted(recipients.split(",")))
        for part in email.message_from_bytes(self.receiver.messages()[0]["content"]).walk():
            if part.get_filename():
                self.assertEqual(part.get_payload(decode=True), file.read_bytes())

    def test_smtplib_sends_every_kind_of_content(self):
        table = nasty.table()
        with smtplib.SMTP("127.0.0.1", self.relay.port, timeout=harness.WAIT_S) as client:
            client.starttls(context=careless_tls())
            client.login("shop", PASSWORD)
            for number, (_, options, content) in enumerate(table):
                client.sendmail(SENDER, [f"n{number}@inbox.test"], content, options)
        with smtplib.SMTP_SSL("127.0.0.1", self.relay.tls_port, context=careless_tls(),
                              timeout=harness.WAIT_S) as client:
            client.login("shop", PASSWORD)
            client.sendmail(SENDER, ["last@inbox.test"], table[0][2])
        by_recipient = {message["to"][0]: message for message in self.arrived(len(table) + 1)}
        for number, (name, options, content) in enumerate(table):
            with self.subTest(name):
                arrived = by_recipient[f"n{number}@inbox.test"]
                self.assert_arrived_unchanged(arrived["content"], content)
                self.assertIn("DKIM-Signature", arrived["content"].decode("latin-1"))

    def test_smtplib_sends_to_an_internationalised_address(self):
        content = ("From: 暖気 <news@example.com>\r\nTo: 用戸@inbox.test\r\nSubject: ご注文\r\n"
                   "Date: Mon, 23 Nov 2026 07:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nこんにちは\r\n").encode()
        with smtplib.SMTP_SSL("127.0.0.1", self.relay.tls_port, context=careless_tls(),
                              timeout=harness.WAIT_S) as client:
            client.login("shop", PASSWORD)
            client.sendmail(SENDER, ["用戸@inbox.test"], content, ["SMTPUTF8", "BODY=8BITMIME"])
        (arrived,) = self.arrived(1)
        self.assertEqual(arrived["to"], ["用戸@inbox.test"])
        self.assertIn("SMTPUTF8", arrived["mail_params"])
        self.assertIn(b"with UTF8SMTPSA id", arrived["content"])
        self.assert_arrived_unchanged(arrived["content"], content)

    def test_nodemailer_over_starttls_and_implicit_tls(self):
        modules = harness.tool("fetch-nodemailer.sh", "nodemailer") / "node_modules"
        script = harness.REPOSITORY / "tests/e2e/send_nodemailer.js"
        for tls, port in (("starttls", self.relay.port), ("implicit", self.relay.tls_port)):
            answer = json.loads(harness.must("node", script, port, "shop", PASSWORD, tls,
                                             env={**os.environ, "NODE_PATH": str(modules)}))
            self.assertRegex(answer["response"], r"^250 2\.0\.0 queued as \S+$")
            self.assertEqual(answer["accepted"], ["first@inbox.test", "second@inbox.test"])
        for message in self.arrived(2):
            self.assertEqual(message["to"], ["first@inbox.test", "second@inbox.test"])
            parsed = email.message_from_bytes(message["content"], policy=email.policy.default)
            self.assertRegex(parsed["Subject"], "^ご注文 (starttls|implicit)$")
            self.assertEqual(parsed.get_body(("plain",)).get_content(), "お客様へ\n.dot\n")
            (attachment,) = parsed.iter_attachments()
            self.assertEqual(attachment.get_content(), b"\7" * 300_000)
            self.assertEqual(attachment.get_filename(), "請求書.pdf")


if __name__ == "__main__":
    harness.main()
