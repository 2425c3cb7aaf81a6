#!/usr/bin/env python3
"""A second `deploy` of the site on a healthy cluster of three.

Usage: benches/site.py [ROUNDS]   (`make bench-site`, after `make demo`, whose cluster it uses)
"""

import os
import sys

from common import ROOT, Result, check, deploy, median, rounds, say, spread

HOSTS = ["galera1", "galera2", "galera3"]


def unit_starts():
    """When the database was started on each host: nothing may have restarted it."""
    return [check([str(ROOT / "lab/ssh"), host, "systemctl show -p ActiveEnterTimestampMonotonic,MainPID mariadb"])
            for host in HOSTS]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    say("bringing the site to its state (this is `make demo`'s cluster, if there is one)")
    check([str(ROOT / "lab/up")])
    deploy().must("deploy", HOSTS)
    before = unit_starts()

    runs = rounds(count, {"site": lambda: deploy().must("the second run", HOSTS, changed=0)})["site"]
    same = unit_starts() == before
    result = Result("site", "Second run of the site on a healthy cluster of three")
    tasks = runs[0].output.count("TASK [")
    result.write(
        f"`deploy` with the defaults: playbooks/site.yml, {tasks} tasks. Median (least–most) of {count}; exit status and recap",
        "(nothing changed) checked each time, and that mariadb's processes are the same at the end.",
        "",
        f"Wall {spread(runs)} s, controller's CPU {spread(runs, 'cpu')} s, {max(r.rss for r in runs) / 2**20:.0f} MiB.",
        "",
    )
    wall = median(runs)
    result.target("zero changes, nothing restarted", "so it is" if same else "a database was restarted", same)
    result.target("under 1.5 s", f"{wall:.2f} s", wall < 1.5)
    result.finish()


main()
