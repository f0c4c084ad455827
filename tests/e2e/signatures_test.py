#!/usr/bin/python3
"""Signatures as they arrive are believed by opendkim, python3-dkim and Mail::DKIM, which nobody here wrote."""

import re

import harness
import nasty
import peers

GREYLIST = '[[rule]]\nstage = "rcpt"\nattempt = "1"\naction = "reply"\nreply = "451 4.7.1 later"\n'
NAME = f"{harness.SELECTOR}._domainkey.example.com"


class Signatures(harness.EndToEnd):
    def judge(self, contents):
        """{name of the verifier: [whether it believes each content]}"""
        folder = self.folder / "judged"
        folder.mkdir()
        record = harness.rsa_key()[1]
        (folder / "records.txt").write_text(f"{NAME}\t{record}\n")
        (folder / "keys").write_text(f"{NAME} {record}\n")
        (folder / "verify.conf").write_text(f"Mode v\nTestPublicKeys {folder}/keys\nRequireSafeKeys no\nSyslog no\n")
        files = [folder / f"{number:02}.eml" for number in range(len(contents))]
        for file, content in zip(files, contents):
            file.write_bytes(content)
        judges = harness.REPOSITORY / "tests/dkim"
        verdicts = {}
        for name, script in (("python3-dkim", "judge_dkimpy.py"), ("Mail::DKIM", "judge_maildkim.pl")):
            interpreter = "/usr/bin/python3" if script.endswith(".py") else "perl"
            said = harness.must(interpreter, judges / script, folder)
            verdicts[name] = [f"{file.name} 0 pass" in said.splitlines() for file in files]
        verdicts["opendkim"] = []
        for file in files:
            answer = harness.run("opendkim", "-x", folder / "verify.conf", "-t", file)
            verdicts["opendkim"].append(answer.returncode == 0 and "succeeded" in answer.stdout + answer.stderr)
        return verdicts

    def deliver_table(self, next_hop):
        relay = harness.Danki(self, {"*.test": next_hop}, sign=True)
        for number, (_, options, content) in enumerate(nasty.table()):
            relay.send(f"n{number}@inbox.test", content, options=options)
        return relay

    def assert_believed(self, contents):
        table = nasty.table()
        self.assertEqual(len(contents), len(table))
        for judge, verdicts in self.judge(contents).items():
            for (name, _, _), believed in zip(table, verdicts):
                with self.subTest(judge=judge, message=name):
                    self.assertTrue(believed)

    def in_order(self, receiver):
        messages = receiver.wait(len(nasty.table()))
        return [m["content"] for m in sorted(messages, key=lambda m: int(re.search(r"\d+", m["to"][0])[0]))]

    def test_straight_from_the_relay(self):
        receiver = harness.Receiver(self)
        self.deliver_table(receiver.next_hop)
        contents = self.in_order(receiver)
        self.assert_believed(contents)
        for content in contents:
            signature = re.search(rb"DKIM-Signature:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", content)[1].decode()
            tags = dict(tag.strip().split("=", 1) for tag in re.sub(r"\s+", "", signature).strip(";").split(";"))
            self.assertEqual((tags["d"], tags["s"], tags["a"], tags["c"]),
                             ("example.com", harness.SELECTOR, "rsa-sha256", "relaxed/relaxed"))
            self.assertEqual(tags["h"].lower().split(":").count("from"), 2, "From is not over-signed")

    def test_behind_postfix_which_relays(self):
        receiver = harness.Receiver(self)
        middle = peers.Postfix(self, next_hop=f"[127.0.0.2]:{receiver.port}")
        self.deliver_table(f"127.0.0.1:{middle.port}")
        self.assert_believed(self.in_order(receiver))

    def test_the_judges_can_say_no(self):
        receiver = harness.Receiver(self)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, sign=True)
        relay.send(content=harness.message(body=b"You owe us 10 yen.\r\n"))
        (arrived,) = receiver.wait(1)
        forged = [arrived["content"].replace(b"10 yen", b"99 yen"),
                  arrived["content"].replace(b"Subject: ", b"Subject: not "),
                  arrived["content"].replace(b"From: ", b"From: boss@example.com\r\nFrom: ", 1)]
        for judge, verdicts in self.judge([arrived["content"], *forged]).items():
            with self.subTest(judge):
                self.assertEqual(verdicts, [True, False, False, False])

    def test_a_signature_is_kept_over_a_deferral_and_a_restart(self):
        receiver = harness.Receiver(self, GREYLIST)
        relay = harness.Danki(self, {"*.test": receiver.next_hop}, sign=True,
                              delivery='transactional_retries = ["3s"]')
        relay.send()
        relay.wait_event("deferred")
        self.assertEqual(relay.stop(), 0)
        relay.start()
        (arrived,) = receiver.wait(1)
        self.assertEqual(arrived["content"].count(b"DKIM-Signature:"), 1)
        self.assertTrue(all(verdicts == [True] for verdicts in self.judge([arrived["content"]]).values()))


if __name__ == "__main__":
    peers.become_root()
    harness.main()
