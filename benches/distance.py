#!/usr/bin/env python3
"""What distance costs: the second run of the 40 tasks without commands, with 125 ms each way to the hosts.

Usage: benches/distance.py [ROUNDS]   (`make bench-distance`)
"""

import re
import sys

from common import HERE, SCRATCH, Lab, Result, deploy, die, median, rounds, say, spread
from proxy import Proxy

PLAYBOOK = HERE / "playbook/site.yml"
TREE = "/opt/deploy-bench"
HOSTS = ["galera1", "galera2", "galera3"]
ONE_WAY = 0.125
COMMANDS = len(re.findall(r"tags: \[commands\]", PLAYBOOK.read_text()))


def through(lab, name, delay):
    """An inventory that leads through a proxy with this delay."""
    text = lab.inventory.read_text()
    targets = {host: (re.search(rf"{host}:\n\s+ansible_host: (\S+)", text)[1], 22) for host in HOSTS}
    proxy = Proxy(targets, delay)
    known = open(re.search(r"UserKnownHostsFile=(\S+?)['\s]", text)[1]).read()
    alias = []
    for host, (address, _) in targets.items():
        # The host keeps its name for its key, whatever the way to it.
        key = re.search(rf"^\S*{re.escape(address)}\S* (\S+ \S+)", known, re.M)[1]
        alias.append(f"[127.0.0.1]:{proxy.ports[host]} {key}\n")
        text = text.replace(f"ansible_host: {address}", f"ansible_host: 127.0.0.1\n          ansible_port: {proxy.ports[host]}")
    (SCRATCH / f"{name}.known").write_text("".join(alias))
    text = re.sub(r"UserKnownHostsFile=[^'\s]+", f"UserKnownHostsFile={SCRATCH / name}.known", text)
    path = SCRATCH / f"{name}.yml"
    path.write_text(text)
    return path


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    lab = Lab(HOSTS)
    near, far = through(lab, "near", 0), through(lab, "far", ONE_WAY)
    say("first run")
    deploy("-i", near, PLAYBOOK).must("the first run", HOSTS)
    # cluster.conf holds the hosts' addresses, which are the proxy's here: the same for both.
    wanted = lab.state(TREE)

    def contestant(*words):
        def timed():
            done = deploy(*words, PLAYBOOK).must("deploy", HOSTS, changed=0)
            if lab.state(TREE) != wanted:
                die("deploy left another state on the hosts")
            return done
        return timed

    files = ["--skip-tags", "commands"]
    runs = rounds(count, {
        "near, files": contestant("-i", near, *files),
        "far, files": contestant("-i", far, *files),
        "near, all": contestant("-i", near),
        "far, all": contestant("-i", far),
    })
    trip = 2 * ONE_WAY
    trips = (median(runs["far, files"]) - median(runs["near, files"])) / trip
    trips_all = (median(runs["far, all"]) - median(runs["near, all"])) / trip
    result = Result("distance", "Distance: 125 ms each way between controller and hosts")
    result.write(
        "Second run of `benches/playbook/site.yml` on three hosts, through a TCP proxy (`benches/proxy.py`) that delivers",
        "everything 125 ms later, in both directions, and takes the time of TCP's own handshake, too. Beside it the same",
        f"through the same proxy with 0 ms. Runs take turns; median (least–most) of {count}. Exit status, recap and the",
        "trees on the hosts were checked after every run.",
        "",
        "| | wall s at 0 ms | wall s at 125 ms each way | round trips |",
        "|---|---|---|---|",
        f"| 40 tasks without commands | {spread(runs['near, files'])} | {spread(runs['far, files'])} | {trips:.1f} |",
        f"| the same and {COMMANDS} commands | {spread(runs['near, all'])} | {spread(runs['far, all'])} | {trips_all:.1f} |",
        "",
    )
    result.target("without commands at most 16 round trips", f"{trips:.1f}", trips <= 16)
    result.target(f"one more for each command, so at most {16 + COMMANDS}", f"{trips_all:.1f}", trips_all <= 16 + COMMANDS)
    result.finish()


main()
