#!/usr/bin/env python3
"""Holds packaging/packages.txt to what is started: each program that a test, a script or the README calls is on every
Debian system or comes with a package of a section that is installed before.

usage: programs_test.py [SOURCE_FOLDER]   checks it (default: this repository)
       programs_test.py --self-test       shows that each rule can fail
"""
import ast
import pathlib
import re
import sys
import tempfile

# Program: its Debian package, or None: on every Debian 12 system, the smallest image included.
PROGRAMS = {
    "bash": None, "cat": None, "cp": None, "ls": None, "mount": None, "stat": None, "sudo": None, "tail": None,
    "umount": None, "unshare": None,
    "cc": "g++", "cmake": "cmake", "ctest": "cmake", "ninja": "ninja-build",
    "openssl": "openssl", "python3": "python3", "perl": "perl", "swaks": "swaks",
    "haproxy": "haproxy", "nsd": "nsd", "opendkim": "opendkim", "postfix": "postfix", "postmap": "postfix",
    "node": "nodejs", "npm": "npm", "zstd": "zstd",
    # Not a package's: how the README names an administrator's own steps.
    "systemctl": None, "install": None, "useradd": None,
}
DEMO = {"build", "demo"}            # what ./quickstart installs
CHECK = {"build", "demo", "test", "node"}  # what ./check installs

STARTERS = {"run", "must", "Popen", "check_call", "check_output", "execvp", "which"}
IN_C = re.compile(r'(?:execlp?|posix_spawnp)\((?:&?\w+, )?"([^"]+)"|"(/usr/s?bin/[a-z0-9]+)[ "]')
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def started_by_python(text):
    """The programs that calls name by a literal: run("swaks", ...), Popen(["openssl", ...]), Process(test, name, [...])."""
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in STARTERS:
            first = call.args[0]
        elif name == "Process" and len(call.args) > 2:
            first = call.args[2]
        else:
            continue
        if isinstance(first, ast.List) and first.elts:
            first = first.elts[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def started_by_readme(text):
    for block in SHELL_BLOCK.findall(text):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for command in re.split(r"&&|\||;", line.split("#")[0]):
                words = [word for word in command.split() if "=" not in word and word != "sudo"]
                if words and not words[0].startswith(("./", "scripts/", "danki", "build/")):
                    yield words[0]


def sections_of(text):
    """Package: the sections that list it."""
    found, section = {}, None
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(line, set()).add(section)
    return found


def uses_of(root):
    """(file, program, the sections installed before)"""
    for folder in ("tests", "scripts", "bench"):
        for file in sorted((root / folder).rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.suffix == ".py":
                for program in started_by_python(file.read_text(encoding="utf-8")):
                    yield name, program, DEMO if folder == "scripts" else CHECK
            elif file.suffix in (".cpp", ".hpp"):
                for match in IN_C.findall(file.read_text(encoding="utf-8")):
                    yield name, match[0] or match[1], CHECK
    readme = root / "README.md"
    if readme.exists():
        for program in started_by_readme(readme.read_text(encoding="utf-8")):
            yield "README.md", program, DEMO


def problems_of(root):
    sections = sections_of((root / "packaging/packages.txt").read_text(encoding="utf-8"))
    uses = list(uses_of(root))
    if not uses:
        yield f"{root}: no program is started: this test no longer understands how"
    for file, path, installed in sorted(set((f, p, tuple(sorted(i))) for f, p, i in uses)):
        program = path.rsplit("/", 1)[-1]
        if program not in PROGRAMS:
            yield f"{file}: starts {program}: name its package in PROGRAMS"
        elif (package := PROGRAMS[program]) and not sections.get(package, set()) & set(installed):
            yield f"{file}: starts {program}: packaging/packages.txt lists {package} in none of [{'], ['.join(installed)}]"


def self_test():
    """Each sample: name, files, what the complaint says."""
    packages = {"packaging/packages.txt": "# a comment\n[demo]\nopenssl\n[bench]\nopendkim\n[test]\nnsd\n"}
    samples = [
        ("good", {"tests/e2e/a.py": 'must("openssl", "x")\nharness.Process(t, "n", ["/usr/sbin/nsd", "-d"])\n'}, None),
        ("section", {"tests/e2e/a.py": 'harness.run("opendkim", "-x")\n'}, "lists opendkim in none of"),
        ("unknown", {"tests/e2e/a.py": 'subprocess.Popen(["frob"])\n'}, "starts frob: name its package"),
        ("variable", {"tests/e2e/a.py": 'run(program, "openssl")\nrun("bash")\n'}, None),
        ("demo", {"scripts/a.py": 'run(["nsd"])\n'}, "lists nsd in none of [build], [demo]"),
        ("c", {"tests/net/a.cpp": '::execlp("nsd", "nsd");\n::execl("/usr/sbin/frob", "frob");\n'}, "starts frob"),
        ("readme", {"README.md": "swaks\n```sh\n./check\nA=1 openssl x && swaks --to \\\n  b  # c\n```\n"}, "swaks"),
        ("nothing", {}, "no program is started"),
    ]
    failures = 0
    for name, files, want in samples:
        with tempfile.TemporaryDirectory() as folder:
            for path, text in {**packages, **files}.items():
                file = pathlib.Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            found = list(problems_of(pathlib.Path(folder)))
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
    print(f"{len(problems)} problems" if problems else "every program has its package")
    return 1 if problems else 0


sys.exit(main(sys.argv[1:]))
