#!/usr/bin/env python3
"""Prints the ten files that took longest to build, from ninja's log.

usage: slowest_files.py BUILD_FOLDER
"""
import pathlib
import sys


def main(folder):
    lines = (folder / ".ninja_log").read_text().splitlines()[1:]
    seconds = {}
    for line in lines:
        begin, end, _, output, _ = line.split("\t")
        if output.endswith(".o"):
            seconds[output] = (int(end) - int(begin)) / 1000
    for output, time in sorted(seconds.items(), key=lambda item: -item[1])[:10]:
        print(f"  {time:7.1f} s  {output.removesuffix('.o')}")
    print(f"  {sum(seconds.values()):7.1f} s  all {len(seconds)} files, one after the other")


main(pathlib.Path(sys.argv[1]))
