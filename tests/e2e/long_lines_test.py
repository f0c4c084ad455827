#!/usr/bin/python3
"""Lines over 998 octets on a listener that encodes them: Python's email package reads what was submitted and what
arrived, and must find the same; python3-dkim must find the signature right."""

import base64
import email
import quopri
import random
import re

import dkim

import harness

LISTENER = harness.TRUSTED + 'long_lines = "encode"\n'
LONG = "".join(f"word{n:03} " for n in range(400)).encode()  # 3200 octets
JAPANESE = ("暖気とは、機関を暖めることです。" * 60).encode() + b" "
MIME = ["MIME-Version: 1.0"]
RANDOM = random.Random(7)


def multipart(subtype, boundary, *parts, before=b"", after=b""):
    """(header line, body) of a multipart with these parts, each with its header."""
    delimiter = b"--" + boundary.encode()
    body = before + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n" + after
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"', body


def part(content, *header):
    return "".join(line + "\r\n" for line in header).encode() + b"\r\n" + content


def nested():
    text = part(LONG + b"=\r\n--outer inner\r\n\r\n.dot " + LONG, "Content-Type: text/plain; charset=us-ascii")
    html = part(b"<p>" + JAPANESE * 2 + b"</p>\r\n", "Content-Type: text/html; charset=utf-8",
                "Content-Transfer-Encoding: 8bit")
    header, body = multipart("alternative", "outer in", text, html, before=b"for old readers\r\n")
    octets = RANDOM.randbytes(5000).replace(b"\0", b"1").replace(b"\r", b"2").replace(b"\n", b"3")
    image = part(octets, "Content-Type: image/x-odd", "Content-Transfer-Encoding: binary",
                 "Content-Disposition: attachment; filename=odd.bin")
    short = part(b"short\r\n", "Content-Type: text/plain")
    return multipart("mixed", "outer", part(body, header), image, short, after=b"the end\r\n")


def forwarded():
    inner = b"Subject: inside\r\nFrom: c@elsewhere.test\r\n\r\n" + LONG + b"\r\n"
    return multipart("mixed", "b", part(b"see below"), part(inner, "Content-Type: message/rfc822"))


def table():
    """(name, message)"""
    def with_body(body, *header):
        return harness.message(body=body, more=list(header))

    base = base64.b64encode(RANDOM.randbytes(3000))
    quoted = re.sub(rb"=\n", b"", quopri.encodestring(JAPANESE * 3)) + b"=20\r\n"
    json = b'{"items": [' + b", ".join(b'"%d"' % n for n in range(900)) + b"]}\r\n"
    return [
        ("plain text", with_body(LONG + b"\r\n" + b"x" * 2000 + b"\r\n.\r\n..\r\nFrom here\r\n")),
        ("trailing blanks", with_body(LONG + b"  \t \r\n \r\n" + LONG + b"\r\n")),
        ("text in UTF-8", with_body(JAPANESE * 4 + b"\r\n", *MIME, "Content-Type: text/plain; charset=UTF-8",
                                    "Content-Transfer-Encoding: 8bit")),
        ("JSON", with_body(json, *MIME, "Content-Type: application/json")),
        ("octets", with_body(bytes(range(128, 256)) * 20 + b"\r\n", *MIME, "Content-Type: application/octet-stream",
                             "Content-Transfer-Encoding: binary")),
        ("base64 in one line", with_body(base + b"\r\n", *MIME, "Content-Type: application/octet-stream",
                                         "Content-Transfer-Encoding: base64")),
        ("quoted-printable in one line", with_body(quoted, *MIME, "Content-Type: text/plain; charset=utf-8",
                                                   "Content-Transfer-Encoding: quoted-printable")),
        ("nested", with_body(nested()[1], *MIME, nested()[0])),
        ("forwarded", with_body(forwarded()[1], *MIME, forwarded()[0])),
        ("long header lines", with_body(b"short\r\n", "References: " + " ".join(
            f"<{n}.{'r' * 40}@shop.example.com>" for n in range(60)), "X-Words: " + LONG.decode() + "end")),
        ("a long header line in a part", with_body(multipart("mixed", "b", part(b"x", "X-Words: " + LONG.decode() +
                                                                                "end"))[1], *MIME,
                                                   multipart("mixed", "b")[0])),
        ("2 MB in one line", with_body(b"y" * 2_000_000 + b"\r\n")),
    ]


def reading(content):
    """What a reader finds: the fields of all parts, unfolded, and the decoded contents."""
    found = []
    for piece in email.message_from_bytes(content).walk():
        fields = [(name, re.sub(r"\r?\n", "", str(value)).strip()) for name, value in piece.items()
                  if name.lower() not in ("content-transfer-encoding", "mime-version", "received", "dkim-signature")]
        found.append((fields, piece.get_content_type(), piece.get_payload(decode=True)))
    return found


class LongLines(harness.EndToEnd):
    def setUp(self):
        super().setUp()
        self.receiver = harness.Receiver(self)
        self.relay = harness.Danki(self, {"*.test": self.receiver.next_hop}, listeners=LISTENER, sign=True)

    def test_readers_find_what_was_submitted(self):
        messages = table()
        for number, (_, content) in enumerate(messages):
            self.relay.send(f"n{number}@inbox.test", content)
        arrived = {entry["to"][0]: entry for entry in self.receiver.wait(len(messages))}
        _, public = harness.rsa_key()
        for number, (name, content) in enumerate(messages):
            with self.subTest(name):
                entry = arrived[f"n{number}@inbox.test"]
                self.assertEqual(entry["violations"], [])
                self.assertLessEqual(max(map(len, entry["content"].split(b"\r\n"))), 998)
                self.assertGreater(max(map(len, content.split(b"\r\n"))), 998)
                self.assertEqual(reading(entry["content"]), reading(content))
                parsed = email.message_from_bytes(entry["content"])
                self.assertEqual([str(d) for p in parsed.walk() for d in p.defects], [])
                self.assertEqual(b"MIME-Version: 1.0" in entry["content"], not name.startswith("long header"))
                self.assertTrue(dkim.verify(entry["content"], dnsfunc=lambda *_, **__: public.encode()))

    def test_what_cannot_be_encoded_is_refused(self):
        signed = multipart("signed", "s", part(LONG), part(b"-", "Content-Type: application/pgp-signature"))
        other = multipart("mixed", "o", part(signed[1], signed[0]))
        for name, content, text in (
                ("signed", harness.message(body=signed[1], more=[*MIME, signed[0]]), "multipart/signed"),
                ("signed inside", harness.message(body=other[1], more=[*MIME, other[0]]), "multipart/signed"),
                ("a word of 1000 octets", harness.message(subject="x" * 1000), "no spaces"),
                ("NUL", harness.message(body=LONG + b"\0\r\n"), "NUL"),
                ("uuencode", harness.message(body=LONG, more=["Content-Transfer-Encoding: x-uuencode"]), "not clear"),
                ("preamble", harness.message(body=multipart("mixed", "b", part(b"x"), before=LONG + b"\r\n")[1],
                                             more=[multipart("mixed", "b")[0]]), "between the parts")):
            with self.subTest(name), self.relay.client() as client:
                client.ehlo()
                client.mail(harness.SENDER)
                client.rcpt("user@inbox.test")
                code, said = client.data(content)
                self.assertEqual((code, said.decode().split()[0]), (550, "5.6.0"), said)
                self.assertIn(text, said.decode())
        self.assertEqual(self.relay.events("accepted"), [])


if __name__ == "__main__":
    harness.main()
