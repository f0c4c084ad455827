#!/usr/bin/python3
"""What an operator does: reload, stop and start again, look into the queue, read the events, check a file."""

import datetime
import signal
import socket
import threading
import time

import harness

DEFER = '[[rule]]\nstage = "rcpt"\naction = "reply"\nreply = "451 4.7.1 not now"\n'
FIELDS = {"event_id", "ts", "event", "id", "tenant", "class", "campaign", "from", "to", "size", "site", "provider",
          "source", "source_ip", "pool", "mx", "mx_ip", "attempt", "reply", "reply_class", "tls", "queued_ms",
          "delivery_ms", "session", "reason", "evidence"}


class Reload(harness.EndToEnd):
    def test_a_good_file_takes_effect_and_a_session_survives(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        with harness.Raw(relay.port) as client:
            client.answers("EHLO client.test", "MAIL FROM:<news@example.com>")
            relay.config.write_text(relay.text.replace('"*.test"', '"*"').replace(
                'domains = ["example.com"', 'domains = ["example.org", "example.com"'))
            self.assertIn("configuration reloaded", relay.reload())
            self.assertEqual(client.ask("RCPT TO:<user@inbox.test>")[0], 250)
            self.assertEqual(client.ask("DATA")[0], 354)
            client.say(harness.message() + b".\r\n")
            self.assertEqual(client.reply()[0], 250)
            self.assertEqual(client.ask("MAIL FROM:<news@example.org>")[0], 250)  # the new tenant's domain
        relay.send("user@routed.example")  # the new route
        self.assertEqual(len(receiver.wait(2)), 2)
        relay.wait_event("config", reason="reloaded")

    def test_a_bad_file_leaves_the_old_one_active_and_says_so(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        relay.config.write_text(relay.text.replace('class = "transactional"', 'class = "fast"'))
        said = relay.reload()
        self.assertIn("error reload refused; the old configuration stays active", said)
        line = relay.text[:relay.text.index('class = "tr')].count("\n") + 1
        self.assertIn(f"danki.toml:{line}:9", said)
        self.assertIn("reload refused", relay.wait_event("config")[-1]["reason"])
        self.assertIn(f"danki.toml:{line}:9", relay.danki("reload", status=78))
        relay.send()
        receiver.wait(1)
        relay.config.write_text(relay.text)
        relay.danki("reload")
        relay.send()
        receiver.wait(2)

    def test_each_problem_is_a_line_of_its_own_and_whole(self):
        relay = harness.Danki(self)
        many = "".join(f'[[tenant]]\nname = "t{n}"\npool = "missing{n}"\ndomains = ["example.com"]\n' for n in range(9))
        relay.config.write_text(relay.text + many + "[limits]\nunheard_of = 1\n")
        said = relay.reload().splitlines()
        for n in range(9):
            self.assertEqual(len([line for line in said if f'there is no [[pool]] named \\"missing{n}\\"' in line]), 1)
        (unknown,) = [line for line in said if "unheard_of" in line]
        self.assertIn("unrecorded_outcomes", unknown)  # the last of the keys that are allowed
        self.assertIn("problems=10", said[-1])

    def test_the_log_file_can_be_rotated(self):
        relay = harness.Danki(self, more='[log]\nfile = "own.log"\n', start=False)
        log, moved = relay.folder / "own.log", relay.folder / "own.log.1"
        relay.log_text = lambda: log.read_text() if log.exists() else ""
        process = harness.Process(self, "dankid", [harness.bin_dir / "dankid", "--config", relay.config])
        relay.process = process
        harness.until(lambda: " info started " in relay.log_text(), "dankid starts")
        log.rename(moved)
        process.signal(signal.SIGHUP)
        harness.until(lambda: "configuration reloaded" in relay.log_text(), "the new file is written")
        self.assertNotIn("reloaded", moved.read_text())
        self.assertEqual(relay.stop(), 0)
        self.assertIn("info stopped", relay.log_text())

    def test_a_listener_comes_and_goes(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        with harness.Raw(relay.port) as client:
            relay.config.write_text(relay.text.replace(f"127.0.0.1:{relay.port}", f"127.0.0.1:{relay.tls_port}"))
            relay.reload()
            self.assertEqual(client.ask("NOOP")[0], 250)
        with harness.Raw(relay.tls_port) as client:
            self.assertEqual(client.ask("NOOP")[0], 250)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", relay.port), timeout=5)


class StopAndStart(harness.EndToEnd):
    def test_sigterm_in_the_middle_of_mail(self):
        """Nothing that was acknowledged is lost; what was delivered is not delivered again."""
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, shaping="connections = 2")
        acknowledged, stopped = [], threading.Event()

        def send(worker):
            for number in range(100_000):
                recipient = f"w{worker}n{number}@inbox.test"
                try:
                    relay.send(recipient)
                    acknowledged.append(recipient)
                except (OSError, AssertionError):  # smtplib's errors are OSErrors
                    if stopped.is_set():
                        return
                    raise

        workers = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        for worker in workers:
            worker.start()
        harness.until(lambda: len(acknowledged) > 60, "mail flows")
        stopped.set()
        started = time.monotonic()
        self.assertEqual(relay.stop(), 0, relay.log_text())
        self.assertLess(time.monotonic() - started, 8)  # shutdown_grace is 5 s
        for worker in workers:
            worker.join()
        relay.start()
        harness.until(relay.is_empty, "the queue is empty")
        arrived = receiver.recipients()
        self.assertEqual(len(arrived), len(set(arrived)), "delivered twice")
        self.assertEqual(set(acknowledged) - set(arrived), set())
        # A message whose 250 the stop kept from the client may be there as well, one for each worker.
        self.assertLessEqual(len(arrived) - len(acknowledged), len(workers))

    def test_sigterm_tells_sessions_and_takes_no_new_ones(self):
        relay = harness.Danki(self)
        with harness.Raw(relay.port) as idle, harness.Raw(relay.port) as sending:
            sending.answers("EHLO client.test", "MAIL FROM:<news@example.com>")
            relay.process.signal(signal.SIGTERM)
            for client in (idle, sending):
                code, text = client.reply()
                self.assertEqual(code, 421)
                self.assertIn("4.3.2", text)
                self.assertTrue(client.ended())
        self.assertEqual(relay.stop(), 0)
        self.assertIn("info stopped", relay.log_text())

    def test_a_transaction_past_its_final_dot_gets_the_grace(self):
        receiver = harness.Receiver(self, '[[rule]]\nstage = "dot"\naction = "stall"\nfor = "1500ms"\n')
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        relay.send()
        harness.until(lambda: [e for e in receiver.log() if e["event"] == "rule"], "the receiver stalls")
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(len(relay.events("delivered")), 1)
        relay.start()
        self.assertTrue(relay.is_empty())
        self.assertEqual(len(receiver.messages()), 1)

    def test_a_stop_waits_no_longer_than_the_grace(self):
        receiver = harness.Receiver(self, '[[rule]]\nstage = "dot"\naction = "stall"\n')
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        relay.config.write_text(relay.text.replace('shutdown_grace = "5s"', 'shutdown_grace = "1s"'))
        relay.reload()
        id_ = relay.send()
        harness.until(lambda: [e for e in receiver.log() if e["event"] == "rule"], "the receiver stalls")
        started = time.monotonic()
        self.assertEqual(relay.stop(), 0)
        self.assertLess(time.monotonic() - started, 5)
        relay.start()
        self.assertEqual(relay.ask("queue", "show", id_)["id"], id_)

    def test_a_restart_keeps_due_times_attempts_and_content(self):
        receiver = harness.Receiver(self, DEFER)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, sign=True)
        ids = [relay.send([f"a{n}@inbox.test", f"b{n}@other.test"]) for n in range(5)]
        relay.wait_event("deferred", 10)
        harness.until(lambda: all(m["attempts"] == 1 for m in relay.queued()), "the deferrals are recorded")

        def shown():
            """Without the sites: after a restart they are looked up when mail is due."""
            messages = [relay.ask("queue", "show", id_) for id_ in ids]
            for message in messages:
                for recipient in message["recipients"]:
                    recipient.pop("site", None)
            return messages

        before = shown()
        contents = [relay.danki("queue", "show", id_, "--raw") for id_ in ids]
        due = before[0]["recipients"][0]["next_attempt_at"]
        self.assertGreater(due, datetime.datetime.now(datetime.timezone.utc).isoformat())
        self.assertEqual(relay.stop(), 0)
        relay.start()
        self.assertEqual(shown(), before)
        self.assertEqual([relay.danki("queue", "show", id_, "--raw") for id_ in ids], contents)
        self.assertEqual(len(relay.events("deferred")), 10)  # a restart makes nothing due

    def test_two_daemons_do_not_share_a_spool(self):
        relay = harness.Danki(self)
        second = relay.folder / "second.toml"
        second.write_text(relay.text.replace(f"127.0.0.1:{relay.port}", f"127.0.0.1:{relay.tls_port}"))
        events = relay.folder / "data" / "events"

        def event_files():
            return {file.name: file.read_bytes() for file in events.iterdir()}

        stray = events / "events-20200101T000000.000Z.log"  # a start that goes on would compress or remove it
        stray.write_text("{}\n")
        before = event_files()
        done = harness.run(harness.bin_dir / "dankid", "--config", second)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"another dankid (pid {relay.process.pid}) works in ", done.stderr)
        self.assertEqual(event_files(), before)
        self.assertEqual(relay.ask("status")["queued"], 0)


