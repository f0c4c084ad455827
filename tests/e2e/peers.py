"""Mail servers that nobody here wrote, each in a folder of its own, on a free loopback port, into files."""

import os
import pathlib
import re
import shutil
import signal
import socket
import sys

import harness


def become_root():
    """Postfix starts for root only. ./check runs as root or as a user who may sudo."""
    if os.getuid() != 0:
        os.execvp("sudo", ["sudo", "-n", "--preserve-env=DANKI_BIN_DIR,DANKI_TOOLS_DIR", sys.executable, *sys.argv])


def greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            return connection.recv(4).startswith(b"220")
    except OSError:
        return False


class Maildir:
    """Where a server stores one message a file; `until` it holds what is waited for."""

    def __init__(self, folder):
        self.folder = folder

    def messages(self):
        """Contents with CRLF line ends, as they came by SMTP: on disk a server keeps LF."""
        files = sorted(self.folder.rglob("new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [re.sub(b"\r?\n", b"\r\n", path.read_bytes()) for path in files]

    def wait(self, count):
        harness.until(lambda: len(self.messages()) >= count,
                      lambda: f"{count} messages, there are {len(self.messages())}")
        return self.messages()


class Postfix:
    """Debian's Postfix as receiver of *.test, offering STARTTLS. With `next_hop` it relays there instead of storing."""

    # What its own delivery puts before a message.
    ADDED = ("Return-Path", "X-Original-To", "Delivered-To", "Received")
    ends_the_header = False

    def __init__(self, test, next_hop=None):
        self.test = test
        self.folder = test.folder / "postfix"
        self.port = harness.free_port()
        self.config = self.folder / "etc"
        self.mail = Maildir(self.folder / "mail")
        for name in ("etc", "spool", "data", "mail"):
            (self.folder / name).mkdir(parents=True)
        shutil.chown(self.folder / "data", "postfix", "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        cert, key = harness.certificate()
        (self.config / "cert.pem").write_text(key + cert)
        (self.config / "main.cf").write_text(self.main_cf(next_hop))
        (self.config / "master.cf").write_text(self.master_cf())
        (self.config / "users").write_text("!/^unknown@/ all/\n")
        shutil.copy("/etc/postfix/dynamicmaps.cf", self.config)
        test.logs.append(self.folder / "mail.log")
        harness.must("postfix", "-c", self.config, "start")
        test.addCleanup(self.stop)
        harness.until(lambda: greets(self.port), "Postfix answers")

    def stop(self):
        pid = int((self.folder / "spool/pid/master.pid").read_text())
        os.kill(pid, signal.SIGTERM)  # the master; it ends the others
        harness.until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "Postfix ends")

    def main_cf(self, next_hop):
        where = f"relayhost = {next_hop}\nrelay_domains = test\n" if next_hop else f"""
virtual_mailbox_domains = inbox.test example.com
virtual_mailbox_maps = regexp:{self.config}/users
virtual_mailbox_base = {self.folder}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
"""
        return f"""
compatibility_level = 3.6
queue_directory = {self.folder}/spool
data_directory = {self.folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {self.folder}/mail.log
maillog_file_prefixes = {self.folder}
biff = no
myhostname = mx.postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
mailbox_size_limit = 0
virtual_mailbox_limit = 0
message_size_limit = 30000000
smtpd_tls_security_level = may
smtpd_tls_chain_files = {self.config}/cert.pem
smtpd_tls_received_header = yes
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions =
{where}
"""

    def master_cf(self):
        services = []
        for line in pathlib.Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
            fields = line.split()
            if re.match(r"[a-z]", line) and len(fields) >= 8:
                fields[4] = "n"  # chroot off
                if fields[0] == "smtp" and fields[1] == "inet":
                    fields[0] = f"127.0.0.1:{self.port}"
                line = "\t".join(fields)
            services.append(line)
        return "\n".join(services) + "\n"


class Exim:
    """Debian's Exim, unpacked beside the system, storing everything in one maildir."""

    ADDED = ("Return-path", "Envelope-to", "Delivery-date", "Received")
    ends_the_header = True  # it adds the empty line behind a header section without one

    def __init__(self, test):
        program = harness.tool("fetch-exim.sh", "exim") / "exim"
        self.folder = test.folder / "exim"
        self.port = harness.free_port()
        self.mail = Maildir(self.folder / "mail")
        for name in ("spool", "mail", "log"):
            (self.folder / name).mkdir(parents=True)
        cert, key = harness.certificate()
        (self.folder / "cert.pem").write_text(cert)
        (self.folder / "key.pem").write_text(key)
        passwd = (program.parent / "passwd").read_text()  # the accounts that scripts/fetch-exim.sh shows it
        user = int(re.search(r"^Debian-exim:x:(\d+):", passwd, re.MULTILINE)[1])
        for path in [self.folder, *self.folder.iterdir()]:
            os.chown(path, user, user)
        config = self.folder / "exim.conf"
        config.write_text(self.configuration(program, user))
        test.logs.append(self.folder / "log/mainlog")
        harness.Process(test, "exim", [program, "-C", config, "-bdf", "-q1m"])
        harness.until(lambda: greets(self.port), "Exim answers")

    def configuration(self, program, user):
        return f"""
exim_path = {program}
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
primary_hostname = mx.exim.test
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
pid_file_path = {self.folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
exim_user = {user}
exim_group = {user}
never_users =
tls_advertise_hosts = *
tls_certificate = {self.folder}/cert.pem
tls_privatekey = {self.folder}/key.pem
smtputf8_advertise_hosts = *
acl_smtp_rcpt = everyone
acl_smtp_data = everyone
dkim_verify_signers =
message_size_limit = 30M
host_lookup =
rfc1413_query_timeout = 0s
begin acl
everyone:
  accept
begin routers
all:
  driver = accept
  transport = store
begin transports
store:
  driver = appendfile
  maildir_format
  directory = {self.folder}/mail
  create_directory
  user = {user}
  group = {user}
  delivery_date_add
  envelope_to_add
  return_path_add
"""


class Nsd:
    """NSD, an authoritative DNS server, with zones given as text of master files without SOA and NS: {zone: lines}."""

    def __init__(self, test, zones, port=None):
        self.folder = test.folder / "nsd"
        self.folder.mkdir()
        self.port = port or harness.free_port()
        config = [f"""
server:
  ip-address: 127.0.0.1@{self.port}
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  rrl-ratelimit: 0
  zonesdir: "{self.folder}"
  pidfile: "{self.folder}/nsd.pid"
  zonelistfile: "{self.folder}/zone.list"
  xfrdfile: "{self.folder}/xfrd.state"
  xfrdir: "{self.folder}"
remote-control:
  control-enable: no
"""]
        for name, text in zones.items():
            soa = f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns admin 1 60 60 600 1\n@ NS ns\nns A 127.0.0.1\n"
            (self.folder / f"{name}.zone").write_text(soa + text)
            config.append(f"zone:\n  name: {name}\n  zonefile: {name}.zone\n")
        (self.folder / "nsd.conf").write_text("".join(config))
        self.process = harness.Process(test, "nsd", ["/usr/sbin/nsd", "-d", "-c", self.folder / "nsd.conf"])
        zone = next(iter(zones))
        harness.until(lambda: self.answers_for(zone), f"nsd answers for {zone}")

    def answers_for(self, zone):
        """It may listen before it has read its zones."""
        name = b"".join(bytes([len(label)]) + label.encode() for label in zone.split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            probe.connect(("127.0.0.1", self.port))
            try:
                probe.send(b"ns\0\0\0\1\0\0\0\0\0\0" + name + b"\0\6\0\1")
                answer = probe.recv(512)
            except OSError:
                return False
            return answer[3] & 15 == 0 and answer[7] == 1


class Haproxy:
    """HAProxy before dankid's `port`, which it connects to from `address` and tells of its clients by PROXY version 2.
    With `check` it also asks for itself whether the relay is well."""

    def __init__(self, test, port, address, check=False):
        self.folder = test.folder / "haproxy"
        self.folder.mkdir()
        self.port = harness.free_port()
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""
global
  log stdout format raw local0
defaults
  mode tcp
  log global
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:{self.port}
  source {address}
  option smtpchk EHLO check.test
  option log-health-checks
  server relay 127.0.0.1:{port} send-proxy-v2 {"check check-send-proxy inter 100ms" if check else ""}
""")
        self.process = harness.Process(test, "haproxy", ["/usr/sbin/haproxy", "-db", "-f", config])
        harness.until(lambda: greets(self.port) or not self.process.running(), "HAProxy passes connections on")
        assert self.process.running(), self.process.text()
