#!/usr/bin/env python3
"""Holds the documentation to the code: every configuration key is documented, every relative link leads somewhere.

usage: docs_test.py [SOURCE_FOLDER]
"""
import pathlib
import re
import sys

# table.text("key", ...), table.has("key"), count("key", ...): how config/ reads a key.
KEY = re.compile(r'\b(?:table\.(?:(?:required_)?text|texts|flag|flag_setting|choice|duration|durations|rate|rate_setting|'
                 r'size|number|real|count_setting)|count|networks|address)\(\s*(?:table,\s*)?"([a-z_]+)"')
# Keys that no room obeys yet; the manual marks their row with "(later".
LATER = re.compile(r'no_effect_yet\("([a-z_]+)"|for \(std::string_view key : \{([^}]*)\}\) table\.no_effect_yet')
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def problems_of(root):
    manual = (root / "docs/configuration.md").read_text()
    keys = {key for file in (root / "config").glob("*.cpp") for key in KEY.findall(file.read_text())}
    if len(keys) < 50:
        yield f"config/: only {len(keys)} keys found: this test no longer understands how they are read"
    for key in sorted(keys):
        if f"`{key}`" not in manual:
            yield f"docs/configuration.md: says nothing of `{key}`"
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
