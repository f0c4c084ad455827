#!/usr/bin/python3
"""Receivers that refuse, defer, stall or hang up: the right recipients are tried again, and nobody hears twice."""

import email
import email.policy
import time

import harness

FAST = 'transactional_retries = ["1s", "1s", "2s"]'


def rule(stage, action, **conditions):
    lines = [f'stage = "{stage}"', f'action = "{action}"']
    for name, value in conditions.items():
        text = str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'
        lines.append(f'{name.rstrip("_")} = {text}')
    return "[[rule]]\n" + "\n".join(lines) + "\n"


class Outcomes(harness.EndToEnd):
    def world(self, *rules, delivery=FAST, **options):
        self.receiver = harness.Receiver(self, "".join(rules), listen=["127.0.0.2-127.0.0.4"])
        port = self.receiver.port
        routes = {"*.test": f"127.0.0.2:{port}", "example.com": f"127.0.0.3:{port}",
                  "other.example": f"127.0.0.4:{port}"}
        self.relay = harness.Danki(self, routes, delivery=delivery, **options)
        return self.relay

    def finished(self):
        harness.until(self.relay.is_empty, lambda: f"the queue is empty: {self.relay.queued()}")

    def report(self):
        """The notification that came back to the sender, parsed."""
        (notification,) = harness.until(
            lambda: [m for m in self.receiver.messages() if m["mail_from"] == ""], "a notification")
        self.assertEqual(notification["to"], [harness.SENDER])
        self.assertEqual(notification["violations"], [])
        parsed = email.message_from_bytes(notification["content"], policy=email.policy.default)
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertEqual(parsed.get_param("report-type"), "delivery-status")
        self.assertEqual(parsed.defects, [])
        explanation, status, original = parsed.get_payload()
        self.assertEqual((explanation.get_content_type(), status.get_content_type()),
                         ("text/plain", "message/delivery-status"))
        self.assertIn(original.get_content_type(), ("message/rfc822", "text/rfc822-headers"))
        about_message, *about_recipients = status.get_payload()
        self.assertEqual(about_message["Reporting-MTA"], "dns; relay.example.com")
        return parsed, about_recipients, original

    # --- refusals ---

    def test_one_of_three_recipients_is_refused(self):
        relay = self.world(rule("rcpt", "reply", rcpt="bad@*", reply="550 5.1.1 <{rcpt}>: user unknown"))
        content = harness.message(subject="three of you")
        id_ = relay.send(["one@inbox.test", "bad@inbox.test", "three@inbox.test"], content)
        report, (recipient,), original = self.report()
        self.assertEqual(recipient["Final-Recipient"], "rfc822; bad@inbox.test")
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.1.1"))
        self.assertIn("550 5.1.1 <bad@inbox.test>: user unknown", recipient["Diagnostic-Code"])
        self.assertEqual(report["To"], harness.SENDER)
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        self.assertIn("bad@inbox.test", report.get_payload()[0].get_content())
        self.assertIn("three of you", original.as_string())
        self.finished()
        self.assertEqual(self.receiver.recipients(), [harness.SENDER, "one@inbox.test", "three@inbox.test"])
        (bounced,) = relay.wait_event("bounced")
        self.assertEqual((bounced["id"], bounced["to"], bounced["reply"]["enhanced"]), (id_, "bad@inbox.test", "5.1.1"))
        self.assertEqual(sorted(e["to"] for e in relay.wait_event("delivered", 2, id=id_)),
                         ["one@inbox.test", "three@inbox.test"])

    def test_notify_envid_and_orcpt(self):
        relay = self.world(rule("rcpt", "reply", rcpt="bad*", reply="550 5.1.1 no such user"))
        relay.send("bad1@inbox.test", rcpt_options=["NOTIFY=NEVER"])
        relay.send("bad2@inbox.test", rcpt_options=["NOTIFY=SUCCESS"])
        relay.send("bad3@inbox.test", options=["ENVID=case+2B3", "RET=FULL"],
                   rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;first@elsewhere.test"])
        relay.send("good@inbox.test", options=["ENVID=kept", "RET=HDRS"], rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
        relay.wait_event("bounced", 3)
        report, (recipient,), original = self.report()
        self.assertEqual(recipient["Original-Recipient"], "rfc822; first@elsewhere.test")
        self.assertEqual(recipient["Final-Recipient"], "rfc822; bad3@inbox.test")
        self.assertEqual(report.get_payload()[1].get_payload()[0]["Original-Envelope-Id"], "case+3")
        self.assertEqual(original.get_content_type(), "message/rfc822")
        self.assertIn("Hello.", original.as_string())
        self.finished()
        (good,) = [m for m in self.receiver.messages() if m["to"] == ["good@inbox.test"]]
        self.assertTrue({"ENVID=kept", "RET=HDRS"} <= set(good["mail_params"]), good["mail_params"])
        self.assertEqual(good["rcpts"][0]["params"], ["NOTIFY=SUCCESS,FAILURE"])

    def test_refusals_of_the_content_bounce_the_remaining_recipients(self):
        relay = self.world(rule("dot", "reply", rcpt="spam@*", reply="554 5.7.1 spam"),
                           rule("data", "reply", rcpt="nodata@*", reply="554 5.6.0 no"))
        relay.send("spam@inbox.test", rcpt_options=["NOTIFY=NEVER"])
        relay.send("nodata@inbox.test", rcpt_options=["NOTIFY=NEVER"])
        self.assertEqual({e["to"]: e["reply"]["code"] for e in relay.wait_event("bounced", 2)},
                         {"spam@inbox.test": 554, "nodata@inbox.test": 554})
        self.finished()
        self.assertEqual(self.receiver.messages(), [])

    def test_a_bounced_notification_is_not_bounced_again(self):
        relay = self.world(rule("rcpt", "reply", rcpt="bad@*", reply="550 5.1.1 no such user"),
                           rule("rcpt", "reply", rcpt=harness.SENDER, reply="550 5.1.1 you neither"))
        relay.send("bad@inbox.test")
        relay.wait_event("bounced", 2)
        self.finished()
        self.assertEqual(sorted(e["to"] for e in relay.events("bounced")), ["bad@inbox.test", harness.SENDER])
        self.assertEqual(self.receiver.messages(), [])

    def test_success_is_reported_where_the_next_host_will_not(self):  # RFC 3461 section 5.2.2
        relay = self.world('[[announce]]\nlisten = "127.0.0.2"\nwithout = ["DSN"]\n')
        relay.send("good@inbox.test", rcpt_options=["NOTIFY=SUCCESS"])
        _, (recipient,), _ = self.report()
        self.assertEqual((recipient["Final-Recipient"], recipient["Action"], recipient["Status"][:2]),
                         ("rfc822; good@inbox.test", "relayed", "2."))

    def test_dsn_as_events_only(self):
        relay = self.world(rule("rcpt", "reply", rcpt="bad@*", reply="550 5.1.1 no such user"), tenant='dsn = "event"')
        relay.send("bad@inbox.test")
        relay.wait_event("bounced")
        self.finished()
        self.assertEqual(self.receiver.messages(), [])

    # --- deferrals ---

    def test_deferred_recipients_are_retried_by_schedule_and_the_others_hear_once(self):
        relay = self.world(rule("rcpt", "reply", rcpt="later@*", attempt="1-2", reply="451 4.7.1 greylisted"))
        started = time.monotonic()
        id_ = relay.send(["now@inbox.test", "later@inbox.test"])
        relay.wait_event("deferred")
        shown = relay.ask("queue", "show", id_)
        states = {r["to"]: (r["state"], r["attempts"]) for r in shown["recipients"]}
        self.assertEqual(states["now@inbox.test"], ("delivered", 1))
        self.assertEqual(states["later@inbox.test"][0], "pending")
        relay.wait_event("delivered", 2, id=id_)
        self.assertGreater(time.monotonic() - started, 1.5, "tried again too early")
        self.finished()
        self.assertEqual(self.receiver.recipients(), ["later@inbox.test", "now@inbox.test"])
        self.assertEqual([(e["attempt"], e["reply"]["code"]) for e in relay.events("deferred")], [(1, 451), (2, 451)])
        (delivered,) = relay.events("delivered", to="later@inbox.test")
        self.assertEqual(delivered["attempt"], 3)

    def test_552_to_a_recipient_counts_as_452(self):  # RFC 5321 section 4.5.3.1.10
        relay = self.world(rule("rcpt", "reply", rcpt="many@*", attempt="1", reply="552 5.5.3 too many recipients"))
        relay.send("many@inbox.test")
        relay.wait_event("delivered")
        self.assertEqual(len(relay.events("deferred")), 1)
        self.assertEqual(relay.events("bounced"), [])

    def test_too_many_recipients_go_in_the_next_transaction(self):  # RFC 5321 section 4.5.3.1.10
        relay = self.world(rule("rcpt", "reply", rcpt="c@*", attempt="1", reply="452 4.5.3 too many recipients"),
                           rule("rcpt", "reply", rcpt="d@*", attempt="1-2", reply="452 too many recipients"),
                           rule("rcpt", "reply", rcpt="e@*", attempt="1", reply="452 4.2.2 mailbox full"))
        id_ = relay.send([f"{name}@inbox.test" for name in "abcde"])
        delivered = {e["to"][0]: e["attempt"] for e in relay.wait_event("delivered", 5, id=id_)}
        self.assertEqual(delivered, {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2})
        self.assertEqual([e["to"] for e in relay.events("deferred")], ["e@inbox.test"])
        self.finished()
        self.assertEqual([m["to"] for m in self.receiver.messages()],
                         [[f"{name}@inbox.test" for name in names] for names in ("ab", "c", "d", "e")])

    def test_5xx_to_mail_defers(self):
        relay = self.world(rule("mail", "reply", times=1, reply="550 5.7.1 your address is not welcome"))
        relay.send()
        relay.wait_event("delivered")
        self.assertEqual([e["reply"]["code"] for e in relay.events("deferred")], [550])
        self.assertEqual(relay.events("bounced"), [])

    def test_expiry(self):
        relay = self.world(rule("rcpt", "reply", rcpt="full@*", reply="452 4.2.2 mailbox full"),
                           delivery=FAST + '\ntransactional_expiry = "4s"')
        relay.send(["full@inbox.test", "fine@inbox.test"])
        _, (recipient,), _ = self.report()
        self.assertEqual(recipient["Final-Recipient"], "rfc822; full@inbox.test")
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.4.7"))
        self.assertIn("452 4.2.2 mailbox full", recipient["Diagnostic-Code"])
        (expired,) = relay.wait_event("expired")
        self.assertEqual(expired["to"], "full@inbox.test")
        self.finished()
        self.assertEqual(self.receiver.recipients(), ["fine@inbox.test", harness.SENDER])

    # --- trouble of the path ---

    def side_by_side(self, cases):
        """One relay, and for each case an address of the receiver with a rule and a domain: {domain: name}."""
        self.receiver = harness.Receiver(self, "".join(
            rule(stage, action, listen=f"127.0.0.{number + 2}", **more)
            for number, (_, stage, action, more) in enumerate(cases)), listen=["127.0.0.2-127.0.0.20"])
        port = self.receiver.port
        self.relay = harness.Danki(self,
                                   {f"d{number}.test": f"127.0.0.{number + 2}:{port}" for number in range(len(cases))},
                                   delivery=FAST)
        return {f"d{number}.test": case[0] for number, case in enumerate(cases)}

    def test_a_refusal_at_the_banner_bounces_nothing_and_costs_no_attempt(self):
        domains = self.side_by_side([("554 banner", "connect", "close", {"reply": "554 5.7.1 blocked"}),
                                     ("421 banner", "connect", "close", {"reply": "421 4.3.2 busy"}),
                                     ("silent close", "connect", "drop", {}),
                                     ("half a banner", "connect", "half-reply", {}),
                                     ("550 EHLO and HELO", "ehlo", "close", {"reply": "550 5.7.1 no"}),
                                     ("421 to MAIL", "mail", "close", {"reply": "421 4.7.0 too many"})])
        ids = {domain: self.relay.send(f"user@{domain}") for domain in domains}
        for domain, name in domains.items():
            with self.subTest(name):
                self.relay.wait_event("path_state", site=f"127.0.0.{int(domain[1]) + 2}:{self.receiver.port}")
                (recipient,) = self.relay.ask("queue", "show", ids[domain])["recipients"]
                self.assertEqual((recipient["state"], recipient["attempts"]), ("pending", 0))
        self.assertEqual(self.relay.events("deferred") + self.relay.events("bounced"), [])
        self.receiver.change("")
        for delivered in self.relay.wait_event("delivered", len(domains)):
            self.assertEqual(delivered["attempt"], 1)
        self.assertEqual(self.receiver.recipients(), sorted(f"user@{domain}" for domain in domains))

    def test_connections_that_break_in_the_middle(self):
        """Nothing was accepted: each message arrives once in the end."""
        closing = {"times": 1, "reply": "421 4.3.2 going down"}
        domains = self.side_by_side([("421 to DATA", "data", "close", closing),
                                     ("421 to RCPT", "rcpt", "close", closing),
                                     ("421 to the dot", "dot", "close", closing),
                                     ("closed at RCPT", "rcpt", "drop", {"times": 1}),
                                     ("closed in the content", "content", "drop", {"times": 1}),
                                     ("reset in the content", "content", "drop", {"times": 1, "reset": True}),
                                     ("closed after the dot", "dot", "drop", {"times": 1}),
                                     ("half a reply to RCPT", "rcpt", "half-reply", {"times": 1}),
                                     ("half a reply to DATA", "data", "half-reply", {"times": 1}),
                                     ("half a reply to the dot", "dot", "half-reply", {"times": 1})])
        content = harness.message(body=b"line of content\r\n" * 3000)
        for domain in domains:
            self.relay.send([f"{name}@{domain}" for name in "abc"], content)
        self.relay.wait_event("delivered", 3 * len(domains), seconds=40)
        self.finished()
        arrived = self.receiver.recipients()
        for domain, name in domains.items():
            with self.subTest(name):
                self.assertEqual([to for to in arrived if to.endswith("@" + domain)], [f"{n}@{domain}" for n in "abc"])
        self.assertEqual(self.relay.events("bounced"), [])

    def test_a_lost_250_repeats_only_that_message(self):
        """What the receiver stored without our hearing of it is sent again (RFC 5321 section 4.5.3.2.6)."""
        relay = self.world(rule("dot", "drop", rcpt="lost@*", times=1, store=True))
        relay.send("fine@inbox.test")
        relay.send("lost@inbox.test")
        relay.wait_event("delivered", 2)
        self.finished()
        self.assertEqual(self.receiver.recipients(), ["fine@inbox.test", "lost@inbox.test", "lost@inbox.test"])
        (deferred,) = relay.events("deferred")
        self.assertEqual((deferred["to"], deferred.get("reply")), ("lost@inbox.test", None))
        self.assertIn("final dot", deferred["reason"])

    def test_a_connection_that_breaks_after_the_250_repeats_nothing(self):
        relay = self.world(rule("done", "drop", reset=True))
        for number in range(20):
            relay.send(f"n{number}@inbox.test")
        relay.wait_event("delivered", 20)
        self.finished()
        self.assertEqual(len(self.receiver.recipients()), 20)
        self.assertEqual(len(set(self.receiver.recipients())), 20)
        self.assertEqual(relay.events("deferred"), [])

    def test_a_stall_holds_up_nobody_else(self):
        relay = self.world(rule("dot", "stall", rcpt="slow@*", times=1, for_="4s"))
        relay.send("slow@inbox.test")
        started = time.monotonic()
        for number in range(10):
            relay.send(f"n{number}@inbox.test")
            relay.send(f"n{number}@other.example")
        harness.until(lambda: len(self.receiver.recipients()) == 20, "the others arrive")
        self.assertLess(time.monotonic() - started, 4)
        relay.wait_event("delivered", 21)
        self.assertEqual(len(self.receiver.recipients()), 21)

    def test_receivers_with_few_extensions_get_the_same_octets(self):
        few = '[[announce]]\nlisten = "{}"\nwithout = [{}]\nwith = [{}]\n'
        relay = self.world(few.format("127.0.0.2", '"PIPELINING", "SIZE", "DSN", "ENHANCEDSTATUSCODES"', ""),
                           rule("ehlo", "reply", listen="127.0.0.3", reply="502 5.5.1 what is EHLO?"),
                           few.format("127.0.0.4", "", '"CHUNKING"'))
        content = harness.message(body=b"dots\r\n.\r\n..\r\n" * 500)
        for recipient in ("a@inbox.test", "b@example.com", "c@other.example"):
            relay.send([recipient, "x" + recipient], content, options=[f"SIZE={len(content)}", "RET=HDRS"])
        for message in self.receiver.wait(3):
            self.assertEqual(message["violations"], [])
            self.assert_arrived_unchanged(message["content"], content)
        self.assertEqual(len(self.receiver.recipients()), 6)

    def test_connections_are_used_again_as_often_as_allowed(self):
        relay = self.world(shaping="connections = 1\nmessages_per_connection = 4")
        for number in range(12):
            relay.send(f"n{number}@inbox.test")
        messages = self.receiver.wait(12)
        self.assertEqual(max(message["message_on_connection"] for message in messages), 4)
        self.assertGreaterEqual(len({message["connection"] for message in messages}), 3)

    def test_tls_that_fails_is_left_out_unless_it_is_required(self):
        cert, key = harness.certificate()
        (self.folder / "mx.pem").write_text(cert)
        (self.folder / "mx.key").write_text(key)
        self.receiver = harness.Receiver(
            self, rule("starttls", "reply", listen="127.0.0.3", reply="454 4.7.0 no TLS now") +
            rule("starttls", "drop", listen="127.0.0.4"), listen=["127.0.0.2-127.0.0.5"],
            options=["--certificate", self.folder / "mx.pem", "--key", self.folder / "mx.key"])
        routes = {f"d{n}.test": f"127.0.0.{n}:{self.receiver.port}" for n in (2, 3, 4, 5)}
        relay = harness.Danki(self, routes, delivery=FAST, more='[[shaping]]\ndomain = "d5.test"\ntls = "require"\n')
        for number in (2, 3, 4, 5):
            relay.send(f"a@d{number}.test")
        relay.wait_event("delivered", 3)
        versions = {m["to"][0]: (m["tls"] or {}).get("version") for m in self.receiver.messages()}
        self.assertEqual(versions, {"a@d2.test": "TLSv1.3", "a@d3.test": None, "a@d4.test": None})
        harness.until(lambda: [e for e in relay.events("path_state") if e["site"].startswith("127.0.0.5")],
                      "the certificate that nobody signed is not believed")
        self.assertEqual([m["to"] for m in relay.queued()], ["a@d5.test"])

    def test_a_receiver_that_is_not_there_yet(self):
        port = harness.free_port("127.0.0.2")
        relay = harness.Danki(self, {"*": f"127.0.0.2:{port}"}, delivery=FAST)
        id_ = relay.send()
        relay.wait_event("path_state")
        self.assertEqual(relay.ask("queue", "show", id_)["recipients"][0]["attempts"], 0)
        self.receiver = harness.Receiver(self, port=port)
        relay.danki("queue", "retry", "--all")
        relay.wait_event("delivered")
        self.assertEqual(self.receiver.recipients(), ["user@inbox.test"])


if __name__ == "__main__":
    harness.main()
