"""Programs that a demo leaves running and finds again."""
import os
import pathlib
import signal
import subprocess
import time


class DemoError(Exception):
    """What went wrong, for a person."""


def wait_until(condition, what, seconds=20):
    """Polls: what is waited for happens in other processes. Gives what `condition` gave."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise DemoError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.05)


class Process:
    """A program started in the background, known by its pid file to later runs."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.pid_file = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"

    def running_pid(self):
        """Only if that pid is still the program this demo started: pids are used again."""
        try:
            pid = int(self.pid_file.read_text())
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = os.path.basename(command[0].decode()) == self.name and any(str(self.folder).encode() in c for c in command)
        return pid if ours else None

    def start(self, command):
        with open(self.log, "ab") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                     start_new_session=True)
        self.pid_file.write_text(f"{child.pid}\n")
        return child

    def stop(self):
        pid = self.running_pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        try:
            wait_until(lambda: not self.is_alive(pid), f"{self.name} (pid {pid}) to stop", 75)
        except DemoError:
            os.kill(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)
        return True

    @staticmethod
    def is_alive(pid):
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return False
        except ChildProcessError:
            pass
        return pathlib.Path(f"/proc/{pid}").exists()

    def last_words(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-15:]) or "    (nothing)"
