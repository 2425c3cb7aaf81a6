#!/usr/bin/env python3
"""`deploy drift` of the shipped site on a hundred hosts: a cluster of three, and 97 hosts of applications.

The cluster is the lab's, a real one. One sshd with loopback addresses plays the hosts of the applications, each with a
directory of its own for its certificate.

Usage: benches/drift.py [ROUNDS] [HOSTS]   (`make bench-drift`)
"""

import json
import sys

from common import ROOT, SCRATCH, Lab, Result, deploy, die, median, rounds, say, spread
from many_hosts import ADDRESSES, Sshd

NODES = ["galera1", "galera2", "galera3"]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    lab, sshd = Lab(NODES), Sshd()
    try:
        measure(lab, sshd, count, number)
    finally:
        sshd.stop()


def measure(lab, sshd, count, number):
    addresses = [ADDRESSES.format(n + 1) for n in range(number - len(NODES))]
    clients = [f"app{n + 1:03}" for n in range(len(addresses))]
    (SCRATCH / "passphrase").write_text("bench\n")
    (SCRATCH / "passphrase").chmod(0o600)
    (SCRATCH / "apps").mkdir()
    inventory = SCRATCH / "clients.yml"
    inventory.write_text(
        "clients:\n  vars:\n" + sshd.access(addresses) +
        f"    pki_application_path: '{SCRATCH}/apps/{{{{ inventory_hostname }}}}'\n"
        "  hosts:\n" + "".join(f"    {h}: {{ansible_host: {a}}}\n" for h, a in zip(clients, addresses)))
    words = ["-i", lab.inventory, "-i", inventory, "-e", f"pki_store={SCRATCH}/store", "-e",
             f"pki_passphrase_file={SCRATCH}/passphrase", "-e", "passbolt_db_password=bench-bench-bench"]
    site = ROOT / "playbooks/site.yml"

    say("bringing the site to its state")
    deploy(*words, site).must("deploy", NODES + clients)

    def drift(expected=()):
        run = deploy("drift", *words, "--format", "json", site)
        found, _ = json.JSONDecoder().raw_decode(run.output[run.output.index("{\n"):])
        differing = sorted({one["host"] for one in found["drift"]})
        if len(found["hosts"]) != number or differing != sorted(expected) or run.status != (10 if expected else 0):
            die(f"exited with {run.status}, {len(found['hosts'])} hosts, differing {differing}:\n{run.output[-3000:]}")
        return run

    runs = rounds(count, {"drift": drift})["drift"]
    say("two hosts are changed by hand")
    lab.ssh("galera2", "echo '# by hand' >> /etc/mysql/mariadb.conf.d/70-galera.cnf")
    (SCRATCH / "apps" / clients[41] / "current/key.pem").chmod(0o644)
    changed = drift(["galera2", clients[41]])

    wall, memory = median(runs), max(run.rss for run in runs) / 1e6
    result = Result("drift", f"deploy drift of the shipped site on {number} hosts")
    result.write(
        f"playbooks/site.yml on a cluster of three in the lab and {len(clients)} hosts of applications (one sshd at as many loopback",
        "addresses); all of them on this machine, which so does the hosts' work, too. Every run was checked: the exit status, all",
        f"hosts in the list, and no difference. Median (least–most) of {count}.",
        "",
        f"- wall: {spread(runs)} s, SSH handshakes included",
        f"- controller's CPU: {median(runs, 'cpu'):.2f} s, memory {memory:.0f} MB",
        f"- with an option file edited on galera2 and the mode of a key on {clients[41]}: these two are listed, exit status 10, {changed.wall:.2f} s",
        "",
    )
    result.target("under 10 s", f"{wall:.2f} s", wall < 10)
    result.finish()


main()