class Command(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.receiver = harness.Receiver(self, DEFER)
        self.relay = harness.Danki(self, {"*.test": self.receiver.next_hop})

    def test_status_and_queue(self):
        content = harness.message(subject="look at me")
        first = self.relay.send(["a@inbox.test", "b@inbox.test", "c@other.test"], content)
        second = self.relay.send("d@other.test")
        self.relay.wait_event("deferred", 4)
        harness.until(lambda: all(m["attempts"] for m in self.relay.queued()), "the deferrals are recorded")

        status = self.relay.ask("status")
        self.assertEqual((status["messages"], status["recipients"], status["deferred"]), (2, 4, 4))
        self.assertEqual(status["listeners"], [f"127.0.0.1:{self.relay.port}"])
        self.assertEqual([(s["name"], s["address"], s["state"]) for s in status["sources"]],
                         [("out01", "127.0.0.1", "active")])
        self.assertIn("out01", self.relay.danki("status"))

        (site,) = self.relay.ask("queue")["sites"]
        self.assertEqual((site["site"], site["transactional"], site["bulk"]), (self.receiver.next_hop, 3, 0))
        self.assertIn("451 4.7.1 not now", site["last_reply"])
        self.assertIn(self.receiver.next_hop, self.relay.danki("queue"))

        listed = {(m["id"], m["domain"]): m for m in self.relay.queued()}
        self.assertEqual(set(listed), {(first, "inbox.test"), (first, "other.test"), (second, "other.test")})
        entry = listed[first, "inbox.test"]
        self.assertEqual((entry["recipients"], entry["attempts"], entry["tenant"]), (2, 1, "shop"))
        self.assertEqual(entry["last_reply"], {"code": 451, "enhanced": "4.7.1", "text": "not now"})
        self.assertEqual(len(self.relay.ask("queue", "list", "--domain", "inbox.test")["messages"]), 1)
        self.assertEqual(len(self.relay.ask("queue", "list", "--id", second)["messages"]), 1)
        self.assertIn(second, self.relay.danki("queue", "list"))

        shown = self.relay.ask("queue", "show", first)
        self.assertEqual([r["to"] for r in shown["recipients"]], ["a@inbox.test", "b@inbox.test", "c@other.test"])
        self.assertEqual({r["last_source"] for r in shown["recipients"]}, {"out01"})
        self.assertIn("a@inbox.test", self.relay.danki("queue", "show", first))
        raw = harness.run(harness.bin_dir / "danki", "--socket", self.relay.folder / "admin.sock", "queue", "show",
                          first, "--raw", text=False).stdout
        self.assert_arrived_unchanged(raw, content)
        self.assertIn("no message 01hf3r8t0gw00 in the queue",
                      self.relay.danki("queue", "show", "01hf3r8t0gw00", status=65))

    def test_retry(self):
        self.relay.send("a@inbox.test")
        self.relay.send("b@other.test")
        self.relay.wait_event("deferred", 2)
        harness.until(lambda: all(m["attempts"] for m in self.relay.queued()), "the deferrals are recorded")
        self.receiver.change("")
        self.assertEqual(self.relay.ask("queue", "retry", "--domain", "other.test")["matched"], 1)
        self.assertEqual([m["to"] for m in self.receiver.wait(1)], [["b@other.test"]])
        harness.until(lambda: len(self.relay.queued()) == 1, "the delivery is recorded")
        self.assertEqual(self.relay.ask("queue", "retry", "--all")["matched"], 1)
        self.receiver.wait(2)
        harness.until(self.relay.is_empty, "the queue is empty")
        self.assertEqual(self.relay.danki("queue", "list"), "The queue is empty.\n")

    def test_without_a_daemon(self):
        self.relay.stop()
        self.assertIn("admin.sock", self.relay.danki("status", status=69))


class Check(harness.EndToEnd):
    def test_mistakes_are_named_with_their_place(self):
        relay = harness.Danki(self, {"*.test": "127.0.0.2:2526"}, start=False)
        text = relay.text
        good = relay.check()
        self.assertEqual((good.returncode, good.stderr), (0, ""))
        self.assertIn("checked.toml: ok", good.stdout)
        mistakes = [('hostname = "relay.example.com"', 'hostname = "relay example"', "node.hostname"),
                    ('hostname = "relay.example.com"', 'hostnam = "relay.example.com"', "hostnam"),
                    ('class = "transactional"', 'class = "fast"', "tenant.class"),
                    ('pool = "main"', 'pool = "other"', "tenant.pool"),
                    ('sources = ["out01"]', 'sources = ["out01", "out99"]', "out99"),
                    ('address = "127.0.0.1"', 'address = "127.0.0.256"', "source.address"),
                    ("connections = 5", "connections = -5", "shaping.connections"),
                    ("connections = 5", 'connections = "many"', "shaping.connections"),
                    ('shutdown_grace = "5s"', 'shutdown_grace = "5 parsecs"', "delivery.shutdown_grace"),
                    ('shutdown_grace = "5s"', "shutdown_grace = 5", "delivery.shutdown_grace"),
                    ('next_hop = "127.0.0.2:2526"', 'next_hop = "127.0.0.2:99999"', "route.next_hop"),
                    ('trusted_networks = ["127.0.0.0/8"]', 'trusted_networks = ["127.0.0.0/99"]', "trusted_networks"),
                    ('tenant_for_trusted = "shop"', 'tenant_for_trusted = "none"', "tenant_for_trusted"),
                    ('tls = "none"', 'tls = "starttls"', "certificate"),
                    ("[admin]", "[admim]", "admim"), ("[node]", "[node", ""),
                    ('gate = "off"', 'gate = "open"', "auth.gate"),
                    ('servers = ["127.0.0.1:9"]', 'servers = ["dns"]', "dns.servers"),
                    ("password_hash = [", 'password_hash = ["plain", ', "password_hash")]
        for old, new, key in mistakes:
            with self.subTest(new):
                self.assertIn(old, text)
                done = relay.check(text.replace(old, new, 1))
                self.assertEqual(done.returncode, 78, done.stdout)
                self.assertRegex(done.stderr, r"checked\.toml:\d+:\d+: ")
                self.assertIn(key, done.stderr)
        both = relay.check(text.replace('gate = "off"', 'gate = "open"').replace("connections = 5", "connections = -5"))
        self.assertEqual(len(both.stderr.splitlines()), 2, both.stderr)  # all of them at once

    def test_the_example_is_accepted(self):
        relay = harness.Danki(self, start=False)
        etc = relay.folder / "etc"
        chain, tls_key = harness.certificate()
        signing_key = harness.rsa_key()[0]
        for name, text in {"tls/fullchain.pem": chain, "tls/key.pem": tls_key,
                           "dkim/example.com.s2026a.pem": signing_key,
                           "dkim/letters.example.com.s2026a.pem": signing_key}.items():
            file = etc / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(text)
        done = relay.check((harness.REPOSITORY / "examples/danki.toml").read_text().replace("/etc/danki", str(etc)))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, f"{relay.folder / 'checked.toml'}: ok\n")

    def test_keys_without_effect_are_named(self):
        relay = harness.Danki(self, more='[reputation]\nmode = "act"\n', start=False)
        done = relay.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("reputation", done.stdout)


