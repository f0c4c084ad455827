#!/usr/bin/python3
"""dankid delivers to servers that nobody here wrote: what they store is what was submitted, byte for byte."""

import re

import harness
import nasty
import peers


class Receivers(harness.EndToEnd):
    def deliver_table(self, peer):
        """Each nasty message, submitted and stored; matched by a recipient of its own."""
        relay = harness.Danki(self, {"*.test": f"127.0.0.1:{peer.port}"}, sign=True)
        table = nasty.table()
        for number, (_, options, content) in enumerate(table):
            relay.send(f"n{number}@inbox.test", content, options=options)
        stored = peer.mail.wait(len(table))
        relay.wait_event("delivered", len(table))
        self.assertEqual(len(peer.mail.messages()), len(table), "delivered twice")
        for number, (name, _, content) in enumerate(table):
            with self.subTest(name):
                (arrived,) = [text for text in stored if b"for <n%d@inbox.test>" % number in text]
                if peer.ends_the_header and b"\r\n\r\n" not in content:
                    content += b"\r\n"
                self.assert_arrived_unchanged(arrived, content, leading=peer.ADDED)
        for delivered in relay.events("delivered"):
            self.assertEqual((delivered["reply"]["code"], delivered["tls"]["version"]), (250, "TLSv1.3"), delivered)
        harness.until(relay.is_empty, "the queue is empty")
        self.assertEqual(len(relay.events("delivered")), len(table))
        return relay, stored

    def test_postfix_stores_what_was_submitted(self):
        _, stored = self.deliver_table(peers.Postfix(self))
        for text in stored:
            self.assertRegex(text, rb"Received: from out01\.example\.com [^;]*\r\n\t\(using TLSv1\.3 ")
            self.assertIn(b"Return-Path: <news@example.com>", text)

    def test_exim_stores_what_was_submitted(self):
        _, stored = self.deliver_table(peers.Exim(self))
        for text in stored:
            self.assertRegex(text, rb"Received: from [^;]*out01\.example\.com[^;]*\(TLS1\.3\)")

    def test_many_recipients_at_each_server(self):
        for peer in (peers.Postfix(self), peers.Exim(self)):
            name = type(peer).__name__
            with self.subTest(name):
                relay = harness.Danki(self, {"*.test": f"127.0.0.1:{peer.port}"}, name=f"dankid-to-{name}")
                recipients = [f"r{number}@inbox.test" for number in range(40)]
                relay.send(recipients)
                self.assertEqual(sorted(e["to"] for e in relay.wait_event("delivered", 40)), sorted(recipients))
                harness.until(relay.is_empty, "the queue is empty")
                self.assertEqual(relay.events("deferred"), [])

    def test_a_recipient_that_postfix_refuses_bounces_and_the_others_arrive(self):
        peer = peers.Postfix(self)
        relay = harness.Danki(self, {"*": f"127.0.0.1:{peer.port}"})
        relay.send(["good@inbox.test", "unknown@inbox.test", "better@inbox.test"])
        (bounced,) = relay.wait_event("bounced")
        self.assertEqual((bounced["to"], bounced["reply"]["code"], bounced["reply"]["enhanced"]),
                         ("unknown@inbox.test", 550, "5.1.1"))
        stored = peer.mail.wait(3)
        self.assertEqual(len(stored), 3)
        (report,) = [text for text in stored if b"for <news@example.com>" in text]
        self.assertIn(b"Return-Path: <>\r\n", report)
        self.assertRegex(report, rb"Diagnostic-Code: smtp; 550 5\.1\.1 <unknown@inbox\.test>")
        harness.until(relay.is_empty, "the queue is empty")

    def test_a_server_that_relays_on_keeps_the_content(self):
        final = harness.Receiver(self)
        middle = peers.Postfix(self, next_hop=f"[127.0.0.2]:{final.port}")
        relay = harness.Danki(self, {"*.test": f"127.0.0.1:{middle.port}"}, sign=True)
        table = nasty.table()
        for number, (_, options, content) in enumerate(table):
            relay.send(f"n{number}@inbox.test", content, options=options)
        by_recipient = {message["to"][0]: message["content"] for message in final.wait(len(table))}
        for number, (name, _, content) in enumerate(table):
            with self.subTest(name):
                arrived = by_recipient[f"n{number}@inbox.test"]
                self.assert_arrived_unchanged(arrived, content)
                self.assertTrue(re.match(rb"Received: from out01\.example\.com", arrived))


if __name__ == "__main__":
    peers.become_root()
    harness.main()
