#!/usr/bin/env python3
"""Write errors and a full disk: new mail is refused and never lost, outcomes are bounded, and it recovers by itself.

Usage: disk_test.py FOLDER-OF-PROGRAMS [--rounds N]
"""

import argparse
import os
import random
import subprocess
import sys
import time
import unittest

import harness
from harness import Client, Folder, Load, Relay, Sink, say, until

ROUNDS = 8
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 30)))
BOUND = 100
BACKLOG = 3000
SHIM = None


def build_shim():
    global SHIM
    folder = Folder()
    SHIM = folder.path("faultshim.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faultshim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", SHIM, source, "-ldl"], check=True)
    return folder


def setUpModule():
    unittest.addModuleCleanup(build_shim().remove)


class DiskCase(unittest.TestCase):
    def make(self, meant="data/spool", limits=f"unrecorded_outcomes = {BOUND}", delivery=None, **options):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        self.sink = Sink(self.folder)
        self.addCleanup(self.sink.close)
        self.control = self.folder.path("fault")
        environment = {"LD_PRELOAD": SHIM, "FAULTSHIM_FOLDER": self.folder.path(meant),
                       "FAULTSHIM_CONTROL": self.control,
                       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        tables = {"limits": limits}
        if delivery:
            tables["delivery"] = delivery
        self.relay = Relay(self.folder, self.sink.port, tables, environment=environment, **options)
        self.addCleanup(self.relay.close)
        self.tokens = 0

    def fault(self, words):
        with open(self.control + ".new", "w") as file:
            file.write(words)
        os.rename(self.control + ".new", self.control)

    def heal(self):
        os.unlink(self.control)

    def send(self):
        """One message over a connection of its own; its token counts as acknowledged if the answer is 250."""
        self.tokens += 1
        token = f"ffffffff-{self.tokens:010}"
        with Client(self.relay.port) as client:
            answer = client.message(token)
        if answer.startswith(b"250"):
            with open(self.folder.path("acked"), "a") as file:
                file.write(token + "\n")
        return answer.decode()

    def queue_backlog(self):
        """Mail that was refused once for now and is due again in some seconds."""
        self.sink.tell("reply rcpt 451 4.7.1 later")
        load = Load(self.folder, self.relay, "00000001", BACKLOG, "--size", "2048")
        self.assertEqual(load.result()["accepted"], BACKLOG)
        until(lambda: self.relay.status()["deferred"] >= BACKLOG, "all of it was tried")
        self.assertEqual(self.relay.status()["queued"], BACKLOG)
        self.sink.tell("reply normal")

    def refused(self, want, count=5, may_accept=False):
        """Waits for the answer `want`; from then on there is no other. No 250 comes while writes fail."""
        answer = self.send if may_accept else self.answer_in_trouble
        until(lambda: answer().startswith(want), f"new mail hears {want}", 10)
        for _ in range(count):
            self.assertEqual(self.answer_in_trouble()[:len(want)], want)

    def answer_in_trouble(self):
        answer = self.send()
        self.assertIn(answer[:3], ("451", "452"))
        return answer

    def accepts_again(self):
        begin = time.monotonic()
        until(lambda: self.send().startswith("250"), "new mail is taken again", 20)
        return time.monotonic() - begin


class WriteErrors(DiskCase):
    def trouble(self, words, want):
        self.make(delivery='transactional_retries = ["4s"]')
        self.relay.start()
        self.queue_backlog()
        self.fault(words)
        self.refused(want)
        # Delivery goes on until as many outcomes as allowed could not be recorded, and not further.
        until(lambda: self.relay.status()["unrecorded_outcomes"] > 0, "delivery goes on")
        arrived = self.settled()
        unrecorded = self.relay.status()["unrecorded_outcomes"]
        answer = self.answer_in_trouble()
        self.heal()
        took = self.accepts_again()
        self.relay.drained()
        status, _ = self.relay.terminate()
        say(f"{words}: {answer!r}; delivered meanwhile {arrived}, unrecorded at most {unrecorded} of {BOUND}; "
            f"accepted {took:.2f} s after")
        self.assertEqual(status, 0)
        self.assertGreater(arrived, 0)
        self.assertLessEqual(unrecorded, BOUND)
        self.assertLessEqual(arrived, BOUND)
        harness.account(self, self.folder, self.relay, self.sink)

    def settled(self):
        """How many had arrived when no more came for longer than it takes until all are due."""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < 4.5:
            now = sum(self.sink.seen().values())
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)
        return count

    def test_input_output_errors(self):
        self.trouble("EIO", "451 4.3.0")

    def test_no_space(self):
        self.trouble("ENOSPC statvfs", "452 4.3.1")

    def test_half_of_each_write(self):
        self.trouble("EIO half", "451 4.3.0")


