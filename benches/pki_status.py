#!/usr/bin/env python3
"""`deploy pki status` of a hundred hosts: their files, and a port of each asked from another host.

One sshd with a hundred loopback addresses plays the hosts, one openssl server on all of them plays what serves.

Usage: benches/pki_status.py [ROUNDS] [HOSTS]   (`make bench-pki-status`)
"""

import json
import os
import subprocess
import sys

from common import SCRATCH, Result, check, deploy, die, free_port, listening, median, rounds, say, spread
from many_hosts import ADDRESSES, Sshd


class Server:
    """A TLS server on one port of all addresses."""

    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-quiet", "-accept", f"0.0.0.0:{self.port}", "-cert", str(folder / "cert.pem"),
             "-key", str(folder / "key.pem"), "-naccept", "1000000"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listening(self.port, "openssl s_server")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    store, passphrase, sets = SCRATCH / "store", SCRATCH / "passphrase", SCRATCH / "sets"
    passphrase.write_text("bench\n")
    os.chmod(passphrase, 0o600)
    pki = ["pki", "--store", store, "--passphrase-file", passphrase]
    must(deploy(*pki, "init"))
    names = [word for n in range(number) for word in ("--san", ADDRESSES.format(n + 1))]
    must(deploy(*pki, "issue", "--ca", "cluster", "--profile", "cluster", "--common-name", "bench", "--out",
                sets / "first", *names))
    os.symlink("first", sets / "current")
    sshd, server = Sshd(), Server(sets / "current")
    try:
        measure(sshd, server, pki, sets, count, number)
    finally:
        server.stop()
        sshd.stop()


def must(run):
    if run.status != 0:
        die(f"exited with {run.status}: {run.output[-2000:]}")
    return run


def measure(sshd, server, pki, sets, count, number):
    addresses = [ADDRESSES.format(n + 1) for n in range(number)]
    inventory = SCRATCH / "inventory.yml"
    inventory.write_text(
        "all:\n  vars:\n"
        + sshd.access(addresses) +
        "    bench_sets: " + str(sets) + "\n"
        "    pki_sets:\n      - {name: cluster, authority: cluster, profile: cluster, path: '{{ bench_sets }}', "
        f"ports: [{{port: {server.port}, protocol: tls}}], reload: none}}\n"
        "  hosts:\n" + "".join(f"    host{n + 1:03}: {{ansible_host: {a}}}\n" for n, a in enumerate(addresses)))
    words = [*pki, "status", "-i", inventory, "--format", "json", "--out", SCRATCH / "status.json"]

    def status():
        (SCRATCH / "status.json").unlink(missing_ok=True)
        run = must(deploy(*words))
        hosts = json.loads((SCRATCH / "status.json").read_text())["hosts"]
        for host in hosts:
            [one] = host["sets"]
            [port] = one["ports"]
            if port["served"]["serial"] != one["file"]["serial"] or port["seen_from"] == host["host"]:
                die(f"{host} was not looked at as it should be")
        if len(hosts) != number:
            die(f"{len(hosts)} of {number} hosts were looked at")
        return run

    say("first run, which copies the agent")
    status()
    runs = rounds(count, {"status": status})["status"]
    wall, memory = median(runs), max(run.rss for run in runs) / 1e6
    result = Result("pki-status", f"deploy pki status of {number} hosts")
    result.write(
        f"One sshd ({check(['sh', '-c', 'ssh -V 2>&1']).strip()}) at {number} loopback addresses of this machine, which so does all the work of",
        "the hosts, too. On each a set of certificates, and a TLS port that is asked from another host's agent. Every run was",
        f"checked: {number} hosts, the serial of each file and of each port, and who asked. Median (least–most) of {count}.",
        "",
        f"- wall: {spread(runs)} s, SSH handshakes included",
        f"- controller's CPU: {median(runs, 'cpu'):.2f} s",
        "",
    )
    result.target("under 3 s", f"{wall:.2f} s", wall < 3)
    result.target("under 100 MB", f"{memory:.0f} MB", memory < 100)
    result.finish()


if __name__ == "__main__":
    main()
