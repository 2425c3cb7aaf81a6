#!/usr/bin/env python3
"""A hundred hosts: three tasks that change nothing, beyond what the SSH handshakes cost anybody.

One sshd with a hundred loopback addresses plays the hosts.

Usage: benches/many_hosts.py [ROUNDS] [HOSTS]   (`make bench-many-hosts`)
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import (
    DEPLOY, SCRATCH, Result, Run, check, deploy, die, free_port, listening, median, rounds, say, spread,
)

CONNECT = Path(os.environ.get("DEPLOY_BENCH_CONNECT", DEPLOY.parent / "examples/connect"))
ADDRESSES = "127.0.1.{}"


class Sshd:
    """An sshd of our own, on its own port of all loopback addresses, with its own keys."""

    def __init__(self):
        home = SCRATCH / "home"
        home.mkdir()
        os.chmod(SCRATCH, 0o700)
        for name in ("host", "user"):
            check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(SCRATCH / name)])
        shutil.copy(SCRATCH / "user.pub", SCRATCH / "authorized")
        os.chmod(SCRATCH / "authorized", 0o600)
        self.host_key = " ".join((SCRATCH / "host.pub").read_text().split()[:2])
        self.port = free_port()
        config = SCRATCH / "sshd_config"
        config.write_text("\n".join([
            f"Port {self.port}", "ListenAddress 0.0.0.0", f"HostKey {SCRATCH / 'host'}", f"PidFile {SCRATCH / 'pid'}",
            f"AuthorizedKeysFile {SCRATCH / 'authorized'}", "StrictModes no", "UsePAM no", "PermitRootLogin yes",
            # Its default refuses connections at random as soon as ten of them log in at the same time.
            "MaxStartups 1000", "LogLevel ERROR",
            # A login shell of a user that does nothing slow: neither root's own start files, nor its home.
            f"SetEnv SHLVL=3 HOME={home}", "",
        ]))
        os.makedirs("/run/sshd", exist_ok=True)
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)])
        listening(self.port, "sshd")

    def access(self, addresses):
        """How an inventory reaches it at these addresses: the variables of a group, each on a line indented by four."""
        known = "".join(f"[{address}]:{self.port} {self.host_key}\n" for address in addresses)
        (SCRATCH / "known").write_text(known)
        return (f"    ansible_port: {self.port}\n    ansible_user: root\n"
                f"    ansible_ssh_private_key_file: {SCRATCH / 'user'}\n"
                f"    ansible_ssh_common_args: -F none -o UserKnownHostsFile={SCRATCH / 'known'} -o StrictHostKeyChecking=yes\n")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    sshd = Sshd()
    try:
        measure(sshd, count, number)
    finally:
        sshd.stop()


def measure(sshd, count, number):
    addresses = [ADDRESSES.format(n + 1) for n in range(number)]
    hosts = [f"host{n + 1:03}" for n in range(number)]
    inventory = SCRATCH / "inventory.yml"
    inventory.write_text(
        "all:\n  vars:\n"
        + sshd.access(addresses) +
        "  hosts:\n" + "".join(f"    {h}: {{ansible_host: {a}}}\n" for h, a in zip(hosts, addresses)))
    kept = SCRATCH / "kept"
    kept.mkdir()
    (kept / "file").write_text("as wanted\n")
    os.chmod(kept, 0o755)
    os.chmod(kept / "file", 0o644)
    playbook = SCRATCH / "tasks.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        f"    - user: {{name: root, shell: {check(['sh', '-c', 'getent passwd root']).strip().split(':')[-1]}}}\n"
        f"    - file: {{path: {kept}, state: directory, mode: '0755'}}\n"
        f"    - copy: {{content: \"as wanted\\n\", dest: {kept}/file, mode: '0644'}}\n")
    # All hosts at once, as Ansible needs its forks set to do.
    words = ["-i", inventory, playbook, "-f", number]
    connect = [str(CONNECT), str(SCRATCH / "user"), sshd.host_key, "64", *(f"{a}:{sshd.port}" for a in addresses)]

    def baseline():
        run = Run(connect)
        if run.status != 0 or f"{number} connections" not in run.output:
            die(f"connecting exited with {run.status}: {run.output[-2000:]}")
        return run

    def tasks():
        run = deploy(*words).must("deploy", hosts, changed=0)
        if (kept / "file").read_text() != "as wanted\n":
            die("the file is another one")
        return run

    say("first run, which copies the agent")
    tasks()
    runs = rounds(count, {"handshakes": baseline, "deploy": tasks})
    beyond = median(runs["deploy"]) - median(runs["handshakes"])
    memory = max(run.rss for run in runs["deploy"]) / 2**20
    result = Result("many-hosts", f"{number} hosts, three tasks that change nothing")
    result.write(
        f"One sshd ({check(['sh', '-c', 'ssh -V 2>&1']).strip()}) at {number} loopback addresses of this machine, which so does all the work of",
        "the hosts, too. A user, a file and a copy task; everything is as wanted before. What the handshakes cost is measured",
        "by a program (`benches/connect.rs`) that connects with the same SSH library and the same 64 connections at a time,",
        f"runs `true` on each host and closes. Runs take turns; median (least–most) of {count}; exit status, recap and the file",
        "were checked each time.",
        "",
        "| | wall s | controller's CPU s | peak RSS MiB |",
        "|---|---|---|---|",
        *(f"| {name} | {spread(done)} | {median(done, 'cpu'):.2f} | {max(r.rss for r in done) / 2**20:.0f} |"
          for name, done in runs.items()),
        "",
    )
    result.target("under 1.5 s beyond the handshakes", f"{beyond:.2f} s", beyond < 1.5)
    result.target("under 150 MB", f"{memory * 1.048576:.0f} MB", memory * 1.048576 < 150)
    result.finish()


if __name__ == "__main__":
    main()
