"""The relays side by side: each starts in a folder of its own, routes the test domains to the sink, and stops cleanly."""

import base64
import os
import re
import shutil
import subprocess

from .machine import ProcessGroup
from .tools import Failed, end_process, free_port, greets, until

SIGNING_DOMAIN = "example.com"
SELECTOR = "bench"


def make_key(folder):
    path = f"{folder}/dkim.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
                   check=True, capture_output=True)
    return path


def verifies(folder, key_path, message_path):
    """Whether opendkim, as a verifier, believes the signature of a message."""
    public = subprocess.run(["openssl", "pkey", "-in", key_path, "-pubout", "-outform", "DER"], check=True,
                            capture_output=True).stdout
    keys, config = f"{folder}/public-keys", f"{folder}/verify.conf"
    with open(keys, "w") as file:
        record = base64.b64encode(public).decode()
        file.write(f"{SELECTOR}._domainkey.{SIGNING_DOMAIN} v=DKIM1; k=rsa; p={record}\n")
    with open(config, "w") as file:
        file.write(f"Mode v\nTestPublicKeys {keys}\nRequireSafeKeys no\nSyslog no\n")
    answer = subprocess.run(["opendkim", "-x", config, "-t", message_path], capture_output=True, text=True, timeout=30)
    return answer.returncode == 0 and "succeeded" in answer.stdout + answer.stderr


