"""The two ends of each measurement: smtp-load and smtp-sink-fast."""

import collections
import json
import os
import socket
import subprocess
import time

FIRST_ADDRESS = 2
DOMAINS = 50


class Failed(Exception):
    """A measurement that cannot go on; the text is for people."""


def until(condition, timeout_s, what, step_s=0.02):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout_s} s for {what}")
        time.sleep(step_s)


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, 0))
        return probe.getsockname()[1]


def greets(port):
    """Whether a mail server answers at 127.0.0.1:port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            return connection.recv(4).startswith(b"220")
    except OSError:
        return False


def end_process(process, timeout_s=30):
    """SIGTERM, then SIGKILL to this one process. Returns its status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class Sink:
    """smtp-sink-fast on 127.0.0.2 to 127.0.0.51, one address for each recipient domain."""

    def __init__(self, bin_dir, folder, *options):
        self.folder = folder
        self.seen_path = f"{folder}/seen"
        ports_path = f"{folder}/ports"
        last = FIRST_ADDRESS + DOMAINS - 1
        self.process = subprocess.Popen(
            [f"{bin_dir}/smtp-sink-fast", "--listen", f"127.0.0.{FIRST_ADDRESS}-127.0.0.{last}:0", "--quiet",
             "--port-file", ports_path, "--control", f"{folder}/control", "--seen-file", self.seen_path, *options])
        until(lambda: os.path.exists(ports_path) or self.process.poll() is not None, 10, "smtp-sink-fast to listen")
        with open(ports_path) as file:
            listeners = [line.strip() for line in file]
        self.next_hops = {f"d{i:02}.test": listener for i, listener in enumerate(listeners)}
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(30)
        self.control.connect(f"{folder}/control")
        self.answers = self.control.makefile("r")

    def ask(self, command):
        self.control.sendall(command.encode() + b"\n")
        answer = self.answers.readline().strip()
        if answer.startswith("error"):
            raise Failed(f"smtp-sink-fast: {command}: {answer}")
        return answer

    def stats(self):
        return json.loads(self.ask("stats"))

    def messages(self):
        return json.loads(self.ask("totals"))["messages"]

    def wait_for(self, count, timeout_s):
        """Until `count` messages came, or none more for `timeout_s`. Returns how many came."""
        seen, changed_at = self.messages(), time.monotonic()
        while seen < count and time.monotonic() - changed_at < timeout_s:
            time.sleep(0.02)
            now_seen = self.messages()
            if now_seen != seen:
                seen, changed_at = now_seen, time.monotonic()
        return seen

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seen(self, run):
        """How often each sequence token of `run` came."""
        self.ask("stats")  # flushes the file
        with open(self.seen_path) as file:
            return collections.Counter(line.strip() for line in file if line.startswith(run + "-"))

    def close(self):
        self.control.close()
        end_process(self.process)


def load(bin_dir, port, run, count, *, size=4096, sessions=20, timeout_s=600, acked=None, options=()):
    """Runs smtp-load to its end. Returns its result."""
    command = [f"{bin_dir}/smtp-load", "--port", str(port), "--run", run, "--count", str(count), "--size", str(size),
               "--sessions", str(sessions), "--domains", str(DOMAINS), "--timeout", str(timeout_s), "--latency", "--json",
               *options]
    if acked:
        command += ["--acked-file", acked]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s + 30)
    if not answer.stdout.startswith("{"):
        raise Failed(f"smtp-load: {answer.stderr.strip()}")
    return json.loads(answer.stdout)
