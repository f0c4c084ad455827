#!/usr/bin/env python3
"""kill -9 under load: no acknowledged message is lost, and each delivered one has its event.

Usage: kill_test.py FOLDER-OF-PROGRAMS [--kills N]
"""

import argparse
import os
import random
import sys
import time
import unittest

import harness
from harness import Folder, Load, Relay, Sink, say

KILLS = 20
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 30)))

# One after the other, as long as kills are due: small ones, two recipients at two sites, large ones.
LOADS = (("--size", "4096", "--rate", "1500"),
         ("--size", "4096", "--rate", "800", "--rcpts-per-message", "2"),
         ("--size", "102400", "--rate", "150"))


class KillUnderLoad(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.sink = Sink(self.folder)
        self.addCleanup(self.sink.close)
        self.relay = Relay(self.folder, self.sink.port)
        self.addCleanup(self.relay.close)

    def test_nothing_acknowledged_is_lost(self):
        chance = random.Random(SEED)
        say(f"CRASH_SEED={SEED}")
        self.relay.start()
        load, loads, slowest_start, unknown = None, 0, 0.0, 0
        for number in range(KILLS):
            if load is None or not load.is_running():
                if load:
                    unknown += load.result()["unknown"]
                options = LOADS[loads % len(LOADS)]
                loads += 1
                seconds = 10  # of load each, crashes and starts included
                load = Load(self.folder, self.relay, f"{loads:08x}", 10**9, *options, "--seconds", str(seconds))
                self.addCleanup(load.close)
            if number % 5 == 3:  # deferrals too are on the way when it crashes
                self.sink.tell("reply rcpt 451 4.7.1 later")
            time.sleep(chance.uniform(0.05, 1.5))
            self.sink.tell("reply normal")
            time.sleep(chance.uniform(0.0, 0.3))
            self.relay.kill()
            slowest_start = max(slowest_start, self.relay.start())
        unknown += load.result()["unknown"]
        self.relay.drained()
        status, _ = self.relay.terminate()
        self.assertEqual(status, 0)
        say(f"kills {KILLS}, slowest start {slowest_start:.2f} s, answers cut off {unknown}")
        harness.account(self, self.folder, self.relay, self.sink)
        self.two_recipients()

    def two_recipients(self):
        """Both recipients of the messages that had two."""
        tokens = {token for token in harness.acked(self.folder) if int(token.split("-")[0], 16) % len(LOADS) == 2}
        recipients = {}
        for token, recipient in self.sink.seen():
            recipients.setdefault(token, set()).add(recipient)
        half = [token for token in tokens if len(recipients[token]) != 2]
        say(f"messages with two recipients {len(tokens)}, of which only one arrived {len(half)}")
        self.assertEqual(half, [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--kills", type=int, default=KILLS)
    known, sys.argv[1:] = parser.parse_known_args()
    KILLS = known.kills
    harness.main()