class Reserve(DiskCase):
    def test_little_free_space_stops_new_mail_only(self):
        self.make(delivery='transactional_retries = ["4s"]')
        self.relay.start()
        self.queue_backlog()
        self.fault("statvfs")
        self.refused("452 4.3.1", may_accept=True)  # free space is looked at twice a second
        self.relay.drained()  # BACKLOG is far over BOUND: these outcomes are recorded
        self.assertEqual(self.relay.status()["unrecorded_outcomes"], 0)
        self.refused("452 4.3.1", count=1)
        self.heal()
        took = self.accepts_again()
        self.relay.drained()
        self.assertEqual(self.relay.terminate()[0], 0)
        say(f"below the reserve: {BACKLOG} delivered meanwhile, accepted {took:.2f} s after")
        harness.account(self, self.folder, self.relay, self.sink)

    def test_really_full(self):
        self.make()
        mount = self.folder.path("disk")
        os.mkdir(mount)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "danki-crash", mount],
                                 capture_output=True, text=True)
        if mounted.returncode != 0:  # in a container, say; ./check names it at its end
            self.skipTest(f"needs the right to mount: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", mount])
        relay = Relay(self.folder, self.sink.port,
                      {"limits": f'unrecorded_outcomes = {BOUND}\ndisk_reserve = "48MiB"\nreserve_file = "16MiB"',
                       "delivery": 'transactional_retries = ["4s"]'}, data_dir=os.path.join(mount, "data"))
        self.relay = relay
        self.addCleanup(relay.close)
        relay.start()
        self.queue_backlog()
        reserve = os.path.join(relay.data_dir, "spool", "reserve")
        self.assertEqual(os.stat(reserve).st_size, 16 << 20)
        ballast = os.path.join(mount, "ballast")
        free = os.statvfs(mount)
        with open(ballast, "wb") as file:  # all but a quarter of a MiB
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - (256 << 10))
        self.refused("452 4.3.1", may_accept=True)
        until(lambda: self.sink.seen(), "delivery goes on")
        try:
            relay.drained(30)
        except AssertionError:
            pass
        left = os.statvfs(mount)
        state = relay.status()
        gone = not os.path.exists(reserve)
        self.refused("452 4.3.1", count=1)
        os.unlink(ballast)
        took = self.accepts_again()
        relay.drained()
        until(lambda: os.path.exists(reserve), "the reserve is there again")
        self.assertEqual(relay.terminate()[0], 0)
        say(f"full file system: {state['delivered']} of {BACKLOG} delivered meanwhile, "
            f"unrecorded {state['unrecorded_outcomes']}, reserve file given up: {gone}, "
            f"free then {left.f_bavail * left.f_bsize >> 10} KiB, accepted {took:.2f} s after")
        self.assertGreaterEqual(state["delivered"], BACKLOG, "the reserve pays for outcomes")
        harness.account(self, self.folder, self.relay, self.sink)


