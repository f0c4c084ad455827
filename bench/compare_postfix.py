#!/usr/bin/env python3
"""Measures Danki beside Postfix on the same machine in the same run. docs/benchmarks.md says what the columns mean.

    bench/compare_postfix.py compare            speed, CPU and memory, three runs each, in turn
    bench/compare_postfix.py latency            one session, one message at a time, against a bare append and fdatasync
    bench/compare_postfix.py syncs              syncs per message, as the disk is and with each sync slowed to 5 ms
    bench/compare_postfix.py deferred           accepting while all receivers defer and the queue is long
    bench/compare_postfix.py memory             private memory while delivering and with a backlog

All of it is loopback traffic in a temporary folder. Python's standard library only."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from harness import machine, relays
from harness.machine import median
from harness.tools import Failed, Sink, load, until

WORKLOADS = {
    # name: size, signed, messages for Postfix and for Danki. The faster one gets more, so that both run some ten seconds.
    "4k": (4096, False, {"postfix": 6000, "danki": 60000}),
    "4k-rsa": (4096, True, {"postfix": 4000, "danki": 30000}),
    "100k-rsa": (102400, True, {"postfix": 2500, "danki": 12000}),
}
WARM_UP_MESSAGES = 200
DISTURBED_SHARE = 0.10  # of the machine's CPU used by others: waits for a CPU then pass for waits for the disk
QUIET_S = 20  # no message for so long: what is missing will not come within the run


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.bin_dir = os.path.abspath(arguments.bin_dir)
        relays.Danki.program = os.path.abspath(arguments.dankid or f"{self.bin_dir}/dankid")
        self.folder = tempfile.mkdtemp(prefix="danki-bench-", dir=arguments.work_dir)
        os.chmod(self.folder, 0o755)  # Postfix and opendkim work under users of their own
        if machine.is_on_memory(self.folder):
            raise Failed(f"{self.folder} is in memory: give --work-dir on a disk")
        self.key_path = relays.make_key(self.folder)
        self.runs = 0

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def peers(self):
        names = self.arguments.relays.split(",")
        if "postfix" in names and os.geteuid() != 0:
            raise Failed("Postfix starts as root only: use sudo, or --relays danki")
        if "danki" in names and not os.access(relays.Danki.program, os.X_OK):
            say(f"{relays.Danki.program} is not built: measuring the others only")
            names.remove("danki")
        return names

    def scaled(self, count):
        if self.arguments.quick:
            count = max(300, count // 20)
        return max(1, int(count * self.arguments.scale))

    @contextlib.contextmanager
    def running(self, name, signed=False, shim=None, sink_options=()):
        """A sink and a relay in front of it, in a folder that is gone afterwards."""
        self.runs += 1
        self.wait_for_quiet()
        folder = f"{self.folder}/{self.runs:03}-{name}"
        os.makedirs(f"{folder}/sink")
        sink = Sink(self.bin_dir, f"{folder}/sink", *sink_options)
        try:
            relay = relays.RELAYS[name](f"{folder}/relay", sink.next_hops, self.key_path if signed else None, shim)
            try:
                relay.start()
                yield relay, sink
            finally:
                relay.stop()
        finally:
            sink.close()
            shutil.rmtree(folder, ignore_errors=True)

    def wait_for_quiet(self):
        """Bounded: on a machine that stays busy the run goes ahead, and its row says how busy it was."""
        deadline = time.monotonic() + self.arguments.quiet_wait
        while time.monotonic() < deadline:
            before, started = machine.busy_seconds(), time.monotonic()
            time.sleep(2)
            if (machine.busy_seconds() - before) / (time.monotonic() - started) / os.cpu_count() < DISTURBED_SHARE:
                return

    def warm_up(self, relay, sink):
        count = min(WARM_UP_MESSAGES, self.scaled(WARM_UP_MESSAGES * 5))
        load(self.bin_dir, relay.port, "warmup", count)
        sink.wait_for(count, QUIET_S)
        sink.ask("reset")

    def measure(self, name, size, signed, count, shim=None):
        """One run from the first MAIL to the last message at the sink."""
        dump = f"{self.folder}/dump-{self.runs + 1:03}"
        os.makedirs(dump)
        sink_options = ("--require-header", "DKIM-Signature", "--dump-dir", dump, "--dump-first", "2")
        with self.running(name, signed, shim, sink_options) as (relay, sink):
            self.warm_up(relay, sink)
            for message in os.listdir(dump) if signed else ():
                if not relays.verifies(self.folder, self.key_path, f"{dump}/{message}"):
                    raise Failed(f"{name}: a signature does not verify; a speed without it means nothing")
            counts_before = read_counts(shim)
            sink_cpu = sink.cpu_seconds()
            with machine.Meter(relay.group) as meter:
                result = load(self.bin_dir, relay.port, f"r{self.runs:03}", count, size=size)
                arrived = sink.wait_for(result["accepted"], QUIET_S)
                meter.tools_cpu = sink.cpu_seconds() - sink_cpu
            syncs = [after - before for before, after in zip(counts_before, read_counts(shim))]
            stats = sink.stats()
            seen = sink.seen(f"r{self.runs:03}")
            if meter.others_share > DISTURBED_SHARE:
                say(f"disturbed: others used {meter.others_share:.0%} of the machine during this run")
            if result["accepted"] != count:
                say(f"{name}: {result['accepted']} of {count} accepted, refused {result['refused']}")
            seconds = stats["last_message_at"] - result["started_at"]
            return {
                "relay": name,
                "count": count,
                "inject_per_second": result["per_second"],
                "end_to_end_per_second": arrived / seconds if arrived else 0.0,
                "cpu_s_per_1000": meter.cpu / max(1, arrived) * 1000,
                "private_mib": meter.peak_private / 2**20,
                "dot_ms": result["dot_ms"],
                "sink_connections": stats["connections"],
                "signed": stats["with_header"],
                "lost": result["accepted"] - len(seen),
                "duplicates": sum(seen.values()) - len(seen),
                "syncs_per_message": sum(syncs[:2]) / max(1, arrived) if shim else None,
                "others_share": meter.others_share,
            }

    def shim(self, delay_us=0):
        """Environment under which a relay counts its syncs, and waits after each."""
        path = f"{self.folder}/syncs-{self.runs + 1:03}"
        with open(path, "wb") as file:
            file.write(bytes(32))
        os.chmod(path, 0o666)  # the relay may have changed its user
        return {"LD_PRELOAD": f"{self.bin_dir}/syncshim.so", "SYNCSHIM_COUNTS": path, "SYNCSHIM_DELAY_US": str(delay_us)}


def read_counts(shim):
    if not shim:
        return (0, 0, 0, 0)
    with open(shim["SYNCSHIM_COUNTS"], "rb") as file:
        return struct.unpack("4Q", file.read(32))


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def summary(runs):
    """The median of each number of equal runs, and of each number inside."""
    first = runs[0]
    values = {}
    for key, value in first.items():
        if isinstance(value, dict):
            values[key] = summary([run[key] for run in runs])
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            values[key] = median([run[key] for run in runs])
        else:
            values[key] = value
    return values


def spread(runs, key):
    numbers = [run[key] for run in runs]
    return f"{median(numbers):.0f} ({min(numbers):.0f}-{max(numbers):.0f})"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def verdict(value, limit, at_least=True, others_share=0.0):
    if others_share > DISTURBED_SHARE:
        return "disturbed"
    return "reached" if (value >= limit if at_least else value <= limit) else "MISSED"


# --- compare ---------------------------------------------------------------------------------------------------------


def compare(bench):
    wanted = bench.arguments.workloads.split(",")
    results, rsa_ms, append_ms = [], [], []
    for workload in wanted:
        size, signed, counts = WORKLOADS[workload]
        runs = {name: [] for name in bench.peers()}
        for repetition in range(bench.arguments.runs):
            rsa_ms.append(machine.bare_rsa_ms(1))
            append_ms += machine.bare_append_ms(bench.folder)
            for name in runs:
                run = bench.measure(name, size, signed, bench.scaled(counts[name]))
                say(f"{workload} {name} {repetition + 1}: {run['end_to_end_per_second']:.0f}/s end to end, "
                    f"{run['cpu_s_per_1000']:.3f} CPU s/1000, {run['private_mib']:.0f} MiB, others {run['others_share']:.0%}")
                if signed and run["signed"] < run["count"]:
                    say(f"{name}: only {run['signed']} of {run['count']} messages carry a signature")
                runs[name].append(run)
        results.append({"workload": workload, "runs": runs, "median": {n: summary(r) for n, r in runs.items()}})
    bare = {"rsa_ms": median(rsa_ms), "append_fdatasync_ms_p50": median(append_ms)}
    return {"workloads": results, "bare": bare}, compare_text(results, bare)


def compare_text(results, bare):
    rows = []
    for result in results:
        for name, runs in result["runs"].items():
            middle = result["median"][name]
            rows.append([result["workload"], name, middle["count"], spread(runs, "inject_per_second"),
                         spread(runs, "end_to_end_per_second"), f"{middle['cpu_s_per_1000']:.3f}",
                         f"{max(run['private_mib'] for run in runs):.0f}",
                         f"{middle['dot_ms']['p50']:.1f}/{middle['dot_ms']['p99']:.1f}",
                         sum(run["lost"] for run in runs), sum(run["duplicates"] for run in runs),
                         f"{max(run['others_share'] for run in runs):.0%}"])
    text = table(["work", "relay", "messages", "inject/s", "end to end/s", "CPU s/1000", "private MiB, peak",
                  "end of data to 250, p50/p99 ms", "lost", "duplicates", "other CPU, worst"], rows)
    text += (f"\n\nBare RSA-2048 signature {bare['rsa_ms']:.3f} ms; bare 4 KiB append and fdatasync p50 "
             f"{bare['append_fdatasync_ms_p50']:.3f} ms.\n\n")
    return text + compare_goals(results, bare)


def compare_goals(results, bare):
    factors = {"4k": 10, "4k-rsa": 8, "100k-rsa": 6}
    rows = []
    for result in results:
        middle = result["median"]
        if "danki" not in middle:
            continue
        danki, workload = middle["danki"], result["workload"]
        if "postfix" in middle:
            times = danki["end_to_end_per_second"] / max(1e-9, middle["postfix"]["end_to_end_per_second"])
            rows.append([f"{workload}: end to end against Postfix", f"at least {factors[workload]}x", f"{times:.1f}x",
                         verdict(times, factors[workload], True, danki["others_share"])])
        if workload.startswith("4k"):
            limit = 0.20 + (bare["rsa_ms"] if workload == "4k-rsa" else 0)
            rows.append([f"{workload}: CPU s per 1,000", f"at most {limit:.3f}", f"{danki['cpu_s_per_1000']:.3f}",
                         verdict(danki["cpu_s_per_1000"], limit, False, danki["others_share"])])
        limit = 150 if workload.startswith("4k") else 300
        peak = max(run["private_mib"] for run in result["runs"]["danki"])
        rows.append([f"{workload}: private memory", f"at most {limit} MiB", f"{peak:.0f} MiB",
                     verdict(peak, limit, at_least=False)])
    return table(["goal", "wanted", "measured", ""], rows) + "\n" if rows else ""


# --- latency ---------------------------------------------------------------------------------------------------------


def latency_run(bench, name):
    """Slices of both in turn: the disk's own speed drifts within seconds, and the two are compared with each other."""
    bare, p50, p99 = [], [], []
    with bench.running(name) as (relay, sink):
        bench.warm_up(relay, sink)
        sink_cpu = sink.cpu_seconds()
        with machine.Meter(relay.group) as meter:
            for _ in range(10):
                bare.append(median(machine.bare_append_ms(bench.folder, 100)))
                dot_ms = load(bench.bin_dir, relay.port, "latency", bench.scaled(3000) // 10, sessions=1)["dot_ms"]
                p50.append(dot_ms["p50"])
                p99.append(dot_ms["p99"])
            meter.tools_cpu = sink.cpu_seconds() - sink_cpu
    return {"dot_ms": median(p50), "p99_ms": median(p99), "append_ms": median(bare), "ratio": median(p50) / median(bare),
            "others_share": meter.others_share}


def latency(bench):
    runs = {name: [] for name in bench.peers()}
    for _ in range(bench.arguments.runs):
        for name in runs:
            run = latency_run(bench, name)
            say(f"latency {name}: p50 {run['dot_ms']:.3f} ms, bare append {run['append_ms']:.3f} ms")
            runs[name].append(run)
    middle = {name: summary(of_relay) for name, of_relay in runs.items()}
    rows = [[name, f"{m['dot_ms']:.3f}", f"{m['p99_ms']:.3f}", f"{m['append_ms']:.3f}", f"{m['ratio']:.2f}",
             f"{m['others_share']:.0%}", verdict(m["ratio"], 2, False, m["others_share"]) if name == "danki" else ""] for name, m in middle.items()]
    text = table(["relay", "end of data to 250, p50 ms", "p99 ms", "bare append and fdatasync, p50 ms", "ratio (goal: 2)",
                  "other CPU", ""], rows)
    return {"runs": runs, "median": middle}, text + "\n"


# --- syncs -----------------------------------------------------------------------------------------------------------


def syncs(bench):
    counts = {"postfix": {0: 3000, 5000: 1500}, "danki": {0: 20000, 5000: 20000}}
    rows, found = [], []
    for delay_us, goal in ((0, 0.6), (5000, 0.1)):
        for name in bench.peers():
            runs = [bench.measure(name, 4096, False, bench.scaled(counts[name][delay_us]), bench.shim(delay_us))
                    for _ in range(bench.arguments.runs)]
            middle = summary(runs)
            found.append({"relay": name, "delay_us": delay_us, "median": middle, "runs": runs})
            rows.append([name, f"+{delay_us / 1000:.0f} ms" if delay_us else "none", middle["count"],
                         f"{middle['syncs_per_message']:.3f}", spread(runs, "inject_per_second"),
                         spread(runs, "end_to_end_per_second"),
                         f"at most {goal}: {verdict(middle['syncs_per_message'], goal, False)}" if name == "danki" else ""])
            say(f"syncs {name} delay {delay_us} us: {middle['syncs_per_message']:.3f} per message")
    text = table(["relay", "each sync slowed by", "messages", "syncs per message", "inject/s", "end to end/s", "goal"], rows)
    return {"runs": found}, text + "\n"


# --- deferred --------------------------------------------------------------------------------------------------------


def deferred(bench):
    """Accepting with a long deferred queue while receivers answer 451, against the same receivers answering 250."""
    backlog = {"postfix": 10000, "danki": 100000}
    sample = {"postfix": 3000, "danki": 20000}
    rows, found = [], []
    for name in bench.peers():
        runs = []
        for _ in range(bench.arguments.runs if name == "danki" else 1):
            count = bench.scaled(sample[name])
            with bench.running(name) as (relay, sink):
                bench.warm_up(relay, sink)
                healthy = load(bench.bin_dir, relay.port, "healthy", count)["per_second"]
                sink.wait_for(count, QUIET_S)
                sink.ask("reply rcpt 451 4.7.1 try again later")
                filled = load(bench.bin_dir, relay.port, "fill", bench.scaled(backlog[name]))
                with machine.Meter(relay.group) as meter:
                    refused = load(bench.bin_dir, relay.port, "queued", count)["per_second"]
                runs.append({"healthy_per_second": healthy, "filled": filled["accepted"],
                             "fill_per_second": filled["per_second"], "deferred_per_second": refused,
                             "ratio": refused / max(1e-9, healthy), "private_mib": meter.peak_private / 2**20})
                say(f"deferred {name}: {healthy:.0f}/s healthy, {refused:.0f}/s with {filled['accepted']} queued")
        middle = summary(runs)
        found.append({"relay": name, "median": middle, "runs": runs})
        rows.append([name, middle["filled"], f"{middle['healthy_per_second']:.0f}", f"{middle['deferred_per_second']:.0f}",
                     f"{middle['ratio']:.2f}", f"{middle['private_mib']:.0f}",
                     f"at least 0.9: {verdict(middle['ratio'], 0.9)}" if name == "danki" else ""])
    text = table(["relay", "queued", "accepted/s, receivers answer 250", "accepted/s, all answer 451", "ratio",
                  "private MiB, peak", "goal"], rows)
    return {"runs": found}, text + "\n"


# --- memory ----------------------------------------------------------------------------------------------------------


def memory(bench):
    """Peak private memory while delivering, and while everything piles up."""
    rows, found = [], []
    for label, size, counts in (("4 KiB", 4096, {"postfix": 3000, "danki": 50000}),
                                ("100 KiB", 102400, {"postfix": 1000, "danki": 8000})):
        for name in bench.peers():
            count = bench.scaled(counts[name])
            peaks = {}
            for case, reply in (("delivering", None), ("deferred", "reply rcpt 451 4.7.1 try again later")):
                with bench.running(name, signed=True) as (relay, sink):
                    if reply:
                        sink.ask(reply)
                    with machine.Meter(relay.group) as meter:
                        load(bench.bin_dir, relay.port, "memory", count, size=size)
                        if not reply:
                            sink.wait_for(count, QUIET_S)
                    peaks[case] = meter.peak_private / 2**20
            goal = 150 if size == 4096 else 300
            say(f"memory {name} {label}: {peaks['delivering']:.0f} MiB delivering, {peaks['deferred']:.0f} deferred")
            found.append({"relay": name, "size": size, "count": count, "private_mib": peaks})
            rows.append([name, label, count, f"{peaks['delivering']:.0f}", f"{peaks['deferred']:.0f}",
                         f"at most {goal}: {verdict(max(peaks.values()), goal, False)}" if name == "danki" else ""])
    text = table(["relay", "size", "messages", "delivering, peak MiB", "all deferred, peak MiB", "goal"], rows)
    return {"runs": found}, text + "\n"


COMMANDS = {"compare": compare, "latency": latency, "syncs": syncs, "deferred": deferred, "memory": memory}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("command", nargs="*", help=f"{', '.join(COMMANDS)} or all", default=["compare"])
    parser.add_argument("--bin-dir", default=f"{root}/build/release/bin", help="where smtp-load and the others are")
    parser.add_argument("--dankid", help="the daemon, if it is not there")
    parser.add_argument("--work-dir", default="/var/tmp", help="a folder on the disk to measure (/var/tmp)")
    parser.add_argument("--relays", default="postfix,danki", help="which, in this order")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"of compare: {', '.join(WORKLOADS)}")
    parser.add_argument("--quiet-wait", type=float, default=0, metavar="S",
                        help="before each run wait up to S seconds until others use less than 10 %% of the machine")
    parser.add_argument("--quick", action="store_true", help="small counts and one run: shows that it works, no figures")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all message counts")
    parser.add_argument("--json", help="write all numbers of all runs here")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs = 1
    if "all" in arguments.command:
        arguments.command = list(COMMANDS)
    unknown = [name for name in arguments.command if name not in COMMANDS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(COMMANDS)}")
    unknown = [name for name in arguments.workloads.split(",") if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workloads: {', '.join(unknown)}; known: {', '.join(WORKLOADS)}")
    return arguments


def describe_machine():
    cpu = next((line.split(":")[1].strip() for line in machine.read("/proc/cpuinfo").split("\n") if "model name" in line),
               "unknown CPU")
    return {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "cpus": os.cpu_count(), "cpu": cpu, "kernel": os.uname().release,
            "load_before": os.getloadavg()[0]}


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the relays are stopped and the folder removed
    results = {"machine": describe_machine(), "quick": arguments.quick}
    try:
        bench = Bench(arguments)
        try:
            for name in arguments.command:
                results[name], text = COMMANDS[name](bench)
                print(f"## {name}\n\n{text}", flush=True)
        finally:
            bench.close()
    except (Failed, subprocess.SubprocessError) as error:
        say(f"failed: {error}")
        return 1
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
