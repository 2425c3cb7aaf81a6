"""Runs playbooks with ansible-playbook, many in one process each of its own: Ansible's own start is most of a small run.

Usage: oracle.py JOBS WORKERS. JOBS is a JSON list of {"dir", "argv", "events", "log", "env"}. The exit code of each goes to
its `events` file with `.rc` behind.
"""

import json
import os
import subprocess
import sys
import traceback

import ansible.cli.playbook
import ansible.executor.playbook_executor  # noqa: F401
import ansible.plugins.strategy.linear  # noqa: F401


def run(job):
    os.chdir(job["dir"])
    os.environ["DIFFERENTIAL_EVENTS"] = job["events"]
    os.environ.update(job.get("env", {}))
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        if any(name.startswith("ANSIBLE_") for name in job.get("env", {})):
            # Settings are read once, when Ansible is loaded.
            raise SystemExit(subprocess.run([sys.executable, "-m", "ansible", "playbook", *job["argv"]]).returncode)
        ansible.cli.playbook.PlaybookCLI.cli_executor(["ansible-playbook", *job["argv"]])
        code = 0
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
        code = 250
    with open(job["events"] + ".rc", "w") as out:
        out.write(str(code))
    sys.stdout.flush()
    os._exit(0)


def main():
    with open(sys.argv[1]) as text:
        jobs = json.load(text)
    workers = int(sys.argv[2])
    running = set()
    for number, job in enumerate(jobs):
        if len(running) >= workers:
            running.discard(os.wait()[0])
        child = os.fork()
        if child == 0:
            run(job)
        running.add(child)
        if number % 50 == 49:
            print(f"differential: ansible-playbook {number + 1}/{len(jobs)}", file=sys.stderr, flush=True)
    while running:
        running.discard(os.wait()[0])


main()
