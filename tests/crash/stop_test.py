#!/usr/bin/env python3
"""SIGTERM and SIGKILL while receivers think about the final dot: nothing lost, and an orderly stop repeats nothing.

Usage: stop_test.py FOLDER-OF-PROGRAMS
"""

import collections
import json
import os
import signal
import subprocess
import time
import unittest

import harness
from harness import Client, Folder, Load, Relay, Sink, say, until

STALLING = """
    [[rule]]
    stage = "{stage}"
    action = "stall"
    for = "{duration}"
    times = {times}
"""


class Receiver:
    """The bundled receiver on the addresses of all routes."""

    def __init__(self, folder, scenario):
        self.folder = folder
        self.mail = folder.path("mail")
        self.log_path = folder.path("receiver.log")
        self.scenario = folder.path("scenario.toml")
        with open(self.scenario, "w") as file:
            file.write(scenario)
        self.port = harness.free_port()
        port_file = folder.path("receiver.port")
        self.process = subprocess.Popen(
            [harness.program("receiver"), "--listen", harness.SINK_ADDRESSES, "--port", str(self.port), "--port-file",
             port_file, "--dir", self.mail, "--log", self.log_path, "--scenario", self.scenario, "--quiet"])
        until(lambda: os.path.exists(port_file), "the receiver listens")

    def behave(self):
        """Accepts everything from now on."""
        with open(self.scenario, "w"):
            pass
        self.process.send_signal(signal.SIGHUP)

    def stalled(self, stage):
        with open(self.log_path) as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        return sum(line["event"] == "rule" and line.get("stage") == stage for line in lines)

    def arrived(self):
        """Counter of recipients."""
        count = collections.Counter()
        for name in os.listdir(self.mail):
            if name.endswith(".json"):
                with open(os.path.join(self.mail, name)) as file:
                    count.update(rcpt["address"] for rcpt in json.load(file)["rcpts"])
        return count

    def close(self):
        self.process.terminate()
        self.process.wait(harness.WAIT_S)


