#!/usr/bin/python3
"""Verifies every DKIM signature of the messages in a folder with python3-dkim.

usage: judge_dkimpy.py FOLDER

FOLDER holds *.eml and records.txt ("DNS name<TAB>TXT" lines). Prints "file index pass|fail|reason" for each signature.
"""
import pathlib
import sys

import dkim


def main(folder):
    lines = (folder / "records.txt").read_text().splitlines()
    records = dict(line.split("\t", 1) for line in lines)

    def lookup(name, timeout=5):
        text = name.decode() if isinstance(name, bytes) else name
        return records.get(text.rstrip(".").lower(), "").encode() or None

    for file in sorted(folder.glob("*.eml")):
        verifier = dkim.DKIM(file.read_bytes(), minkey=1024)
        count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
        for index in range(count):
            try:
                verdict = "pass" if verifier.verify(idx=index, dnsfunc=lookup) else "fail"
            except dkim.DKIMException as reason:
                verdict = str(reason).replace("\n", " ")
            print(file.name, index, verdict)


main(pathlib.Path(sys.argv[1]))
