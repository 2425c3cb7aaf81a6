#!/usr/bin/env python3
"""What a timer runs when nothing is due: playbooks/rotate-certs.yml on a hundred hosts, and the judgement behind it.

The hosts are those of `pki_status.py`: one sshd with a hundred loopback addresses, one openssl server on all of them.

Usage: benches/schedule.py [ROUNDS] [HOSTS]   (`make bench-schedule`)
"""

import json
import os
import sys

from common import SCRATCH, Result, check, deploy, die, median, rounds, say, spread
from many_hosts import ADDRESSES, Sshd
from pki_status import Server, must


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    store, passphrase, sets = SCRATCH / "store", SCRATCH / "passphrase", SCRATCH / "sets"
    passphrase.write_text("bench\n")
    os.chmod(passphrase, 0o600)
    addresses = [ADDRESSES.format(n + 1) for n in range(number)]
    pki = ["pki", "--store", store, "--passphrase-file", passphrase]
    must(deploy(*pki, "init"))
    names = [word for address in addresses for word in ("--san", address)]
    must(deploy(*pki, "issue", "--ca", "cluster", "--profile", "cluster", "--common-name", "bench", "--out",
                sets / "first", *names))
    os.symlink("first", sets / "current")
    sshd, server = Sshd(), Server(sets / "current")
    try:
        measure(sshd, server, store, passphrase, sets, addresses, count)
    finally:
        server.stop()
        sshd.stop()


def measure(sshd, server, store, passphrase, sets, addresses, count):
    number = len(addresses)
    inventory = SCRATCH / "inventory.yml"
    inventory.write_text(
        "galera:\n  vars:\n"
        + sshd.access(addresses) +
        "  hosts:\n" + "".join(f"    host{n + 1:03}: {{ansible_host: {a}, galera_address: {a}}}\n"
                               for n, a in enumerate(addresses)))
    variables = SCRATCH / "variables.json"
    variables.write_text(json.dumps({
        "pki_store": str(store), "pki_passphrase_file": str(passphrase),
        "pki_sets": [{"name": "cluster", "authority": "cluster", "profile": "cluster", "path": str(sets),
                      "common_name": "bench", "dns": [], "ip": addresses, "reload": "none",
                      "ports": [{"port": server.port, "protocol": "tls"}]}],
    }))
    env = {"XDG_STATE_HOME": str(SCRATCH / "state")}
    env.update({"DEPLOY_RUNS_DIR": str(SCRATCH / "runs")})
    words = ["schedule", "run", "--", "-i", inventory, "-e", f"@{variables}"]

    def quiet():
        run = must(deploy(*words, env=env))
        if run.output:
            die(f"it was not quiet: {run.output[-2000:]}")
        return run

    def looked():
        """What the run did, from its journal: each host was judged, and its port was seen."""
        events = (SCRATCH / "runs").glob("*/events.jsonl")
        last = sorted(events)[-1].read_text().splitlines()
        done = [json.loads(line) for line in last]
        judged = {e["host"] for e in done if e["event"] == "task_done" and "What would be renewed" in e["task"]["name"]
                  and e["status"] == "ok"}
        if len(judged) != number:
            die(f"{len(judged)} of {number} hosts were judged")

    say("first run, which copies the agent")
    quiet()
    looked()
    runs = rounds(count, {"schedule run": quiet})["schedule run"]
    looked()
    wall, memory = median(runs), max(run.rss for run in runs) / 1e6

    # It must be able to be loud: the same hosts, asked for certificates that live for a shorter time.
    late = deploy("schedule", "run", "--", "-i", inventory, "-e", f"@{variables}", "-e", "pki_renew=nonsense", env=env)
    if late.status == 0 or "FAILED" not in late.output:
        die(f"it was not loud: {late.status} {late.output[-500:]}")

    result = Result("schedule", f"deploy schedule run on {number} hosts, nothing due")
    result.write(
        f"One sshd ({check(['sh', '-c', 'ssh -V 2>&1']).strip()}) at {number} loopback addresses of this machine, which so does all the work of",
        "the hosts, too. On each a set of certificates is judged by playbooks/rotate-certs.yml, its TLS port is looked at by the host",
        "itself and, behind the run, from another host's agent. Every run was checked: no output, exit code 0; by the journal,",
        f"{number} hosts were judged. Median (least–most) of {count}.",
        "",
        f"- wall: {spread(runs)} s, SSH handshakes included",
        f"- controller's CPU: {median(runs, 'cpu'):.2f} s",
        f"- controller's memory: {memory:.0f} MB",
        "",
    )
    result.target("under 2 s", f"{wall:.2f} s", wall < 2)
    result.finish()


main()
