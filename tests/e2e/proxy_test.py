#!/usr/bin/python3
"""Clients behind a proxy that nobody here wrote: HAProxy tells their addresses by PROXY protocol version 2."""

import email
import smtplib

import harness
import peers

PROXY, OTHER_PROXY, CLIENT, STRANGER = "127.0.30.1", "127.0.30.2", "127.0.30.8", "127.0.30.9"
LISTENER = f"""
[[listener]]
address = "127.0.0.1:{{port}}"
tls = "none"
require_auth = true
trusted_networks = ["{CLIENT}"]
tenant_for_trusted = "shop"
proxy_protocol_from = ["{PROXY}"]
check_recipient_domain = false
[limits]
sessions_per_client = 2
"""
# What HAProxy sends for 192.0.2.7:4000 to 192.0.2.1:25.
HEADER = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0, 25])


class Proxy(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.receiver = harness.Receiver(self)
        self.relay = harness.Danki(self, {"*.test": self.receiver.next_hop}, listeners=LISTENER)

    def client(self, port, source, **options):
        raw = harness.Raw(port, source=source, **options)
        self.addCleanup(raw.close)
        return raw

    def test_the_clients_own_address_is_judged_and_written_down(self):
        proxy = peers.Haproxy(self, self.relay.port, PROXY)
        with smtplib.SMTP("127.0.0.1", proxy.port, local_hostname="client.test", source_address=(CLIENT, 0),
                          timeout=harness.WAIT_S) as client:
            client.sendmail(harness.SENDER, ["user@inbox.test"], harness.message())
        (arrived,) = self.receiver.wait(1)
        received = email.message_from_bytes(arrived["content"])["Received"]
        self.assertTrue(received.startswith(f"from client.test ([{CLIENT}])"), received)

        stranger = self.client(proxy.port, STRANGER)  # comes by the same proxy
        code, text = stranger.answers("EHLO client.test", f"MAIL FROM:<{harness.SENDER}>")
        self.assertEqual((code, text.split()[0]), (530, "5.7.0"))

    def test_limits_count_clients_not_proxies(self):
        proxy = peers.Haproxy(self, self.relay.port, PROXY)
        for source in (CLIENT, STRANGER):
            for _ in range(2):
                self.client(proxy.port, source)
        third = self.client(proxy.port, STRANGER, greet=False)
        code, text = third.reply()
        self.assertEqual(code, 421)
        self.assertIn("4.3.2", text)

    def test_a_health_check_of_the_proxy_is_answered(self):
        proxy = peers.Haproxy(self, self.relay.port, PROXY, check=True)
        harness.until(lambda: "Layer7 check passed" in proxy.process.text(), "the check succeeds")
        self.assertNotIn("PROXY", self.relay.log_text())

    def test_a_header_from_elsewhere_is_refused(self):
        proxy = peers.Haproxy(self, self.relay.port, OTHER_PROXY)
        liar = self.client(proxy.port, CLIENT)  # would be trusted, if this proxy were
        for _ in range(4):  # the header's four lines, which are no commands; its "QUIT" is none either
            code, text = liar.reply()
            self.assertEqual((code, text.split()[0]), (500, "5.5.2"))
        self.assertEqual(liar.ask("NOOP")[0], 500)  # stands behind the header's last octets
        code, text = liar.answers("EHLO client.test", f"MAIL FROM:<{harness.SENDER}>")
        self.assertEqual((code, text.split()[0]), (530, "5.7.0"))

        direct = self.client(self.relay.port, STRANGER)
        direct.say(HEADER)
        self.assertEqual(direct.reply()[0], 500)

    def test_a_proxy_without_a_header_gets_no_banner(self):
        silent = self.client(self.relay.port, PROXY, greet=False)
        silent.say(b"EHLO client.test")  # 16 octets, as much as is read at first: what is unread would be a reset
        self.assertTrue(silent.ended())
        harness.until(lambda: "without PROXY header" in self.relay.log_text(), "the log says so")


if __name__ == "__main__":
    harness.main()
