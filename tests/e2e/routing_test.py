#!/usr/bin/python3
"""Mail finds its way by DNS: a real server (NSD) names the MX hosts, which listen on port 25 of loopback addresses."""

import fcntl
import os
import shutil
import socket
import struct
import sys

import harness
import peers

FIRST, SECOND, REFUSING, OWN, SILENT = (f"127.0.25.{n}" for n in (1, 2, 3, 4, 9))
ZONE = f"""
mx1 A {FIRST}
mx2 A {SECOND}
refusing A {REFUSING}
silent A {SILENT}
mx6 AAAA ::1
both A {FIRST}
both AAAA ::1
own A {OWN}
ordered MX 10 mx1
ordered MX 20 mx2
same MX 20 mx2
same MX 10 mx1
silent-first MX 10 silent
silent-first MX 20 mx2
refusing-first MX 10 refusing
refusing-first MX 20 mx2
missing-first MX 10 no-such-host
missing-first MX 20 mx2
equal MX 10 mx1
equal MX 10 mx2
null MX 0 .
implicit A {FIRST}
alias CNAME ordered
six MX 10 mx6
text-only TXT "no mail here"
loop MX 10 own
better-elsewhere MX 10 mx1
better-elsewhere MX 20 own
"""


class Routing(harness.EndToEnd):
    def world(self, *, zone=ZONE, **options):
        self.receivers = {}
        for address in (FIRST, SECOND):
            self.receivers[address] = harness.Receiver(self, listen=[address], name=f"receiver-{address}", port=25)
        harness.Receiver(self, '[[rule]]\nstage = "connect"\naction = "close"\nreply = "554 5.3.2 not today"\n',
                         listen=[REFUSING], name="refusing", port=25)
        self.nsd = peers.Nsd(self, {"test": zone})
        delivery = options.pop("delivery", "allow_private_mx = true")
        return harness.Danki(self, {"example.com": f"{FIRST}:25"}, check_domain=True, delivery=delivery,
                             dns=f'servers = ["127.0.0.1:{self.nsd.port}"]', **options)

    def arrived_at(self, address):
        return self.receivers[address].recipients()

    def test_the_preferred_host_gets_all(self):
        relay = self.world()
        recipients = sorted(f"n{n}@{domain}.test" for n in range(5)
                            for domain in ("ordered", "same", "implicit", "alias"))
        for recipient in recipients:
            relay.send(recipient)
        relay.wait_event("delivered", len(recipients))
        self.assertEqual(self.arrived_at(FIRST), recipients)
        self.assertEqual(self.arrived_at(SECOND), [])
        mx = {event["to"].split("@")[1]: (event["mx"], event["mx_ip"]) for event in relay.events("delivered")}
        self.assertEqual(mx["ordered.test"], ("mx1.test", FIRST))
        self.assertEqual(mx["implicit.test"], ("implicit.test", FIRST))
        sites = {event["to"].split("@")[1]: event["site"] for event in relay.events("delivered")}
        self.assertEqual(sites["ordered.test"], sites["same.test"])
        self.assertNotEqual(sites["ordered.test"], sites["implicit.test"])

    def test_the_next_host_is_tried_when_one_is_down_refuses_or_does_not_exist(self):
        relay = self.world()
        recipients = sorted(f"n@{domain}.test" for domain in ("silent-first", "refusing-first", "missing-first"))
        for recipient in recipients:
            relay.send(recipient)
        relay.wait_event("delivered", len(recipients))
        self.assertEqual(self.arrived_at(SECOND), recipients)
        self.assertEqual(relay.events("bounced") + relay.events("deferred"), [])
        self.assertEqual({event["attempt"] for event in relay.events("delivered")}, {1})

    def test_equal_hosts_share(self):
        relay = self.world(shaping="connections = 4\nmessages_per_connection = 1")
        for number in range(40):
            relay.send(f"n{number}@equal.test")
        relay.wait_event("delivered", 40)
        self.assertEqual(len(self.arrived_at(FIRST)) + len(self.arrived_at(SECOND)), 40)
        self.assertGreater(min(len(self.arrived_at(FIRST)), len(self.arrived_at(SECOND))), 4)

    def test_answers_at_rcpt(self):
        elsewhere = harness.TRUSTED.replace("127.0.0.1:{port}", f"{OWN}:25")
        relay = self.world(listeners=harness.TRUSTED + elsewhere)
        with harness.Raw(relay.port) as client:
            client.answers("EHLO client.test", "MAIL FROM:<news@example.com>")
            for domain, code, enhanced in (("null.test", 556, "5.1.10"), ("no-such-domain.test", 550, "5.1.2"),
                                           ("ordered.test", 250, "2.1.5"), ("implicit.test", 250, "2.1.5"),
                                           ("alias.test", 250, "2.1.5"), ("refused-by-dns.example", 250, "2.1.5"),
                                           ("loop.test", 554, "5.4.6"), ("better-elsewhere.test", 250, "2.1.5"),
                                           (f"[{OWN}]", 554, "5.4.6"), (f"[{FIRST}]", 250, "2.1.5")):
                with self.subTest(domain):
                    heard, text = client.ask(f"RCPT TO:<user@{domain}>")
                    self.assertEqual((heard, text.split()[0]), (code, enhanced), text)

    def test_a_listener_on_all_addresses_is_met_at_each_of_them(self):
        nsd = peers.Nsd(self, {"test": ZONE})
        everywhere = harness.TRUSTED.replace("127.0.0.1:{port}", "0.0.0.0:25")
        relay = harness.Danki(self, {"routed.test": "127.0.0.1:9"}, check_domain=True,
                              listeners=harness.TRUSTED + everywhere, dns=f'servers = ["127.0.0.1:{nsd.port}"]')
        with harness.Raw(relay.port) as client:
            client.answers("EHLO client.test", "MAIL FROM:<news@example.com>")
            for domain, answer in (("loop.test", 554), ("ordered.test", 554), ("six.test", 250), ("routed.test", 250)):
                with self.subTest(domain):
                    self.assertEqual(client.ask(f"RCPT TO:<user@{domain}>")[0], answer)

    def test_domains_that_turn_out_to_take_no_mail_bounce(self):
        """Accepted by a listener that does not ask, or because an address may still appear."""
        unasked = harness.TRUSTED.replace("{check_domain}", "false")
        unasked += unasked.replace("127.0.0.1:{port}", f"{OWN}:25")
        relay = self.world(listeners=unasked)
        expected = {"a@null.test": (556, "5.1.10"), "a@no-such-domain.test": (550, "5.1.2"),
                    "a@text-only.test": (550, "5.4.4"),
                    "a@loop.test": (554, "5.4.6")}
        for recipient in expected:
            relay.send(recipient)
        bounced = relay.wait_event("bounced", len(expected))
        self.assertEqual({e["to"]: (e["reply"]["code"], e["reply"]["enhanced"]) for e in bounced}, expected)
        harness.until(lambda: len(self.arrived_at(FIRST)) == len(expected), "the notifications arrive")
        self.assertEqual(set(self.arrived_at(FIRST)), {harness.SENDER})

    def test_private_hosts_need_permission(self):
        relay = self.world(delivery="")
        relay.send("a@ordered.test")
        harness.until(lambda: relay.events("bounced") or relay.ask("queue")["sites"][0].get("state", "ok") != "ok",
                      "the relay says what is wrong")
        self.assertEqual([to for to in self.arrived_at(FIRST) if to != harness.SENDER], [])

    def test_ipv6(self):
        six = harness.Receiver(self, listen=["[::1]"], name="receiver-six", port=25)
        relay = self.world(sources=["::1", "127.0.0.1"])
        relay.send("a@six.test")
        relay.send("a@ordered.test")
        relay.wait_event("delivered", 2)
        self.assertEqual(six.recipients(), ["a@six.test"])
        (event,) = relay.events("delivered", to="a@six.test")
        self.assertEqual((event["mx_ip"], event["source_ip"]), ("::1", "::1"))
        self.assertEqual(self.arrived_at(FIRST), ["a@ordered.test"])

    def test_mail_waits_for_dns(self):
        receiver = harness.Receiver(self, listen=[FIRST], port=25)
        port = harness.free_port()
        relay = harness.Danki(self, check_domain=True, delivery="allow_private_mx = true",
                              dns=f'servers = ["127.0.0.1:{port}"]\ntimeout = "300ms"\ntries = 1')
        id_ = relay.send("a@ordered.test")
        harness.until(lambda: "DNS" in relay.danki("queue"), "the queue tells of the DNS trouble")
        self.assertEqual(relay.ask("queue", "show", id_)["recipients"][0]["attempts"], 0)
        peers.Nsd(self, {"test": ZONE}, port)
        relay.wait_event("delivered")
        self.assertEqual(receiver.recipients(), ["a@ordered.test"])
        self.assertEqual(relay.events("deferred"), [])


def may_use_port_25():
    with socket.socket() as probe:
        try:
            probe.bind((FIRST, 25))
        except PermissionError:
            return False
        return True


def move_to_a_network_of_its_own():
    """Where anyone may use port 25. There, loopback has to be switched on first."""
    if os.environ.get("DANKI_E2E_OWN_NETWORK"):
        with socket.socket() as control:
            request = struct.pack("16sH14s", b"lo", 0x1 | 0x40, b"")  # IFF_UP, IFF_RUNNING
            fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS
        return
    os.environ["DANKI_E2E_OWN_NETWORK"] = "yes"
    unshare = shutil.which("unshare")
    os.execv(unshare, [unshare, "--map-root-user", "--net", sys.executable, *sys.argv])


if __name__ == "__main__":
    if os.environ.get("DANKI_E2E_OWN_NETWORK") or not may_use_port_25():
        move_to_a_network_of_its_own()
    harness.main()
