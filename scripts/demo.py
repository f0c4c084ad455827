#!/usr/bin/python3
"""Starts dankid and the bundled receiver on loopback, sends a few dozen messages, and shows what became of them.

usage: demo.py --bin BUILD/bin --dir FOLDER [--port 2525] [--once | --stop]

Called by ./quickstart. FOLDER is the demo's own: it is emptied at each start. The system's python3 is needed for
python3-dkim.
"""
import argparse
import collections
import json
import os
import pathlib
import shlex
import shutil
import smtplib
import socket
import subprocess
import sys
import time

import dkim

import demo_messages
from demo_process import DemoError, Process, wait_until

SOURCES = [f"127.0.0.{n}" for n in range(11, 23)]
NEXT_HOP = "127.0.0.2"
TENANTS = {"shop": "transactional", "letters": "bulk"}
DOMAINS = {"shop": demo_messages.SHOP.split("@")[1], "letters": demo_messages.NEWS.split("@")[1]}
PASSWORD = "demo-only"
SELECTOR = "demo2026"
PATIENCE_S = 90


def say(text):
    print(text, flush=True)


# --- the demo's files ------------------------------------------------------------------------------------------------

def output_of(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


def write_key(folder, domain):
    """A private key only we may read, and the TXT record that belongs into DNS."""
    key = folder / f"{domain}.pem"
    old_mask = os.umask(0o077)
    try:
        output_of("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key))
    finally:
        os.umask(old_mask)
    public = output_of("openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER")
    value = output_of("openssl", "base64", "-A", input=public).decode()
    record = f"v=DKIM1; k=rsa; p={value}"
    (folder / f"{domain}.txt").write_text(f"{SELECTOR}._domainkey.{domain}. TXT {record}\n")
    return key, record


def configuration(folder, port, receiver_port, keys):
    password = output_of("openssl", "passwd", "-6", "-stdin", input=PASSWORD.encode()).decode().strip()
    parts = [f"""# Written by ./quickstart. docs/configuration.md explains every key.
[node]
hostname = "relay.demo.test"
data_dir = "{folder}/data"

[[listener]]
address = "127.0.0.1:{port}"
tls = "none"
require_auth = true
auth_without_tls = true                # only because it listens on loopback
trusted_networks = ["127.0.0.1/32"]    # a first message needs no password
tenant_for_trusted = "shop"
"""]
    for tenant, mail_class in TENANTS.items():
        parts.append(f"""
[[tenant]]
name = "{tenant}"
class = "{mail_class}"
password_hash = ["{password}"]
pool = "main"
domains = ["{DOMAINS[tenant]}"]
rate = "none"
""")
    for number, address in enumerate(SOURCES, 1):
        parts.append(f"""
[[source]]
name = "out{number:02}"
address = "{address}"
ehlo = "out{number:02}.demo.test"
""")
    names = ", ".join(f'"out{number:02}"' for number in range(1, len(SOURCES) + 1))
    parts.append(f"""
[[pool]]
name = "main"
sources = [{names}]
""")
    for domain, (key, _) in keys.items():
        parts.append(f"""
[[dkim]]
domain = "{domain}"
selector = "{SELECTOR}"
key_file = "{key}"
""")
    for pattern in ("*.test", "*.example.net"):
        parts.append(f"""
[[route]]
match = "{pattern}"
next_hop = "{NEXT_HOP}:{receiver_port}"
""")
    parts.append(f"""
[[shaping]]                            # short connections, so that a few dozen messages reach every source
connections = 2
messages_per_connection = 2

[admin]
socket = "{folder}/admin.sock"
""")
    return "".join(parts)


# --- sending, waiting, judging ---------------------------------------------------------------------------------------

def send_all(port, messages):
    """One session for each tenant, over AUTH; a message counts when its final dot is answered 250."""
    sessions = {}
    for number, (tenant, sender, recipients, content) in enumerate(messages, 1):
        if tenant not in sessions:
            sessions[tenant] = smtplib.SMTP("127.0.0.1", port, timeout=60)
            sessions[tenant].login(tenant, PASSWORD)
        has_eight_bits = any(octet > 127 for octet in content)
        refused = sessions[tenant].sendmail(sender, recipients, content, ["BODY=8BITMIME"] if has_eight_bits else [])
        if refused:
            raise DemoError(f"refused: {refused}")
        if number % 10 == 0 or number == len(messages):
            say(f"    {number} of {len(messages)} answered 250: they are on stable storage")
    for session in sessions.values():
        session.quit()


def received(mail_folder):
    """What the receiver has written so far: (envelope, content)."""
    for file in sorted(mail_folder.glob("*.json"), key=lambda f: int(f.stem)):
        yield json.loads(file.read_text()), file.with_suffix(".eml")


def wait_for_delivery(mail_folder, recipients, daemon):
    missing = set(recipients)

    def all_there():
        if daemon.poll() is not None:
            raise DemoError(f"dankid ended with status {daemon.returncode}")
        missing.clear()
        missing.update(recipients)
        for envelope, _ in received(mail_folder):
            missing.difference_update(rcpt["address"] for rcpt in envelope["rcpts"])
        return not missing

    try:
        wait_until(all_there, "all messages to arrive", PATIENCE_S)
    except DemoError as error:
        raise DemoError(f"{error}; missing: {', '.join(sorted(missing)[:5])} ({len(missing)} in all)") from error


def judge(content, records):
    """The verdict of python3-dkim, with the public key from our own answer instead of DNS."""
    def lookup(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode() or None

    try:
        return "pass" if dkim.verify(content, dnsfunc=lookup) else "fail"
    except dkim.DKIMException as reason:
        return f"fail ({reason})"


def report(mail_folder, messages, records):
    """Prints the table; gives the number of messages that are not as they should be."""
    submitted = {tuple(sorted(recipients)): content for _, _, recipients, content in messages}
    rows = collections.defaultdict(collections.Counter)
    copies = collections.Counter()
    for envelope, file in received(mail_folder):
        content = file.read_bytes()
        recipients = tuple(sorted(rcpt["address"] for rcpt in envelope["rcpts"]))
        copies.update(recipients)
        row = rows[envelope["client_address"]]
        row["messages"] += 1
        row["recipients"] += len(recipients)
        row["pass" if judge(content, records) == "pass" else "fail"] += 1
        # What arrives is what was submitted, behind the header lines we add.
        row["intact" if content.endswith(submitted.get(recipients, b"\0")) else "changed"] += 1
        row["clean" if not envelope["violations"] else "violations"] += 1

    say(f"\n    {'source address':16} {'messages':>9} {'recipients':>11} {'DKIM pass':>10} {'DKIM fail':>10} "
        f"{'unchanged':>10}")
    total = collections.Counter()
    for address in SOURCES + sorted(set(rows) - set(SOURCES)):
        row = rows.get(address, collections.Counter())
        total.update(row)
        say(f"    {address:16} {row['messages']:9} {row['recipients']:11} {row['pass']:10} {row['fail']:10} "
            f"{row['intact']:10}")
    say(f"    {'in all':16} {total['messages']:9} {total['recipients']:11} {total['pass']:10} {total['fail']:10} "
        f"{total['intact']:10}")
    say("\n    DKIM was judged by python3-dkim, which shares no code with Danki. Unchanged: byte for byte what was\n"
        "    submitted, behind the header lines that Danki added.")
    duplicates = sum(count - 1 for count in copies.values())
    if duplicates:
        say(f"    delivered twice: {duplicates}")
    strangers = set(rows) - set(SOURCES)
    if strangers:
        say(f"    from addresses that are no source: {', '.join(sorted(strangers))}")
    return total["fail"] + total["changed"] + total["violations"] + duplicates + len(strangers)


# --- the whole -------------------------------------------------------------------------------------------------------

def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4).startswith(b"220")
    except OSError:
        return False


def start_all(arguments, processes):
    folder, programs = arguments.dir, arguments.bin
    for name in ("data", "mail", "keys"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("dankid.log", "receiver.log", "receiver.port", "admin.sock"):
        (folder / name).unlink(missing_ok=True)
    for name in ("data", "mail", "keys"):
        (folder / name).mkdir(parents=True)

    say("--- keys and configuration")
    keys = {domain: write_key(folder / "keys", domain) for domain in DOMAINS.values()}
    say(f"    an RSA-2048 key for each of {', '.join(keys)}")

    port_file = folder / "receiver.port"
    receiver = processes["receiver"].start([
        str(programs / "receiver"), "--listen", NEXT_HOP, "--port", "0", "--port-file", str(port_file),
        "--dir", str(folder / "mail"), "--quiet"])

    def port_is_known():
        if receiver.poll() is not None:
            raise DemoError("the receiver does not start")
        return port_file.exists() and port_file.read_text().strip()

    receiver_port = wait_until(port_is_known, "the receiver to listen").split()[0]
    config = folder / "danki.toml"
    config.write_text(configuration(folder, arguments.port, receiver_port, keys))
    say(f"    {config}")

    say("--- start")
    subprocess.run([str(programs / "dankid"), "--check", "--config", str(config)], check=True)
    daemon = processes["dankid"].start([str(programs / "dankid"), "--config", str(config)])

    def is_up():
        if daemon.poll() is not None:
            raise DemoError("dankid does not start")
        return answers(arguments.port)

    wait_until(is_up, "dankid to answer")
    say(f"    receiver on {NEXT_HOP}:{receiver_port}, dankid on 127.0.0.1:{arguments.port}, "
        f"{len(SOURCES)} source addresses {SOURCES[0]} to {SOURCES[-1]}")
    return daemon, {f"{SELECTOR}._domainkey.{domain}": record for domain, (_, record) in keys.items()}


def danki(arguments, *words):
    command = [str(arguments.bin / "danki"), "--socket", str(arguments.dir / "admin.sock"), *words]
    say(f"\n$ danki {' '.join(words)}")
    subprocess.run(command, check=False)
    sys.stdout.flush()


def where_next(arguments):
    def quoted(path):  # for the shell it will be pasted into
        return shlex.quote(str(path))

    folder = arguments.dir
    live = f"""
    a message of your own  swaks --server 127.0.0.1:{arguments.port} --from {demo_messages.SHOP} --to you@inbox.test
    the queue              {quoted(arguments.bin / "danki")} --socket {quoted(folder / "admin.sock")} queue
    to stop it             ./quickstart --stop"""
    say(f"""
--- where to look next
    what arrived           ls {quoted(folder / "mail")}
    what happened          less {quoted(folder / "data/events/events.log")}
    the configuration      {quoted(folder / "danki.toml")} (docs/configuration.md)
    how it works           docs/how-a-message-travels.md{'' if arguments.once else live}""")


def run(arguments, processes):
    daemon, records = start_all(arguments, processes)
    messages = list(demo_messages.all_messages())
    recipients = [r for _, _, some, _ in messages for r in some]
    say(f"--- send {len(messages)} messages to {len(recipients)} recipients, by Python's smtplib")
    begin = time.monotonic()
    send_all(arguments.port, messages)
    wait_for_delivery(arguments.dir / "mail", recipients, daemon)
    say(f"    all delivered {time.monotonic() - begin:.1f} s after the first was sent")
    say("--- what arrived")
    bad = report(arguments.dir / "mail", messages, records)
    danki(arguments, "status")
    danki(arguments, "queue")
    where_next(arguments)
    if bad:
        raise DemoError(f"{bad} findings in the table above are not as they should be")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    arguments.bin, arguments.dir = arguments.bin.resolve(), arguments.dir.resolve()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    processes = {name: Process(name, arguments.dir) for name in ("dankid", "receiver")}

    stopped = [name for name, process in processes.items() if process.stop()]
    if stopped:
        say(f"--- stopped what ran before: {', '.join(stopped)}")
    if arguments.stop:
        return 0
    if not port_is_free(arguments.port):
        say(f"demo: something else listens on port {arguments.port}: choose another by --port")
        return 1

    status = 0
    try:
        run(arguments, processes)
    except (DemoError, OSError, smtplib.SMTPException, subprocess.CalledProcessError) as error:
        say(f"\ndemo: {error}")
        for process in processes.values():
            say(f"  last lines of {process.log}:\n{process.last_words()}")
        status = 1
    finally:
        if arguments.once or status:
            for process in processes.values():
                process.stop()
            say("demo: stopped")
    return status


sys.exit(main())