class Relay:
    """One relay that runs between start() and stop(). `shim` is the environment of syncshim.so, or empty."""

    name = ""

    def __init__(self, folder, next_hops, key_path=None, shim=None):
        self.folder = folder
        self.next_hops = next_hops
        self.key_path = key_path
        self.shim = shim or {}
        self.port = free_port()
        self.group = ProcessGroup(self.name)
        os.makedirs(folder)
        os.chmod(folder, 0o755)

    def start(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def tail_of_log(self):
        return ""


class Postfix(Relay):
    """Debian's configuration with chroot off, and opendkim on a unix socket (Debian's way) when there is a key."""

    name = "postfix"

    def start(self):
        self.opendkim = None
        config = f"{self.folder}/etc"
        os.makedirs(config)
        self.config = config
        for name in ("spool", "data"):
            os.makedirs(f"{self.folder}/{name}")
        shutil.chown(f"{self.folder}/data", "postfix", "postfix")
        routes = "".join(f"{domain}\tsmtp:{bracketed(hop)}\n" for domain, hop in self.next_hops.items())
        self.write("etc/transport", routes)
        self.write("etc/main.cf", self.main_cf())
        self.write("etc/master.cf", self.master_cf())
        shutil.copy("/etc/postfix/dynamicmaps.cf", config)
        subprocess.run(["postmap", "-c", config, f"hash:{config}/transport"], check=True, capture_output=True)
        if self.key_path:
            self.start_opendkim()
        answer = subprocess.run(["postfix", "-c", config, "start"], capture_output=True, text=True, timeout=60,
                                preexec_fn=self.group.enter)
        if answer.returncode != 0:
            raise Failed(f"postfix start: {answer.stderr.strip()} {self.tail_of_log()}")
        with open(f"{self.folder}/spool/pid/master.pid") as file:
            self.master_pid = int(file.read())
        self.group.add_root(self.master_pid)
        until(lambda: greets(self.port), 30, "Postfix to answer")

    def main_cf(self):
        milter = f"unix:{self.folder}/opendkim.sock" if self.key_path else ""
        environment = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C"
        for name, value in self.shim.items():
            environment += f" {name}={value}"
        return f"""
compatibility_level = 3.6
queue_directory = {self.folder}/spool
data_directory = {self.folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {self.folder}/mail.log
maillog_file_prefixes = {self.folder}
import_environment = {environment}
biff = no
append_dot_mydomain = no
readme_directory = no
myhostname = relay.example.com
mydestination =
relayhost =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
alias_maps =
alias_database =
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
transport_maps = hash:{self.config}/transport
smtpd_milters = {milter}
"""

    def master_cf(self):
        with open("/usr/share/postfix/master.cf.dist") as file:
            text = file.read()
        services = []
        for line in text.splitlines():
            fields = line.split()
            if re.match(r"[a-z]", line) and len(fields) >= 8:
                fields[4] = "n"  # chroot off
                if fields[0] == "smtp" and fields[1] == "inet":
                    fields[0] = f"127.0.0.1:{self.port}"
                line = "\t".join(fields)
            services.append(line)
        return "\n".join(services) + "\n"

    def start_opendkim(self):
        key = f"{self.folder}/opendkim.pem"
        shutil.copy(self.key_path, key)
        shutil.chown(key, "postfix", "postfix")
        os.chmod(key, 0o600)
        path = self.write("opendkim.conf", f"""
Domain {SIGNING_DOMAIN}
Selector {SELECTOR}
KeyFile {key}
Mode s
Canonicalization relaxed/simple
OversignHeaders From
UserID postfix
UMask 007
Syslog no
RequireSafeKeys no
Socket local:{self.folder}/opendkim.sock
""")
        shutil.chown(self.folder, "postfix", "postfix")  # the socket is made by that user
        self.opendkim = subprocess.Popen(["opendkim", "-f", "-x", path], preexec_fn=self.group.enter)
        self.group.add_root(self.opendkim.pid)
        until(lambda: os.path.exists(f"{self.folder}/opendkim.sock") or self.opendkim.poll() is not None, 10, "opendkim")
        if self.opendkim.poll() is not None:
            raise Failed(f"opendkim ended with {self.opendkim.returncode}")

    def stop(self):
        subprocess.run(["postfix", "-c", self.config, "stop"], capture_output=True, timeout=60)
        if self.opendkim:
            end_process(self.opendkim)
        until(lambda: not self.group.pids(), 30, "Postfix's processes to end")
        self.group.remove()

    def tail_of_log(self):
        try:
            with open(f"{self.folder}/mail.log", errors="replace") as file:
                return "".join(file.readlines()[-5:])
        except OSError:
            return ""


def bracketed(next_hop):
    address, _, port = next_hop.rpartition(":")
    return f"[{address}]:{port}"


class Danki(Relay):
    """dankid with one trusted listener, one tenant, one source and a route per domain."""

    name = "danki"
    program = ""

    def start(self):
        os.makedirs(f"{self.folder}/data")
        path = self.write("danki.toml", self.configuration())
        self.process = None
        self.log_file = open(f"{self.folder}/log", "w")
        self.process = subprocess.Popen([self.program, "--config", path], stdout=self.log_file, stderr=self.log_file,
                                        env={**os.environ, **self.shim}, preexec_fn=self.group.enter)
        self.group.add_root(self.process.pid)
        until(lambda: greets(self.port) or self.process.poll() is not None, 30, "dankid to answer")
        if self.process.poll() is not None:
            raise Failed(f"dankid ended with {self.process.returncode}: {self.tail_of_log()}")

    def configuration(self):
        text = f"""
[node]
hostname = "relay.example.com"
data_dir = "{self.folder}/data"

[[listener]]
address = "127.0.0.1:{self.port}"
tls = "none"
require_auth = false
trusted_networks = ["127.0.0.0/8"]
tenant_for_trusted = "bench"

[[tenant]]
name = "bench"
class = "bulk"
pool = "main"
domains = ["{SIGNING_DOMAIN}"]
rate = "none"

[[source]]
name = "out01"
address = "127.0.0.1"
ehlo = "relay.example.com"

[[pool]]
name = "main"
sources = ["out01"]

[[shaping]]
connections = 20
rate = "none"
tls = "none"

[auth]
missing_key = "send_unsigned"
gate = "off"

[admin]
socket = "{self.folder}/admin.sock"
"""
        if self.key_path:
            text += f"""
[[dkim]]
domain = "{SIGNING_DOMAIN}"
selector = "{SELECTOR}"
key_file = "{self.key_path}"
"""
        for domain, hop in self.next_hops.items():
            text += f'\n[[route]]\nmatch = "{domain}"\nnext_hop = "{hop}"\n'
        return text

    def stop(self):
        status = end_process(self.process, timeout_s=90) if self.process else 0
        self.log_file.close()
        self.group.remove()
        if status != 0:
            raise Failed(f"dankid ended with {status}: {self.tail_of_log()}")

    def tail_of_log(self):
        try:
            with open(f"{self.folder}/log", errors="replace") as file:
                return "".join(file.readlines()[-5:])
        except OSError:
            return ""


RELAYS = {"postfix": Postfix, "danki": Danki}
