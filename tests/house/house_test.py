#!/usr/bin/env python3
"""Holds the sources to the table of floors: a room includes only rooms below it, and rooms on one floor do not know
each other. Also counts the expensive headers and looks at the size of files.

usage: house_test.py [SOURCE_FOLDER]   checks it (default: this repository)
       house_test.py --self-test       shows on samples in a temporary folder that each rule can fail
"""
import collections
import pathlib
import re
import sys
import tempfile

# Room (its folder) and floor. DESIGN of the house: docs/README.md.
FLOORS = {
    "base": 0, "mail": 0,
    "net": 1, "events": 1,
    "queue": 2, "dkim": 2, "reputation": 2,
    "dnsbl": 3, "warmup": 3,
    "mta/submission": 4, "mta/delivery": 4, "mta/bounce": 4, "admin": 4,
    "config": 5,
    "mta/daemon": 6, "cli": 6,
}
# Neighbours that may be known although they are on the same floor: mail/ uses base/'s Result.
NEIGHBOURS = {("mail", "base")}

# A file that includes one of these costs seconds to compile; what counts is how many do, directly or through a header.
EXPENSIVE = {"boost/asio": 40, "boost/beast": 3, "CLI/": 2}
# Addresses, networks and endpoints are data, and options hold them: their headers take 0.5 to 1.2 s, a coroutine with
# sockets over 5 s.
CHEAP = ("boost/asio/ip/address", "boost/asio/ip/network", "boost/asio/ip/tcp")

MAX_LINES = 500
LONG_FILES = {  # path: why it is better in one piece
}

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)
DETACHED = re.compile(r"\basio::detached\b")


def room_of(path):
    """The room of a path like "mta/delivery/site.hpp", or None."""
    return next((room for room in FLOORS if path.startswith(room + "/")), None)


CONDITION = re.compile(r"\b(?:if|while|switch)\s*(?:constexpr\s*)?\(")


def awaiting_conditions(text):
    """Line numbers of if, while and switch whose condition holds a co_await (what stands before a ; in it may)."""
    for match in CONDITION.finditer(text):
        depth, at = 1, match.end()
        while at < len(text) and depth > 0:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        if "co_await" in text[match.end():at].rsplit(";", 1)[-1]:
            yield text.count("\n", 0, match.start()) + 1


def without_comments(text):
    """The code, with as many lines as before."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)


def read_sources(root):
    """Path to text, for the .hpp and .cpp files of all rooms."""
    sources = {}
    for room in FLOORS:
        for file in sorted((root / room).rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.suffix in (".hpp", ".cpp") and room_of(name) == room:
                sources[name] = file.read_text(encoding="utf-8")
    return sources


def floor_problems(includes):
    for path, targets in sorted(includes.items()):
        room = room_of(path)
        for target in targets:
            other = room_of(target)
            if other is None or other == room or (room, other) in NEIGHBOURS:
                if target.startswith(("tests/", "bench/")):
                    yield f"{path}: includes {target}: rooms know nothing of tests and benches"
                continue
            if FLOORS[other] > FLOORS[room]:
                yield f"{path}: includes {target}: {other}/ is above {room}/ (floors {FLOORS[other]} and {FLOORS[room]})"
            elif FLOORS[other] == FLOORS[room]:
                yield f"{path}: includes {target}: {other}/ and {room}/ are neighbours on floor {FLOORS[room]}"


def includers(includes, prefix):
    """Paths of .cpp files that see a header beginning with `prefix`, themselves or through the rooms' headers."""
    def sees(path, on_the_way):
        if path not in memo:
            if path in on_the_way:
                return False
            targets = includes.get(path, [])
            memo[path] = any(t.startswith(prefix) and not t.startswith(CHEAP) for t in targets) or any(
                sees(t, on_the_way | {path}) for t in targets if t in includes)
        return memo[path]

    memo = {}
    return [path for path in sorted(includes) if path.endswith(".cpp") and sees(path, frozenset())]