class Sources(harness.EndToEnd):
    ADDRESSES = [f"127.0.0.{number}" for number in range(11, 23)]

    def test_twelve_addresses_each_deliver_their_share(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, sources=self.ADDRESSES,
                              shaping="connections = 1\nmessages_per_connection = 1")
        for number in range(96):
            relay.send(f"n{number}@inbox.test")
        messages = receiver.wait(96)
        counts = {address: 0 for address in self.ADDRESSES}
        for message in messages:
            counts[message["client_address"]] += 1
            self.assertEqual(message["helo"],
                             f"out{self.ADDRESSES.index(message['client_address']) + 1:02}.example.com")
        self.assertGreaterEqual(min(counts.values()), 6, counts)
        self.assertLessEqual(max(counts.values()), 10, counts)
        harness.until(relay.is_empty, "the queue is empty")
        status = {s["address"]: s["delivered"] for s in relay.ask("status")["sources"]}
        self.assertEqual(status, counts)

    def test_a_source_that_cannot_be_bound_is_pulled_and_the_others_deliver(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, sources=["192.0.2.1", *self.ADDRESSES[:2]],
                              shaping="connections = 1\nmessages_per_connection = 1")
        for number in range(20):
            relay.send(f"n{number}@inbox.test")
        receiver.wait(20)
        relay.wait_event("delivered", 20)
        self.assertEqual(relay.events("deferred") + relay.events("bounced"), [])
        self.assertEqual({e["attempt"] for e in relay.events("delivered")}, {1})
        (pulled,) = relay.events("source_state")
        self.assertEqual(pulled["source"], "out01")
        self.assertIn("bind", pulled["reason"])
        self.assertIn("source=out01", relay.log_text())
        states = {s["name"]: s["state"] for s in relay.ask("status")["sources"]}
        self.assertEqual(states, {"out01": "pulled", "out02": "active", "out03": "active"})
        self.assertEqual({m["client_address"] for m in receiver.messages()}, set(self.ADDRESSES[:2]))


