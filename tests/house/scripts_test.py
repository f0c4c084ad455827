#!/usr/bin/env python3
"""What a user who is not root meets in scripts/: when sudo is asked for, and what is said. sudo and id are played by
programs of the test's own, before all others in PATH.

usage: scripts_test.py SOURCE_FOLDER
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCES = pathlib.Path(sys.argv.pop(1)).resolve()
SAYS_NO, ASKS, ASKS_NOTHING = 'exit 1', 'echo "sudo $*" >&2; [ "$1" != -n ]', 'exit 0'


class AskSudo(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="with blank "))
        self.addCleanup(shutil.rmtree, self.folder)
        self.script = self.folder / "repository/scripts/ask-sudo.sh"
        self.script.parent.mkdir(parents=True)
        shutil.copy(SOURCES / "scripts/ask-sudo.sh", self.script)

    def ask(self, sudo, user=1000):
        programs = self.folder / "bin"
        programs.mkdir()
        for name, body in {"id": f"echo {user}", "sudo": sudo}.items():
            if body is not None:
                (programs / name).write_text(f"#!/bin/sh\n{body}\n")
                (programs / name).chmod(0o755)
        (programs / "bash").symlink_to("/bin/bash")
        return subprocess.run(["/bin/bash", self.script, "dinner"], env={"PATH": str(programs)}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def test_root_is_asked_nothing(self):
        done = self.ask(SAYS_NO, user=0)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_who_needs_no_password_is_asked_nothing(self):
        done = self.ask(ASKS_NOTHING)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_the_password_is_asked_for_with_a_reason(self):
        done = self.ask(ASKS)
        self.assertEqual((done.returncode, done.stdout),
                         (0, "dinner needs root: sudo asks for your password now\nsudo -v\n"))

    def test_who_may_not_sudo_is_told_what_to_do(self):
        done = self.ask(SAYS_NO)
        self.assertEqual(done.returncode, 1)
        self.assertIn("run this as root, or as a user who may sudo\n", done.stdout)

    def test_where_sudo_is_not_installed(self):
        done = self.ask(None)
        self.assertEqual((done.returncode, done.stdout), (1, "dinner needs root: run this as root, or install sudo\n"))


class Exim(unittest.TestCase):
    def test_the_command_stands_a_blank_in_its_path(self):
        """Only the part of the script that writes it: the rest downloads."""
        text = (SOURCES / "scripts/fetch-exim.sh").read_text()
        function = text[text.index("write_command() {"):text.index("\n}\n", text.index("write_command() {")) + 3]
        with tempfile.TemporaryDirectory(prefix="with blank ") as folder:
            exim = pathlib.Path(folder, "usr/sbin/exim4")
            exim.parent.mkdir(parents=True)
            exim.write_text("#!/bin/sh\necho \"$NSS_WRAPPER_PASSWD\" \"$@\"\n")
            exim.chmod(0o755)
            subprocess.run(["bash", "-c", f'dest=$1\n{function}write_command', "-", folder], check=True)
            command = [pathlib.Path(folder, "exim"), "-bV", "a b"]
            done = subprocess.run(command, text=True, capture_output=True, check=True)
            self.assertEqual(done.stdout, f"{folder}/passwd -bV a b\n")


if __name__ == "__main__":
    unittest.main()