def problems_of(root):
    sources = read_sources(root)
    if not sources:
        yield f"{root}: no sources found"
    includes = {path: INCLUDE.findall(text) for path, text in sources.items()}
    yield from floor_problems(includes)
    for prefix, most in EXPENSIVE.items():
        users = includers(includes, prefix)
        if len(users) > most:
            rooms = collections.Counter(room_of(path) for path in users)
            spread = ", ".join(f"{room} {count}" for room, count in rooms.most_common())
            yield f"{len(users)} files include <{prefix}...>, at most {most} may ({spread})"
    for path, text in sources.items():
        code = without_comments(text)
        for line in awaiting_conditions(code):
            yield f"{path}:{line}: co_await in a condition: without a local variable GCC 12 makes a crash of it: name the result"
        if DETACHED.search(code):
            yield f"{path}: asio::detached: use base/task_scope.hpp, so that the task has an owner"
        lines = text.count("\n")
        if lines > MAX_LINES and path not in LONG_FILES:
            yield f"{path}: {lines} lines: move the second idea out, or add the file to LONG_FILES with the reason"
    for path, reason in LONG_FILES.items():
        if path not in sources or sources[path].count("\n") <= MAX_LINES or not reason:
            yield f"LONG_FILES: {path}: gone, short enough or without a reason: take it off the list"


def self_test():
    """Each sample breaks one rule: name, files, what the complaint says."""
    asio = {f"net/n{i}.cpp": '#include "net/stream.hpp"\n' for i in range(41)}
    samples = [
        ("good", {"mail/a.hpp": '#include "base/result.hpp"\n', "cli/main.cpp": '#include "config/load.hpp"\n'}, None),
        ("above", {"queue/spool.cpp": '#include "mta/delivery/site.hpp"\n'}, "mta/delivery/ is above queue/"),
        ("neighbour", {"dkim/signer.cpp": '  #  include "queue/spool.hpp"\n'}, "neighbours on floor 2"),
        ("base", {"base/a.cpp": '#include "mail/address.hpp"\n'}, "neighbours on floor 0"),
        ("tests", {"base/a.cpp": '#include "tests/fakes/clock.hpp"\n'}, "nothing of tests"),
        ("asio", {"net/stream.hpp": "#include <boost/asio/awaitable.hpp>\n", **asio}, "41 files include <boost/asio"),
        ("address", {f"net/n{i}.cpp": "#include <boost/asio/ip/address.hpp>\n" for i in range(41)}, None),
        ("cli", {f"cli/c{i}.cpp": "#include <CLI/CLI.hpp>\n" for i in range(3)}, "3 files include <CLI/"),
        ("detached", {"net/a.cpp": "co_spawn(io, f(), asio::detached);\n"}, "asio::detached"),
        ("comment", {"net/a.cpp": "// never asio::detached\n"}, None),
        ("condition", {"net/a.cpp": "/* two\nlines */ if (!co_await f(g())) co_return;\n"}, "net/a.cpp:2: co_await"),
        ("named", {"net/a.cpp": "if (bool ok = co_await f(); !ok) co_return;\nif (ok) co_await f();\n"}, None),
        ("long", {"base/a.cpp": "\n" * 501}, "501 lines"),
        ("empty", {}, "no sources found"),
    ]
    failures = 0
    for name, files, want in samples:
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                file = pathlib.Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            found = [p for p in problems_of(pathlib.Path(folder)) if not p.startswith("LONG_FILES")]
        as_wanted = found == [] if want is None else len(found) == 1 and want in found[0]
        print(f"{'ok  ' if as_wanted else 'FAIL'} {name}: {found}")
        failures += not as_wanted
    return failures


def main(arguments):
    if arguments == ["--self-test"]:
        return 1 if self_test() else 0
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parents[2]
    problems = list(problems_of(root))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "the house stands")
    return 1 if problems else 0


sys.exit(main(sys.argv[1:]))
