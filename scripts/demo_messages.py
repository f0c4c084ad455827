"""The demo's messages: what a shop and a newsletter really send, and what tends to break on the way."""
import email.message
import email.policy
import email.utils
import random

SHOP = "orders@shop.example.com"
NEWS = "news@letters.example.org"
RECEIVERS = ["inbox.test", "post.test", "mail.test", "keitai.test", "customer.example.net", "office.example.net"]

HTML = """<html><body style="font-family:sans-serif"><h1>Thank you, {name}!</h1>
<p>Your order <b>{order}</b> is on its way.</p>
<table><tr><td>Tea</td><td>2</td></tr><tr><td>Cups</td><td>4</td></tr></table>
<p><a href="https://shop.example.com/orders/{order}?utm_source=mail&amp;utm_medium=transactional">See your order</a></p>
</body></html>
"""


def base(sender, recipient, subject, index):
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"] = f"Demo <{sender}>"
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = email.utils.formatdate(1795413000 + index)
    message["Message-ID"] = f"<demo.{index}.{random.Random(index).randrange(10**9)}@{sender.split('@')[1]}>"
    return message


def order(index, recipient):
    message = base(SHOP, recipient, f"Your order {1000 + index}", index)
    message.set_content(f"Thank you!\n\nYour order {1000 + index} is on its way.\n")
    message.add_alternative(HTML.format(name=recipient.split("@")[0], order=1000 + index), subtype="html")
    return message.as_bytes()


def newsletter(index, recipient):
    message = base(NEWS, recipient, "What is new in November", index)
    message["List-Id"] = "Demo letters <letters.example.org>"
    message["List-Unsubscribe"] = f"<https://letters.example.org/u/{index}>, <mailto:u{index}@letters.example.org>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Feedback-ID"] = f"november:{index % 3}:letter:example"
    message.set_content("Tea of the month: sencha.\n" * 30)
    return message.as_bytes()


def raw(sender, recipient, subject, index, more_headers, body):
    """A message written by hand, where the library would choose another form."""
    head = [f"From: {sender}", f"To: {recipient}", f"Subject: {subject}",
            f"Date: {email.utils.formatdate(1795413000 + index)}", f"Message-ID: <demo.{index}@{sender.split('@')[1]}>",
            "MIME-Version: 1.0", *more_headers, "", ""]
    return "\r\n".join(head).encode() + body


def japanese_iso_2022_jp(index, recipient):
    body = "暖気とは、機関を暖めることです。\r\n半角ではなく、全角のカタカナです。\r\n".encode("iso-2022-jp")
    return raw(NEWS, recipient, "=?ISO-2022-JP?B?GyRCQ0g1JBsoQg==?=", index,
               ["Content-Type: text/plain; charset=ISO-2022-JP", "Content-Transfer-Encoding: 7bit"], body)


def japanese_utf_8(index, recipient):
    body = "お客様へ\r\n\r\nご注文ありがとうございます。絵文字も🍵です。\r\n".encode("utf-8")
    return raw(SHOP, recipient, "=?UTF-8?B?44GU5rOo5paH?=", index,
               ["Content-Type: text/plain; charset=UTF-8", "Content-Transfer-Encoding: 8bit"], body)


def attachment(index, recipient):
    message = base(SHOP, recipient, "Your invoice", index)
    message.set_content("The invoice is attached.\n")
    message.add_attachment(random.Random(index).randbytes(2 * 1024 * 1024), maintype="application", subtype="pdf",
                           filename=f"invoice-{index}.pdf")
    return message.as_bytes()


def long_header_lines(index, recipient):
    references = " ".join(f"<{n}.{'r' * 40}@shop.example.com>" for n in range(12))  # one line of about 800 octets
    folded = "\r\n\t".join(f"<{n}@letters.example.org>" for n in range(60))
    return raw(SHOP, recipient, "Long header lines", index,
               [f"References: {references}", f"X-Folded: {folded}", "Content-Type: text/plain"],
               b"x" * 990 + b"\r\nand a short one\r\n")


def dot_lines(index, recipient):
    return raw(SHOP, recipient, "Lines of dots", index, ["Content-Type: text/plain"],
               b".\r\n..\r\n...\r\n. \r\n.hidden\r\nin the middle . of it\r\n\r\n.\r\nend  \t\r\n\r\n\r\n")


KINDS = [order, newsletter, japanese_iso_2022_jp, japanese_utf_8, order, newsletter, long_header_lines, dot_lines]


def all_messages():
    """(tenant, sender, recipients, content) of each message; every seventh has three recipients."""
    for index in range(46):
        kind = attachment if index in (9, 31) else KINDS[index % len(KINDS)]
        domain = RECEIVERS[index % len(RECEIVERS)]
        count = 3 if index % 7 == 6 else 1
        recipients = [f"user{index}-{n}@{domain}" for n in range(count)]
        content = kind(index, ", ".join(recipients))
        is_news = kind in (newsletter, japanese_iso_2022_jp)
        yield ("letters" if is_news else "shop"), (NEWS if is_news else SHOP), recipients, content