class Stop(unittest.TestCase):
    MESSAGES = 10

    def make(self, scenario, grace):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.receiver = Receiver(self.folder, scenario)
        self.addCleanup(self.receiver.close)
        delivery = f'transactional_retries = ["1s"]\nshutdown_grace = "{grace}"'
        self.relay = Relay(self.folder, self.receiver.port, {"delivery": delivery})
        self.addCleanup(self.relay.close)
        self.relay.start()

    def send_until_stalled(self, stage):
        with Client(self.relay.port) as client:
            for number in range(self.MESSAGES):
                domain = f"d{number:02}.test"
                self.assertTrue(client.message(f"eeeeeeee-{number:010}", domain).startswith(b"250"))
        until(lambda: self.receiver.stalled(stage) >= self.MESSAGES, "all messages are at the receiver")

    def restarted(self):
        """What has arrived when the relay has started once more and all is done."""
        self.relay.start()
        self.relay.drained()
        self.assertEqual(self.relay.terminate()[0], 0)
        told = {event["to"] for event in self.relay.events("delivered")}
        arrived = self.receiver.arrived()
        self.assertEqual(len(arrived), self.MESSAGES, "nothing is lost")
        self.assertEqual(told, set(arrived), "each has its event")
        self.assertEqual([*self.relay.events("bounced", "expired")], [])
        return sum(arrived.values()) - len(arrived)

    def test_waits_for_the_answer_to_the_final_dot(self):
        self.make(STALLING.format(stage="dot", duration="3s", times=self.MESSAGES), "20s")
        self.send_until_stalled("dot")
        status, took = self.relay.terminate()
        duplicates = self.restarted()
        say(f"SIGTERM at the final dot: status {status} after {took:.1f} s (receiver: 3 s), duplicates {duplicates}")
        self.assertEqual(status, 0)
        self.assertLess(took, 10)
        self.assertEqual(duplicates, 0)

    def test_a_second_signal_changes_nothing(self):
        self.make(STALLING.format(stage="dot", duration="3s", times=self.MESSAGES), "20s")
        self.send_until_stalled("dot")
        self.relay.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in self.relay.log(), "it stops")
        for another in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2):
            self.relay.process.send_signal(another)
        status, _ = self.relay.terminate()
        self.assertEqual(status, 0)
        self.assertEqual(self.restarted(), 0)

    def test_gives_up_after_the_grace(self):
        self.make(STALLING.format(stage="dot", duration="forever", times=self.MESSAGES), "2s")
        self.send_until_stalled("dot")
        status, took = self.relay.terminate()
        self.receiver.behave()
        duplicates = self.restarted()
        say(f"SIGTERM, no answer at all: status {status} after {took:.1f} s (grace 2 s), duplicates {duplicates}")
        self.assertEqual(status, 0)
        self.assertGreater(took, 1.5)
        self.assertLess(took, 7)
        self.assertEqual(duplicates, 0)

    def test_aborts_what_has_not_reached_the_final_dot(self):
        for stage in ("connect", "ehlo", "mail", "rcpt", "data"):
            with self.subTest(stage):
                self.make(STALLING.format(stage=stage, duration="forever", times=self.MESSAGES), "20s")
                self.send_until_stalled(stage)
                status, took = self.relay.terminate()
                self.receiver.behave()
                duplicates = self.restarted()
                say(f"SIGTERM, silence at {stage}: status {status} after {took:.1f} s, duplicates {duplicates}")
                self.assertEqual(status, 0)
                self.assertLess(took, 8)
                self.assertEqual(duplicates, 0)

    def test_killed_at_the_final_dot(self):
        for first in (None, signal.SIGTERM):
            with self.subTest(first=first):
                self.make(STALLING.format(stage="dot", duration="forever", times=self.MESSAGES), "20s")
                self.send_until_stalled("dot")
                if first:
                    self.relay.process.send_signal(first)
                    until(lambda: "stopping" in self.relay.log(), "it stops")
                self.relay.kill()
                self.receiver.behave()
                say(f"SIGKILL at the final dot{' after SIGTERM' if first else ''}: duplicates {self.restarted()}")

    def test_killed_when_stored_but_not_answered(self):
        """The receiver has it and we never heard: it is sent again, once."""
        rule = f'[[rule]]\nstage = "dot"\naction = "drop"\nstore = true\ntimes = {self.MESSAGES}\n'
        self.make(rule, "20s")
        with Client(self.relay.port) as client:
            for number in range(self.MESSAGES):
                self.assertTrue(client.message("e", f"d{number:02}.test").startswith(b"250"))
        until(lambda: len(self.receiver.arrived()) == self.MESSAGES, "all are stored there")
        self.relay.kill()
        duplicates = self.restarted()
        say(f"SIGKILL, stored there without an answer: duplicates {duplicates} of {self.MESSAGES}")
        self.assertEqual(duplicates, self.MESSAGES)

    def test_senders_hear_how_their_transaction_ended(self):
        self.make("", "20s")
        idle, in_data, after_mail = (Client(self.relay.port) for _ in range(3))
        for client in (in_data, after_mail):
            client.command("MAIL FROM:<news@example.com>", b"250")
            client.command("RCPT TO:<user@d00.test>", b"250")
        in_data.command("DATA", b"354")
        in_data.send(b"From: news@example.com\r\n\r\nhalf of i")
        status, took = self.relay.terminate()
        for client in (idle, in_data, after_mail):
            client.expect(b"421 4.3.2")
            self.assertEqual(client.reply(), b"")
            client.close()
        say(f"SIGTERM with three open sessions: status {status} after {took:.1f} s")
        self.assertEqual(status, 0)
        self.assertLess(took, 5)
        self.assertEqual(len(self.receiver.arrived()), 0)


class StopUnderLoad(unittest.TestCase):
    STOPS = 8

    def test_orderly_restarts_lose_and_repeat_nothing(self):
        folder = Folder()
        self.addCleanup(folder.remove)
        sink = Sink(folder, "--delay-ms", "20")
        self.addCleanup(sink.close)
        relay = Relay(folder, sink.port)
        self.addCleanup(relay.close)
        relay.start()
        load = Load(folder, relay, "00000001", 10**9, "--rate", "1500", "--seconds", "14")
        self.addCleanup(load.close)
        slowest = 0
        for _ in range(self.STOPS):
            time.sleep(1)
            status, took = relay.terminate()
            self.assertEqual(status, 0)
            slowest = max(slowest, took)
            relay.start()
        result = load.result()
        relay.drained()
        self.assertEqual(relay.terminate()[0], 0)
        say(f"SIGTERM under load: {self.STOPS} times, slowest {slowest:.1f} s, answers cut off {result['unknown']}")
        figures = harness.account(self, folder, relay, sink)
        # Whoever heard no 250 may send again: nothing of it was taken.
        self.assertEqual(figures["arrived"], figures["acked"])
        self.assertEqual(figures["duplicates"], 0)


class Signals(unittest.TestCase):
    def test_reloads_in_quick_succession(self):
        """Signals that come while the one before is still obeyed."""
        folder = Folder()
        self.addCleanup(folder.remove)
        relay = Relay(folder, harness.free_port())
        self.addCleanup(relay.close)
        relay.start()
        for _ in range(200):
            relay.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        self.assertTrue(relay.greets())
        self.assertEqual(relay.terminate()[0], 0)


if __name__ == "__main__":
    harness.main()