class Crashes(DiskCase):
    def test_kill_during_the_trouble(self):
        for words in ("EIO", "ENOSPC", "EIO half"):
            with self.subTest(words):
                self.make()
                self.relay.start()
                load = Load(self.folder, self.relay, "00000001", 10**9, "--rate", "1000", "--seconds", "6")
                self.addCleanup(load.close)
                until(lambda: len(harness.acked(self.folder)) > 500, "mail flows")
                self.fault(words)
                until(lambda: self.relay.status()["spool"]["write_failing"], "writes fail")
                before = len(harness.acked(self.folder))
                time.sleep(0.5)
                self.assertEqual(len(harness.acked(self.folder)), before, "no 250 while writes fail")
                self.relay.kill()
                self.does_not_start_on_a_broken_disk()
                self.heal()
                self.relay.start()
                load.result()
                self.relay.drained()
                self.assertEqual(self.relay.terminate()[0], 0)
                say(f"killed while {words}:")
                harness.account(self, self.folder, self.relay, self.sink)

    def does_not_start_on_a_broken_disk(self):
        """It says so and ends, or serves and refuses; it does not hang, and never takes mail."""
        try:
            self.relay.start(20)
        except AssertionError as ended:
            self.assertIn("dankid ended with", str(ended))
            return
        self.answer_in_trouble()
        self.relay.kill()

    def flicker(self, meant):
        chance = random.Random(SEED)
        say(f"CRASH_SEED={SEED}")
        self.make(meant=meant)
        self.relay.start()
        load = Load(self.folder, self.relay, "00000001", 10**9, "--rate", "1000", "--seconds", str(ROUNDS * 1.2))
        self.addCleanup(load.close)
        kills = 0
        for number in range(ROUNDS):
            time.sleep(chance.uniform(0.05, 0.8))
            if number % 3 == 1:
                self.sink.tell("reply rcpt 451 4.7.1 later")
            self.fault(chance.choice(("EIO", "ENOSPC", "EIO half", "ENOSPC half statvfs", "statvfs")))
            time.sleep(chance.choice((0.01, 0.1, 0.5, 1.5)))
            self.sink.tell("reply normal")
            if number % 4 == 3:
                self.relay.kill()
                kills += 1
            self.heal()
            if self.relay.process.poll() is not None:
                self.relay.start()
        load.result()
        self.relay.drained()
        failed = self.relay.status()["spool"]["failed_writes"]
        self.assertEqual(self.relay.terminate()[0], 0)
        say(f"{ROUNDS} troubles, {kills} kills, {failed} failed writes since the last kill")

    def test_trouble_that_comes_and_goes(self):
        self.flicker("data/spool")
        harness.account(self, self.folder, self.relay, self.sink)

    def test_trouble_of_spool_and_event_log(self):
        self.flicker("data")
        harness.account(self, self.folder, self.relay, self.sink, log_failed=True)

    def test_stop_while_writes_fail(self):
        self.make(delivery='transactional_retries = ["1s"]\nshutdown_grace = "5s"')
        self.relay.start()
        self.queue_backlog()
        self.fault("EIO")
        self.refused("451 4.3.0", count=1)
        status, took = self.relay.terminate()
        self.heal()
        say(f"SIGTERM while writes fail: status {status} after {took:.1f} s")
        self.assertLess(took, 30)
        self.relay.start()
        self.relay.drained()
        self.assertEqual(self.relay.terminate()[0], 0)
        harness.account(self, self.folder, self.relay, self.sink)


def may_mount():
    """Who may not mount here may in a namespace of its own, where the system allows that."""
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    has_right = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    if not has_right and subprocess.run(inside + ["true"], capture_output=True).returncode == 0:
        os.execvp(inside[0], inside + [sys.executable] + sys.argv)


if __name__ == "__main__":
    may_mount()
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    known, sys.argv[1:] = parser.parse_known_args()
    ROUNDS = known.rounds
    harness.main()
