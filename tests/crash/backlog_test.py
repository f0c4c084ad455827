#!/usr/bin/env python3
"""A growing deferred queue: memory stays bounded, and a restart is quick and retries nothing early.

Usage: backlog_test.py FOLDER-OF-PROGRAMS [--messages N]
"""

import argparse
import datetime
import sys
import time
import unittest

import harness
from harness import Folder, Load, Relay, Sink, say, until

MESSAGES = 30_000
MAX_MIB = 150 * harness.SLACK
BANNER_S = 2.0 * harness.SLACK


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Backlog(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.sink = Sink(self.folder)
        self.addCleanup(self.sink.close)
        self.sink.tell("reply rcpt 451 4.7.1 later")
        self.relay = Relay(self.folder, self.sink.port, {"delivery": 'transactional_retries = ["40s", "1h"]'})
        self.addCleanup(self.relay.close)

    def listing(self):
        """{(id, recipient domain): entry} of all that waits."""
        rows = self.relay.danki("queue", "list", "--limit", "1000000")
        rows = rows["messages"] if isinstance(rows, dict) else rows
        return {(row["id"], row["domain"]): row for row in rows}

    def moved(self, before, after):
        """What is gone, or due at another time without having been tried."""
        return [key for key, row in before.items() if key not in after or
                after[key]["attempts"] == row["attempts"] and after[key]["next_attempt_at"] != row["next_attempt_at"]]

    def test_memory_is_bounded_and_due_times_are_kept(self):
        self.relay.start()
        load = Load(self.folder, self.relay, "00000001", MESSAGES, "--sessions", "20")
        self.addCleanup(load.close)
        peak = 0
        while load.is_running():
            peak = max(peak, self.relay.rss_anon_mib())
            time.sleep(0.1)
        self.assertEqual(load.result()["accepted"], MESSAGES)
        until(lambda: self.relay.status()["deferred"] >= MESSAGES, "each was tried once", 120)
        peak = max(peak, self.relay.rss_anon_mib())

        before = self.listing()
        self.assertEqual(len(before), MESSAGES)
        self.assertEqual(self.relay.terminate()[0], 0)
        banner = self.relay.start()
        after = self.listing()
        moved = self.moved(before, after)
        first_due = min(moment(row["next_attempt_at"]) for row in before.values())
        say(f"{MESSAGES} deferred: RssAnon at most {peak:.0f} MiB; banner {banner:.2f} s after the start, "
            f"RssAnon {self.relay.rss_anon_mib():.0f} MiB; due times that moved {len(moved)}")
        self.assertLess(peak, MAX_MIB)
        self.assertLess(banner, BANNER_S)
        self.assertEqual(moved[:5], [])

        self.killed_restart()
        self.assertLess(self.relay.rss_anon_mib(), MAX_MIB)
        until(lambda: self.relay.status()["deferred"] > 100, "what is due is tried again", 120)
        early = self.early(before)
        say(f"first due {first_due:%H:%M:%S}, retried since the restarts {early[0]}, early {early[1]}")
        self.assertGreater(early[0], 0)
        self.assertEqual(early[1], 0)
        self.sink.tell("reply normal")
        self.drain_now()
        self.assertEqual(self.relay.terminate()[0], 0)
        harness.account(self, self.folder, self.relay, self.sink)

    def killed_restart(self):
        """kill -9 too keeps the due times."""
        before = self.listing()
        self.relay.kill()
        banner = self.relay.start()
        after = self.listing()
        moved = self.moved(before, after)
        say(f"after kill -9: banner {banner:.2f} s after the start; due times that moved {len(moved)}")
        self.assertLess(banner, BANNER_S)
        self.assertEqual(moved[:5], [])

    def early(self, before):
        """How many second attempts there were, and how many of them before their time."""
        due = {row["id"]: moment(row["next_attempt_at"]) for row in before.values() if row["attempts"] == 1}
        second = [event for event in self.relay.events("deferred") if event["attempt"] == 2 and event["id"] in due]
        return len(second), sum(moment(event["ts"]) < due[event["id"]] for event in second)

    def drain_now(self):
        """An operator makes all of it due at once."""
        begin = time.monotonic()
        self.relay.danki("queue", "retry", "--all")
        self.relay.drained(180)
        took = time.monotonic() - begin
        say(f"retried by hand: drained in {took:.1f} s, RssAnon {self.relay.rss_anon_mib():.0f} MiB")
        self.assertLess(self.relay.rss_anon_mib(), MAX_MIB)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    known, sys.argv[1:] = parser.parse_known_args()
    MESSAGES = known.messages
    harness.main()
