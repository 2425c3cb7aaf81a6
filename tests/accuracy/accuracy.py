#!/usr/bin/env python3
"""How far a dry run can be trusted: every case is checked, then run, and both are compared, result by result.

Usage: tests/accuracy/accuracy.py [OPTIONS] [DIR…]      (`make accuracy`; see README.md here)

Without DIR: the shipped playbooks, the module cases in cases/ and the drifts. DIR is a role, a folder of roles, a folder of
playbooks or a playbook: it is run on hosts of the lab (--hosts), from clean disks, again, and drifted."""

import sys

sys.dont_write_bytecode = True

import argparse
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import kept
import page
import suites
from hosts import BOXES, NODES, ROOT, Hosts, say
from suites import TREE, WORK
from tools import Ansible, Deploy

BUILT = Path(os.environ.get("DEPLOY_ACCURACY_BINARY", ROOT / "target/debug/deploy"))


def copies(folder):
    """The programs as they are now, whatever is built meanwhile; stripped, as each host gets the agent anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("deploy", "deploy-agent"):
        built = BUILT.with_name(name)
        if built.is_file():
            new = folder / f"{name}.new"
            if subprocess.run(["strip", "-o", str(new), str(built)], stderr=subprocess.DEVNULL).returncode != 0:
                shutil.copy2(built, new)
            new.rename(folder / name)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression on `suite: case`; suites: cases, site, playbooks, drifts")
    parser.add_argument("--tool", choices=["deploy", "ansible", "both"], default="both")
    parser.add_argument("--drifts", type=int, help="how many (50; of each of DIR's playbooks 3)")
    parser.add_argument("--seed", type=int, default=1, help="the first drift's")
    parser.add_argument("--boxes", type=int, default=3, help="boxes at work at a time, at most 3")
    parser.add_argument("--write", action="store_true", help="write docs/results/DATE-accuracy.md and the table in docs/accuracy.md")
    parser.add_argument("--resume", action="store_true",
                        help="leave out what was measured already, of the same programs and playbooks")
    parser.add_argument("--strict", action="store_true",
                        help="a sample, which is not kept: exit code 1 for a single difference or more than 3 %% unknown")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what was measured before")
    parser.add_argument("--hosts", help="of the lab, for DIR: box1, galera1 … (the boxes, and three nodes where they are named)")
    parser.add_argument("-i", "--inventory", dest="inventories", action="append", default=[],
                        help="for DIR: a further inventory of the lab's hosts, with groups and variables")
    parser.add_argument("-e", "--extra-vars", dest="extra", action="append", default=[], help="for DIR's playbooks")
    parser.add_argument("dirs", nargs="*", metavar="DIR")
    options = parser.parse_args()
    options.extra = [word for value in options.extra for word in ("-e", value)]
    options.inventories = [str(Path(name).resolve()) for name in options.inventories]
    options.drifts = (3 if options.dirs else 50) if options.drifts is None else options.drifts
    options.boxes = min(options.boxes, len(BOXES))
    # What deploy made, by playbook: Ansible is given the same drifts.
    options.subjects = {}
    options.keep = not options.strict and not options.dirs
    if options.dirs and (options.write or options.resume):
        parser.error("--write and --resume are for the suites, not for DIR")
    return options


def main():
    options = arguments()
    if options.page:
        options.write = True
        sys.exit(page.finish(kept.earlier(), options))
    if not BUILT.is_file():
        sys.exit(f"{BUILT} is missing: `make accuracy` builds it")
    # The lab is taken down when we are told to end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    WORK.mkdir(parents=True, exist_ok=True)
    copies(WORK / "bin")
    for name in ("playbooks", "roles", "tests/accuracy/cases"):
        shutil.rmtree(TREE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, TREE / name)
    # A checkout keeps no modes, and what others can read is no passphrase.
    (TREE / "tests/accuracy/cases/files/passphrase").chmod(0o600)
    options.what = kept.of_what(WORK / "bin/deploy", [TREE, ROOT / "tests/accuracy"])
    if options.write and not options.resume and not options.only:
        shutil.rmtree(kept.KEPT, ignore_errors=True)
    options.books = [(path, book) for path in map(Path.resolve, map(Path, options.dirs)) for book in suites.books_of(path)]
    cases_only = re.fullmatch(r"cases:?.*", options.only or "-")
    if options.dirs:
        books = [book for _, book in options.books]
        names = options.hosts.split(",") if options.hosts else suites.hosts_of(books, options.inventories)
    else:
        names = BOXES if cases_only else [*NODES, *BOXES]
    hosts = Hosts(names)
    measured = {}
    for make in (Deploy, Ansible):
        if options.tool not in (make.name, "both"):
            continue
        try:
            tool = make(hosts, WORK, TREE)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            if options.tool == make.name:
                raise
            say(f"{make.name} is left out: {error}")
            continue
        if options.dirs:
            measured[tool.name] = suites.trees(tool, hosts, options)
            continue
        measured[tool.name] = suites.module_cases(tool, hosts, options)
        if tool.name == "deploy" and not cases_only:
            measured[tool.name] += suites.site(tool, hosts, options)
    sys.exit(page.finish(kept.earlier() if options.write else measured, options))


main()
