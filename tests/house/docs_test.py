#!/usr/bin/env python3
"""Holds the documentation to the code: a key without effect is marked so, every relative link leads somewhere. That
every key is there is what tests/config/example_test.cpp sees, which asks the parser.

usage: docs_test.py [SOURCE_FOLDER]
"""
import pathlib
import re
import sys

# Keys that no room obeys yet; the manual marks their row with "(later".
LATER = re.compile(r'no_effect_yet\("([a-z_]+)"|for \(std::string_view key : \{([^}]*)\}\) table\.no_effect_yet')
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def problems_of(root):
    manual = (root / "docs/configuration.md").read_text()
    for one, several in (match for file in (root / "config").glob("*.cpp") for match in LATER.findall(file.read_text())):
        for key in [one] if one else re.findall(r'"([a-z_]+)"', several):
            if not any(f"`{key}`" in row and "(later" in row for row in manual.splitlines()):
                yield f"docs/configuration.md: `{key}` has no effect yet, and its row does not say so"
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in LINK.findall(page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{page.relative_to(root)}: {target} is not there"


root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
found = list(problems_of(root))
for line in found:
    print(line)
print(f"{len(found)} problems")
sys.exit(1 if found else 0)
