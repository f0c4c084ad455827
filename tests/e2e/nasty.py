"""Messages that tend to break on the way: each is (name, MAIL parameters, content)."""

import random

import harness


def table():
    body_2_mb = random.Random(1).randbytes(1_500_000).hex().encode()
    lines_2_mb = b"".join(body_2_mb[i:i + 76] + b"\r\n" for i in range(0, len(body_2_mb), 76))
    references = " ".join(f"<{n}.{'r' * 40}@shop.example.com>" for n in range(15))  # one line of about 950 octets
    japanese = ["MIME-Version: 1.0", "Content-Type: text/plain; charset=ISO-2022-JP", "Content-Transfer-Encoding: 7bit"]
    utf_8 = ["MIME-Version: 1.0", "Content-Type: text/plain; charset=UTF-8", "Content-Transfer-Encoding: 8bit"]
    return [
        ("iso-2022-jp", [], harness.message(subject="=?ISO-2022-JP?B?GyRCQ0g1JBsoQg==?=", more=japanese,
                                            body="暖気とは、機関を暖めることです。\r\n".encode("iso-2022-jp"))),
        ("utf-8", ["BODY=8BITMIME"], harness.message(subject="=?UTF-8?B?44GU5rOo5paH?=", more=utf_8,
                                                     body="ご注文ありがとうございます。🍵\r\n".encode())),
        ("latin-1", ["BODY=8BITMIME"], harness.message(subject="eight bits", body=bytes(range(160, 256)) + b"\r\n")),
        ("dot lines", [], harness.message(subject="dots", body=b".\r\n..\r\n...\r\n.dot\r\n\r\n.\r\nend\r\n")),
        ("a dot at the end", [], harness.message(subject="last dot", body=b"text\r\n\r\n.\r\n")),
        ("blanks at line ends", [], harness.message(subject="blanks \t", body=b"a \r\n\tb\t\r\n \r\n\r\n\r\n\r\n")),
        ("long header lines", [], harness.message(subject="long", more=[
            f"References: {references}", "X-Folded: " +
            "\r\n\t".join(f"<{n}@letters.example.org>" for n in range(80))])),
        ("lines of 998 octets", [], harness.message(subject="998", body=(b"x" * 998 + b"\r\n") * 20)),
        ("empty body", [], harness.message(subject="empty", body=b"")),
        ("header section only", [], harness.message(subject="no empty line", body=b"")[:-2]),
        ("Microsoft's header", [],
         harness.message(subject="odd", more=["X-Empty:", "X-Colon: a:b:c", "x-LOWER:no blank"])),
        ("2 MB", [], harness.message(subject="large", body=lines_2_mb[:2_000_000 // 78 * 78])),
    ]
