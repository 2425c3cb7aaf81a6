#!/usr/bin/env python3
"""Second run of a playbook of 45 tasks on three hosts: `deploy` beside ansible-playbook and mitogen.

Usage: benches/second_run.py [ROUNDS]   (`make bench-second-run`)
"""

import sys

from common import DEPLOY, HERE, Lab, Peers, Result, Run, deploy, die, median, rounds, say, spread

PLAYBOOK = HERE / "playbook/site.yml"
TREE = "/opt/deploy-bench"
HOSTS = ["galera1", "galera2", "galera3"]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    peers = Peers()
    lab = Lab(HOSTS, python=True)
    inventory = ["-i", lab.inventory, PLAYBOOK]

    def ansible(mitogen):
        command = [peers.playbook, *map(str, inventory)]
        return Run(command, env=peers.environment(mitogen, forks=len(HOSTS)))

    # First runs, not timed: deploy makes the tree; that the peers then have nothing to change says that all three
    # mean the same by it, and that the same work is compared.
    say("first runs")
    deploy(*inventory).must("the first run of deploy", HOSTS)
    wanted = lab.state(TREE)
    ansible(False).must("ansible-playbook", HOSTS, changed=0)
    ansible(True).must("mitogen", HOSTS, changed=0)

    def contestant(what, run):
        def timed():
            done = run().must(what, HOSTS, changed=0)
            if lab.state(TREE) != wanted:
                die(f"{what} left another state on the hosts")
            return done
        return timed

    runs = rounds(count, {
        "deploy": contestant("deploy", lambda: deploy(*inventory)),
        "ansible-playbook": contestant("ansible-playbook", lambda: ansible(False)),
        "mitogen_linear": contestant("mitogen", lambda: ansible(True)),
    })
    result = Result("second-run", "Second run of 45 tasks on three hosts")
    result.write(
        "`benches/playbook/site.yml`: facts, 40 file, copy, template and lineinfile tasks, 5 commands, become root; one",
        "of the hosts asks for a sudo password. Everything is as wanted before each run; after each one the exit",
        "status, the recap (nothing changed, nothing failed) and the tree on every host (kinds, modes, owners, hashes)",
        f"were checked. Runs take turns; median (least–most) of {count}. The peers had pipelining, {len(HOSTS)} forks, and",
        "connections kept alive from their run before (ControlPersist), which spares ansible-playbook its SSH handshakes;",
        "deploy and mitogen connect anew each time.",
        "",
        "| | wall s | controller's CPU s | deploy is faster by |",
        "|---|---|---|---|",
    )
    names = {"ansible-playbook": f"ansible-playbook (ansible-core {peers.ansible})",
             "mitogen_linear": f"mitogen_linear (mitogen {peers.mitogen}, ansible-core {peers.ansible})",
             "deploy": f"deploy ({DEPLOY.parent.name} build)"}
    factor = {}
    for name, done in runs.items():
        factor[name] = median(done) / median(runs["deploy"])
        result.write(f"| {names[name]} | {spread(done)} | {median(done, 'cpu'):.2f} | {factor[name]:.1f} |")
    result.write("")
    result.target("at least 40 times faster than ansible-playbook", f"{factor['ansible-playbook']:.1f} times",
                  factor["ansible-playbook"] >= 40)
    result.target("at least 10 times faster than mitogen", f"{factor['mitogen_linear']:.1f} times",
                  factor["mitogen_linear"] >= 10)
    result.finish()


main()
