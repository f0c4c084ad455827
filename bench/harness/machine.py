"""What a run costs: CPU and memory of a relay's processes, and what the bare machine can do."""

import os
import re
import statistics
import subprocess
import threading
import time

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    with open(path) as file:
        return file.read()


def parent_and_ticks(pid):
    """(parent, own and reaped children's ticks) of a process, or None if it is gone."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def processes_below(roots):
    """`roots` and all that descend from them now."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := parent_and_ticks(int(name))) is not None:
            parents[int(name)] = stat[0]
    found = {pid for pid in roots if pid in parents}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


class ProcessGroup:
    """The processes of one relay. A control group counts them, exited ones too; where none can be made, their
    /proc/PID/stat does, which misses what an orphan used."""

    def __init__(self, name):
        self.roots = []
        self.folder = None
        self.is_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        parent = "/sys/fs/cgroup" if self.is_v2 else "/sys/fs/cgroup/cpuacct"
        folder = f"{parent}/danki-bench-{os.getpid()}-{name}"
        try:
            os.mkdir(folder)
            self.folder = folder
            self.cpu_seconds()
        except OSError:
            self.remove()

    def enter(self):
        """For preexec_fn: the calling process joins."""
        if self.folder:
            with open(f"{self.folder}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

    def add_root(self, pid):
        self.roots.append(pid)

    def pids(self):
        if self.folder:
            return {int(pid) for pid in read(f"{self.folder}/cgroup.procs").split()}
        return processes_below(self.roots)

    def cpu_seconds(self):
        if self.folder and self.is_v2:
            return int(re.search(r"usage_usec (\d+)", read(f"{self.folder}/cpu.stat")).group(1)) / 1e6
        if self.folder:
            return int(read(f"{self.folder}/cpuacct.usage")) / 1e9
        stats = [parent_and_ticks(pid) for pid in self.pids()]
        return sum(stat[1] for stat in stats if stat) / CLOCK_TICKS

    def private_bytes(self):
        total = 0
        for pid in self.pids():
            try:
                found = re.search(r"RssAnon:\s+(\d+) kB", read(f"/proc/{pid}/status"))
            except OSError:
                continue
            total += int(found.group(1)) * 1024 if found else 0
        return total

    def remove(self):
        if self.folder:
            try:
                os.rmdir(self.folder)
            except OSError:
                pass
        self.folder = None


class Meter:
    """Between `with Meter(...)` and its end: CPU seconds of the group and peak of its private memory, and how busy the
    machine was with anything else."""

    def __init__(self, group):
        self.group = group
        self.peak_private = 0
        self.cpu = 0.0
        self.tools_cpu = 0.0  # what load and sink used; the caller adds it
        self.others_share = 0.0
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self.sample)

    def sample(self):
        while True:
            self.peak_private = max(self.peak_private, self.group.private_bytes())
            if self.stop.wait(0.2):
                return

    def __enter__(self):
        self.started = time.monotonic()
        self.cpu_before = self.group.cpu_seconds()
        self.busy_before = busy_seconds()
        self.own_before = sum(os.times()[:4])
        self.sampler.start()
        return self

    def __exit__(self, *_):
        self.cpu = self.group.cpu_seconds() - self.cpu_before
        busy = busy_seconds() - self.busy_before
        own = sum(os.times()[:4]) - self.own_before
        self.stop.set()
        self.sampler.join()
        capacity = (time.monotonic() - self.started) * os.cpu_count()
        self.others_share = max(0.0, busy - self.cpu - own - self.tools_cpu) / capacity if capacity else 0.0


def busy_seconds():
    user, nice, system, _idle, _iowait, irq, softirq = (int(n) for n in read("/proc/stat").split("\n")[0].split()[1:8])
    return (user + nice + system + irq + softirq) / CLOCK_TICKS


def bare_append_ms(folder, count=500, size=4096):
    """Each time of appending `size` bytes to a file and fdatasync, in milliseconds."""
    times = []
    path = os.path.join(folder, "append")
    block = os.urandom(size)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            started = time.perf_counter()
            os.write(fd, block)
            os.fdatasync(fd)
            times.append((time.perf_counter() - started) * 1000)
    finally:
        os.close(fd)
        os.unlink(path)
    return times


def bare_rsa_ms(seconds=2):
    """One RSA-2048 signature of OpenSSL on one core, in milliseconds."""
    answer = subprocess.run(["openssl", "speed", "-seconds", str(seconds), "-mr", "rsa2048"], capture_output=True,
                            text=True, timeout=60, check=True)
    found = re.search(r"\+F2:\d+:2048:([0-9.e+-]+):", answer.stdout)
    number = float(found.group(1))  # OpenSSL 3.0 prints signatures a second; 1.1 printed seconds a signature
    return 1000 / number if number > 1 else 1000 * number


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def is_on_memory(folder):
    """Whether a folder lies on a file system that forgets: nothing durable can be measured there."""
    answer = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True)
    return answer.stdout.strip() in ("tmpfs", "ramfs")
