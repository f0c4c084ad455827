#!/usr/bin/env python3
"""The crash tests at length, for an evening: far more kills, troubles and mail than in the default run.

Usage: crash.py FOLDER-OF-PROGRAMS [NAME...]      names: kill, disk, backlog, silence; without one: all of them

Each prints its figures and ends with status 0 if all held. CRASH_SEED=N repeats a run's moments.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VARIANTS = {
    "kill": ("kill_test.py", "--kills", "300"),                                            # about 8 minutes
    "disk": ("disk_test.py", "--rounds", "200", "Crashes.test_trouble_that_comes_and_goes"),  # about 6 minutes
    "backlog": ("backlog_test.py", "--messages", "300000"),                                # about 5 minutes
    "silence": ("hostile_test.py", "--silent", "19000", "Silence"),                        # needs ulimit -n 20000
}


def main():
    if len(sys.argv) < 2 or any(name not in VARIANTS for name in sys.argv[2:]):
        print(__doc__, file=sys.stderr)
        return 64
    failed = []
    for name in sys.argv[2:] or VARIANTS:
        script, *options = VARIANTS[name]
        print(f"=== {name}", flush=True)
        command = [sys.executable, os.path.join(HERE, "..", "crash", script), sys.argv[1], *options]
        if subprocess.run(command).returncode != 0:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "all held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
