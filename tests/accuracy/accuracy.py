#!/usr/bin/env python3
"""How far a dry run can be trusted: every case is checked, then run, and both are compared, result by result.

Usage: tests/accuracy/accuracy.py [OPTIONS] [DIR…]      (`make accuracy`; see README.md here)

Without DIR: the shipped playbooks, the module cases in cases/ and the drifts. DIR is a role, a folder of roles, a folder of
playbooks or a playbook: it is run on the lab's boxes (or with --inventory on its own lab hosts), from clean disks and again."""

import sys

sys.dont_write_bytecode = True

import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import compare
import drift
import page
from hosts import LAB, ROOT, Hosts, moved, say

HERE = Path(__file__).resolve().parent
BUILT = Path(os.environ.get("DEPLOY_ACCURACY_BINARY", ROOT / "target/debug/deploy"))
WORK = ROOT / "target/accuracy" / LAB
BINARY = WORK / "bin/deploy"
# Playbooks, roles and cases as they were at the beginning, whatever is edited meanwhile.
TREE = WORK / "tree"
KEPT = ROOT / "target/accuracy/kept"
COLLECTIONS = os.environ.get("DEPLOY_ACCURACY_COLLECTIONS", "ansible==12.3.0")
NODES = ["galera1", "galera2", "galera3"]
BOXES = ["box1", "box2", "box3"]


