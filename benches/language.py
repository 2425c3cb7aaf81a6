#!/usr/bin/env python3
"""Reading and templating: the tasks of 200 for 10,000 hosts are listed, and 100,000 expressions rendered on one core.

ansible-playbook lists the same beside us.

Usage: benches/language.py [ROUNDS] [HOSTS]   (`make bench-language`)
"""

import os
import re
import sys
from pathlib import Path

from common import DEPLOY, SCRATCH, Peers, Result, Run, deploy, die, median, rounds, spread

EXPRESSIONS = Path(os.environ.get("DEPLOY_BENCH_EXPRESSIONS", DEPLOY.parent / "examples/expressions"))
TASKS = 200
ASKED = 100_000


def write(number):
    """An inventory of so many hosts, a hundred to a group, groups in four data centres, with files of variables, and a playbook."""
    tree = SCRATCH / "tree"
    (tree / "group_vars").mkdir(parents=True)
    groups = (number + 99) // 100
    lines = []
    for group in range(groups):
        lines.append(f"[app{group:03}]")
        for host in range(group * 100, min(number, group * 100 + 100)):
            lines.append(f"host{host:05}.example ansible_host=10.{host >> 16}.{host >> 8 & 255}.{host & 255} rack=r{host % 40}")
        lines += [f"[app{group:03}:vars]", f"port={8000 + group}"]
        settings = (f'app_setting_{n}: "{{{{ inventory_hostname }}}}-{group}-{n}"\n' for n in range(20))
        (tree / f"group_vars/app{group:03}.yml").write_text("".join(settings))
    for place in range(4):
        lines += [f"[dc{place}:children]", *(f"app{group:03}" for group in range(groups) if group % 4 == place)]
        (tree / f"group_vars/dc{place}.yml").write_text(f"dc: {place}\nntp: [a{place}, b{place}]\n")
    (tree / "hosts").write_text("\n".join(lines) + "\n")
    play = ["- hosts: all", "  gather_facts: false", "  tasks:"]
    for task in range(TASKS):
        play += [f"    - name: Task {task}", "      copy:", f'        content: "{{{{ app_setting_{task % 20} }}}}"', f"        dest: /srv/t{task}",
                 '        mode: "0644"', f"      when: port > {8000 + task % 100}", f"      tags: [t{task % 7}]"]
    (tree / "site.yml").write_text("\n".join(play) + "\n")
    return tree


def listed(run):
    """A run that listed all tasks."""
    if run.status != 0 or len(re.findall(r"^ +Task \d+\t", run.output, re.M)) != TASKS:
        die(f"exited with {run.status} and printed:\n{run.output[-2000:]}")
    return run


def rendered():
    run = Run(["taskset", "-c", "0", str(EXPRESSIONS), str(ASKED)])
    if run.status != 0:
        die(f"{EXPRESSIONS} exited with {run.status}: {run.output[-2000:]}")
    run.seconds = float(run.output.split()[0])
    return run


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    tree, peers = write(number), Peers()
    words = ["-i", str(tree / "hosts"), str(tree / "site.yml"), "--list-tasks"]
    env = peers.environment(mitogen=False, forks=5)
    runs = rounds(count, {
        "deploy": lambda: listed(deploy(*words)),
        "ansible": lambda: listed(Run([peers.playbook, *words], env=env)),
        "expressions": rendered,
    })
    result = Result("language", f"{number} hosts and {TASKS} tasks listed, {ASKED} expressions rendered")
    wall, rss = median(runs["deploy"]), max(run.rss for run in runs["deploy"])
    seconds = median(runs["expressions"], "seconds")
    result.target("`--list-tasks`, s (target: under 1)", spread(runs["deploy"]), wall < 1)
    result.target("its memory, MB (target: under 200)", f"{rss / 1e6:.0f}", rss < 200e6)
    result.target(f"{ASKED} expressions on one core, s (target: under 2)", spread(runs["expressions"], "seconds"), seconds < 2)
    result.write("", f"ansible-core {peers.ansible} lists the same in {spread(runs['ansible'])} s and "
                     f"{max(run.rss for run in runs['ansible']) / 1e6:.0f} MB. The time of expressions is without the start of the program.")
    result.finish()


if __name__ == "__main__":
    main()