class Events(harness.EndToEnd):
    def test_one_of_each_for_each_message_with_the_fields_of_the_design(self):
        receiver = harness.Receiver(self, '[[rule]]\nstage = "rcpt"\nrcpt = "bad@*"\naction = "reply"\n'
                                          'reply = "550 5.1.1 no"\n'
                                          '[[rule]]\nstage = "rcpt"\nrcpt = "late@*"\nattempt = "1"\naction = "reply"\n'
                                          'reply = "451 4.7.1 later"\n')
        relay = harness.Danki(self, {"*": receiver.next_hop}, sign=True, delivery='transactional_retries = ["1s"]',
                              tenant='dsn = "event"')
        content = harness.message(more=["X-Danki-Campaign: november"])
        ids = {to: relay.send(to, content) for to in ("good@inbox.test", "bad@inbox.test", "late@inbox.test")}
        relay.wait_event("delivered", 2)
        relay.wait_event("bounced")
        harness.until(relay.is_empty, "the queue is empty")
        want = {"good@inbox.test": ["accepted", "signed", "delivered"],
                "bad@inbox.test": ["accepted", "signed", "bounced"],
                "late@inbox.test": ["accepted", "signed", "deferred", "delivered"]}
        for to, id_ in ids.items():
            self.assertEqual([e["event"] for e in relay.events(id=id_)], want[to])
            for event in relay.events(id=id_):
                self.assertEqual([event[name] for name in ("tenant", "class", "campaign", "from")],
                                 ["shop", "transactional", "november", harness.SENDER])
        seen = set()
        for event in relay.events():
            self.assertEqual(set(event) - FIELDS, set())
            self.assertRegex(event["ts"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertNotIn(event["event_id"], seen)
            seen.add(event["event_id"])
        (delivered,) = relay.events("delivered", id=ids["good@inbox.test"])
        for name, value in {"tenant": "shop", "class": "transactional", "campaign": "november", "from": harness.SENDER,
                            "to": "good@inbox.test", "site": receiver.next_hop, "source": "out01",
                            "source_ip": "127.0.0.1",
                            "pool": "main", "mx_ip": "127.0.0.2", "attempt": 1}.items():
            self.assertEqual(delivered[name], value, name)
        self.assertGreaterEqual(delivered["queued_ms"], delivered["delivery_ms"])
        (bounced,) = relay.events("bounced")
        self.assertEqual(bounced["reply"], {"code": 550, "enhanced": "5.1.1", "text": "no"})
        for message in receiver.messages():
            self.assertNotIn(b"X-Danki", message["content"])

    def test_a_bounce_message_has_its_own(self):
        receiver = harness.Receiver(self, '[[rule]]\nstage = "rcpt"\nrcpt = "bad@*"\naction = "reply"\n'
                                          'reply = "550 5.1.1 no"\n')
        relay = harness.Danki(self, {"*": receiver.next_hop})
        id_ = relay.send("bad@inbox.test")
        (delivered,) = relay.wait_event("delivered")
        self.assertEqual((delivered["from"], delivered["to"]), ("<>", harness.SENDER))
        own = relay.events(id=delivered["id"])
        self.assertEqual([e["event"] for e in own], ["accepted", "delivered"])
        self.assertEqual(own[0]["reason"], f"report on {id_}")

    def test_none_is_missing_under_load_and_kill(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop})
        acknowledged = {}
        for number in range(100):
            recipients = [f"n{number}@inbox.test", f"m{number}@inbox.test"]
            acknowledged[relay.send(recipients)] = recipients
        relay.process.kill()
        relay.start()
        relay.wait_event("delivered", 200)
        harness.until(relay.is_empty, "the queue is empty")
        accepted = [(e["id"], e["to"]) for e in relay.events("accepted")]
        wanted = sorted((id_, to) for id_, recipients in acknowledged.items() for to in recipients)
        self.assertEqual(sorted(accepted), wanted)
        self.assertEqual(sorted({(e["id"], e["to"]) for e in relay.events("delivered")}), wanted)
        self.assertEqual(set(receiver.recipients()), {to for _, to in wanted})


if __name__ == "__main__":
    harness.main()