class Deploy:
    name = "deploy"

    def __init__(self, hosts):
        self.inventories = [str(hosts.inventory)]
        # Handlers that one case owes are not to be paid by the next.
        self.env = {**os.environ, "NO_COLOR": "1", "DEPLOY_RUNS_DIR": "off",
                    "ACCURACY_STORE": str(WORK / "stores"), "ACCURACY_FETCH": str(WORK / "fetched")}
        for folder in ("stores", "fetched"):
            shutil.rmtree(WORK / folder, ignore_errors=True)
        (WORK / "stores").mkdir(mode=0o700)
        self.env.pop("DEPLOY_INVENTORY", None)

    def run(self, words, check, log):
        command = [str(BINARY)]
        for inventory in self.inventories:
            command += ["-i", inventory]
        command += [*words, "--diff", "--format", "json", *(["--check"] if check else [])]
        done = subprocess.run(command, cwd=TREE, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace")
        log.write_text(done.stdout)
        log.with_suffix(".err").write_text(done.stderr)
        return done.returncode, compare.events(done.stdout), done.stderr


class Ansible:
    name = "ansible"

    def __init__(self, hosts):
        os.environ.setdefault("DEPLOY_BENCH_BINARY", str(BINARY))
        sys.path.insert(0, str(ROOT / "benches"))
        import common
        self.peers = common.Peers()
        self.inventories = [str(hosts.inventory)]
        self.env = self.peers.environment(mitogen=False, forks=10)
        self.env.update(ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback"), ANSIBLE_CALLBACKS_ENABLED="accuracy",
                        ANSIBLE_ROLES_PATH=str(TREE / "roles"), ANSIBLE_DEPRECATION_WARNINGS="0")
        self.collections = self.peers.venv / "collections"
        if not (self.collections / "ansible_collections/community/mysql").is_dir():
            say("installing ansible.posix and community.mysql, for Ansible")
            # The package `ansible` holds both, of the versions that were tried with this core.
            done = subprocess.run([str(self.peers.venv / "bin/pip"), "install", "-q", "--no-deps", "--target",
                                   str(self.collections), COLLECTIONS], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode != 0:
                say(f"they are not to be had: {done.stdout[-300:]}")
        self.env["ANSIBLE_COLLECTIONS_PATH"] = str(self.collections)

    def run(self, words, check, log):
        command = [self.peers.playbook]
        for inventory in self.inventories:
            command += ["-i", inventory]
        log.unlink(missing_ok=True)
        done = subprocess.run([*command, *words, "--diff", *(["--check"] if check else [])], cwd=TREE,
                              env={**self.env, "ACCURACY_EVENTS": str(log)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        log.with_suffix(".err").write_text(done.stdout)
        text = log.read_text() if log.exists() else ""
        return done.returncode, compare.events(text), done.stdout


class Case:
    """A check and the run after it. `hosts` is what is looked at, before and after the check."""

    def __init__(self, suite, name, words, hosts, before=None):
        self.suite, self.name, self.words, self.hosts, self.before = suite, name, words, hosts, before
        self.verdicts, self.touched, self.problem = [], [], ""
        self.codes, self.seconds, self.applied = (None, None), (0, 0), []

    def as_json(self):
        return {"suite": self.suite, "name": self.name, "touched": self.touched, "problem": self.problem,
                "codes": self.codes, "seconds": self.seconds, "verdicts": [vars(verdict) for verdict in self.verdicts]}

    @staticmethod
    def of_json(kept):
        case = Case(kept["suite"], kept["name"], [], [])
        for name in ("touched", "problem", "codes", "seconds"):
            setattr(case, name, kept[name])
        case.verdicts = [compare.Verdict(**one) for one in kept["verdicts"]]
        return case

    def count(self, word):
        return sum(verdict.word == word for verdict in self.verdicts)

    def measure(self, tool, hosts):
        """(a) to (e): look, check, look, run, compare."""
        safe = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{tool.name}-{self.suite}-{self.name}")[:150]
        before = hosts.state(self.hosts)
        began = time.time()
        code, events, said = tool.run(self.words, True, WORK / f"{safe}.check.jsonl")
        checked = time.time()
        self.touched = moved(before, hosts.state(self.hosts))
        again = time.time()
        real_code, real_events, real_said = tool.run(self.words, False, WORK / f"{safe}.run.jsonl")
        self.seconds = (checked - began, time.time() - again)
        self.codes, self.applied = (code, real_code), real_events
        check, real = compare.results(events), compare.results(real_events)
        if not check and not real:
            self.problem = f"nothing was run: {(said + real_said)[-600:]}"
        self.verdicts = compare.compare(f"{self.suite}: {self.name}", check, real)
        told = f"{self.count('equal')} equal, {self.count('different')} different, {self.count('unknown')} unknown"
        say(f"{tool.name}: {self.suite}: {self.name}: {told}; check {code} in {self.seconds[0]:.1f} s, run {real_code} in "
            f"{self.seconds[1]:.1f} s" + ("; THE CHECK CHANGED THE HOST" if self.touched else "")
            + (f"; {self.problem}" if self.problem else ""))
        for verdict in self.verdicts:
            if verdict.word == "different":
                say(f"    {verdict.key[0]} | {verdict.key[3]} | {verdict.key[4] or ''} | {verdict.why[:900]}")
        for line in self.touched[:8]:
            say(f"    touched {line[:300]}")
        return self


def in_turn(cases, tool, hosts, prepare):
    """Runs cases on the boxes, one on each at a time."""
    todo, lock = queue.Queue(), threading.Lock()
    for case in cases:
        todo.put(case)

    def work(box):
        while True:
            try:
                case = todo.get_nowait()
            except queue.Empty:
                return
            case.hosts = [box]
            case.words = [*case.words, "-l", box]
            try:
                hosts.reset(box)
                prepare(box, case)
                case.measure(tool, hosts)
            except Exception as error:
                case.problem = str(error)
                with lock:
                    say(f"{tool.name}: {case.suite}: {case.name}: {error}")

    threads = [threading.Thread(target=work, args=(box,)) for box in BOXES[:hosts.boxes]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cases


def wanted(only, *names):
    return any(re.search(only, name) for name in names)


# ---- the suites ----------------------------------------------------------------------------------------------------


def module_cases(tool, hosts, options):
    cases = []
    for path in sorted((TREE / "tests/accuracy/cases").glob("*.yml")):
        text = path.read_text()
        if tool.name == "ansible" and "deploy.builtin." in text:
            continue
        if wanted(options.only, f"cases: {path.stem}"):
            script = path.with_suffix(".before.sh")
            cases.append(Case("cases", path.stem, [str(path)], [], script.read_text() if script.exists() else None))

    def prepare(box, case):
        if tool.name == "ansible":
            mysql = "python3-pymysql " if "mysql" in case.name else ""
            hosts.ssh(box, "DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 python3-apt "
                           f"{mysql}>/dev/null 2>&1 || {{ apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install "
                           f"-qy --no-install-recommends python3 python3-apt {mysql}>/dev/null; }}")
        if case.before:
            hosts.ssh(box, case.before)

    return in_turn(cases, tool, hosts, prepare)


def trees(tool, hosts, options):
    """Playbooks and roles of the user's: from clean disks, and again."""
    cases = []
    for name in options.dirs:
        path = Path(name).resolve()
        books = [path] if path.is_file() else []
        if path.is_dir() and not (path / "tasks").is_dir():
            roles = path / "roles" if (path / "roles").is_dir() else path
            books = sorted(path.glob("*.yml")) + sorted(path.glob("*.yaml"))
            if not books:
                books = [role_playbook(role) for role in sorted(roles.iterdir()) if (role / "tasks").is_dir()]
        elif path.is_dir():
            books = [role_playbook(path)]
        for book in books:
            if wanted(options.only, f"{path.name}: {book.stem}"):
                cases.append(Case(path.name, book.stem, [str(book), *options.extra], list(hosts.names)))
    done = []
    for case in cases:
        hosts.reset()
        if tool.name == "ansible":
            hosts.everywhere("DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 python3-apt "
                             ">/dev/null")
        done.append(case.measure(tool, hosts))
        done.append(Case(case.suite, f"{case.name} again", case.words, case.hosts).measure(tool, hosts))
        if options.drifts:
            done += drifts(tool, hosts, options, case, "drifts of " + case.name, Path(options.dirs[0]))
    return done


def role_playbook(role):
    """A playbook that runs one role on the boxes."""
    book = WORK / f"role-{role.name}.yml"
    book.write_text(f"- hosts: boxes\n  become: true\n  tasks:\n    - import_role:\n        name: {role}\n")
    return book


def site_inventory(hosts):
    extra = WORK / "site.yml"
    extra.write_text("all:\n  children:\n    galera:\n    clients:\n      hosts:\n        box1:\n    loadbalancers:\n"
                     "      hosts:\n        box1:\n")
    return extra


def clean(hosts, names):
    """Bare hosts and no authorities."""
    hosts.reset(*names)
    subprocess.run(["rm", "-rf", str(hosts.pki)], check=True)


def site(tool, hosts, options):
    """The shipped playbooks on a cluster of three and a client: from bare hosts, converged, changed, and the others."""
    names = [*NODES, "box1"]
    tool.inventories = [str(hosts.inventory), str(site_inventory(hosts))]
    # A lock of the cluster is taken over only from a run whose journal says that it is over.
    tool.env["DEPLOY_RUNS_DIR"] = str(WORK / "runs")
    book = lambda name, *more: [f"playbooks/{name}.yml", *more]
    cases = [
        Case("site", "bare hosts", book("site"), names),
        Case("site", "converged", book("site"), names),
        Case("site", "another configuration", book("site", "-e", "galera_gcache_size=192M"), names),
        Case("site", "back again", book("site"), names),
        Case("site", "another password, another port's sources",
             book("site", "-e", "passbolt_db_password=another-password-of-15", "-e",
                  '{"database_client_sources": ["192.0.2.0/24"]}'), names),
        Case("playbooks", "verify", book("verify"), names),
        Case("playbooks", "rolling-restart", book("rolling-restart"), names),
        Case("playbooks", "rotate-certs", book("rotate-certs"), names),
        Case("playbooks", "rotate-certs, all of them", book("rotate-certs", "-e", "pki_renew=force"), names),
        Case("playbooks", "enable-tls", book("enable-tls"), names),
        Case("playbooks", "rotate-ca, of the clients", book("rotate-ca", "-e", "rotate_ca=client"), names),
        Case("playbooks", "recover-certs", book("recover-certs"), names),
        Case("playbooks", "rolling-upgrade", book("rolling-upgrade"), names),
        Case("playbooks", "recover, where all is well", book("recover"), names),
        # The last one that stopped has the highest position.
        Case("playbooks", "recover, all are down", book("recover", "-e", "recover_bootstrap=galera3"), names,
             lambda: [hosts.ssh(node, "systemctl stop mariadb") for node in NODES]),
        Case("playbooks", "remove-node", book("remove-node", "-e", "node=galera3"), names),
        Case("playbooks", "add-node, bare", book("add-node", "-e", "node=galera3"), names, lambda: hosts.reset("galera3")),
    ]
    clean(hosts, names)
    first = cases[0]
    done = []
    for case in cases:
        if case is first or wanted(options.only, f"{case.suite}: {case.name}"):
            if case.before:
                case.before()
            done.append(case.measure(tool, hosts))
            # What was measured is not lost when the next one breaks off.
            keep({tool.name: done}, options.seed)
    if options.drifts and wanted(options.only, "drifts"):
        done += drifts(tool, hosts, options, first, "drifts", ROOT / "roles")
    return [case for case in done if case is not first or wanted(options.only, f"{case.suite}: {case.name}")]


def drifts(tool, hosts, options, first, suite, tree):
    """Seeded drifts of what the first run made; the run behind each check mends the site for the next."""
    words = set()
    for path in tree.rglob("*.y*ml") if tree.is_dir() else [tree]:
        words |= set(re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]+", path.read_text(errors="replace")))
    found = drift.subjects(first.applied if tool.name == "deploy" else options.subjects, words)
    settle(hosts, tool, first, reset=False)
    done = []
    for seed in range(options.seed, options.seed + options.drifts):
        steps = drift.drift(seed, found)
        told = "; ".join(f"{host} {what}" for host, what, _ in steps)
        say(f"seed {seed}: {told}")
        for host, _, command in steps:
            hosts.ssh(host, command, check=False)
        time.sleep(1)
        case = Case(suite, f"{seed}: {told}", first.words, first.hosts).measure(tool, hosts)
        done.append(case)
        keep({tool.name: done}, options.seed)
        if case.codes[1] != 0:
            settle(hosts, tool, first, reset=True)
    return done


def settle(hosts, tool, first, reset):
    """The site as its playbook says; from bare hosts when it cannot be mended."""
    if reset:
        clean(hosts, first.hosts)
    code, _, said = tool.run(first.words, False, WORK / "settle.jsonl")
    if code != 0 and not reset:
        settle(hosts, tool, first, reset=True)
    elif code != 0:
        raise RuntimeError(f"the site does not come up: {said[-1000:]}")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="", help="regular expression on `suite: case`; suites: cases, site, playbooks, drifts")
    parser.add_argument("--tool", choices=["deploy", "ansible", "both"], default="both")
    parser.add_argument("--drifts", type=int, default=50, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first drift's")
    parser.add_argument("--boxes", type=int, default=3, help="boxes at work at a time, at most 3")
    parser.add_argument("--write", action="store_true", help="write docs/results/DATE-accuracy.md and the table in docs/accuracy.md")
    parser.add_argument("--strict", action="store_true", help="exit code 1 for a single difference, whatever is unknown")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what was measured before")
    parser.add_argument("-e", "--extra-vars", dest="extra", action="append", default=[], help="for DIR's playbooks")
    parser.add_argument("dirs", nargs="*", metavar="DIR")
    options = parser.parse_args()
    options.extra = [word for value in options.extra for word in ("-e", value)]
    options.subjects = []
    if options.page:
        options.write = True
        sys.exit(page.finish(earlier(), options))
    if not BUILT.is_file():
        sys.exit(f"{BUILT} is missing: `make accuracy` builds it")
    WORK.mkdir(parents=True, exist_ok=True)
    if options.write:
        shutil.rmtree(KEPT, ignore_errors=True)
    copies(WORK / "bin")
    for name in ("playbooks", "roles", "tests/accuracy/cases"):
        shutil.rmtree(TREE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, TREE / name)
    cases_only = not options.dirs and re.fullmatch(r"cases:?.*", options.only or "-")
    hosts = Hosts(BOXES if options.dirs or cases_only else [*NODES, *BOXES])
    hosts.boxes = min(options.boxes, len(BOXES))
    measured = {}
    for make in (Deploy, Ansible):
        if options.tool not in (make.name, "both"):
            continue
        tool = make(hosts)
        if options.dirs:
            measured[tool.name] = trees(tool, hosts, options)
            continue
        measured[tool.name] = module_cases(tool, hosts, options)
        if tool.name == "deploy" and not cases_only:
            measured[tool.name] += site(tool, hosts, options)
    keep(measured, options.seed)
    sys.exit(page.finish(earlier() if options.write else measured, options))


def keep(measured, seed):
    """Writes down what was measured, by suite, so that a page can be made of parts that were measured one after another."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for tool, cases in measured.items():
        for suite in {case.suite for case in cases}:
            some = [case.as_json() for case in cases if case.suite == suite]
            part = f"-from-{seed}" if suite.startswith("drifts") and seed != 1 else ""
            (KEPT / f"{tool}-{suite.replace('/', '-')}{part}.json").write_text(json.dumps(some))


def earlier():
    """All that was kept, the shipped playbooks first."""
    found = {}
    order = ["site", "playbooks", "drifts", "cases"]
    rank = lambda path: (path.stem.split("-")[0] != "deploy", order.index(s) if (s := path.stem.split("-", 1)[1]) in order else 9)
    for path in sorted(KEPT.glob("*.json"), key=rank):
        found.setdefault(path.stem.split("-")[0], []).extend(Case.of_json(one) for one in json.loads(path.read_text()))
    return found


main()
