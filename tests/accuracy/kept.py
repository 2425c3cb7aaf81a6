"""What was measured is kept, a file for each case, with when and of what: a measurement that broke off is gone on with, a part
is measured again without the others, and the page can say what it is made of."""

import datetime
import hashlib
import json
import os
import re
import subprocess
import time

import compare
from hosts import ROOT

KEPT = ROOT / "target/accuracy/kept"
SUITES = ["site", "playbooks", "drifts", "cases"]
# This process. A page whose cases all have the same one was made in one go.
RUN = f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S}-{os.getpid()}"


class Case:
    """A check and the run after it. `hosts` is what is looked at, before and after the check."""

    def __init__(self, suite, name, words, hosts, before=None, rank=0):
        self.suite, self.name, self.words, self.hosts, self.before, self.rank = suite, name, words, hosts, before, rank
        self.verdicts, self.touched, self.problem = [], [], ""
        self.codes, self.seconds, self.applied = (None, None), (0, 0), []
        self.stamp = {}

    def as_json(self):
        plain = ("suite", "name", "rank", "touched", "problem", "codes", "seconds", "stamp")
        return {**{name: getattr(self, name) for name in plain}, "verdicts": [vars(verdict) for verdict in self.verdicts]}

    @staticmethod
    def of_json(kept):
        case = Case(kept["suite"], kept["name"], [], [], rank=kept["rank"])
        for name in ("touched", "problem", "codes", "seconds", "stamp"):
            setattr(case, name, kept[name])
        case.verdicts = [compare.Verdict(**one) for one in kept["verdicts"]]
        return case

    def count(self, word):
        return sum(verdict.word == word for verdict in self.verdicts)


def digest(paths):
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.name}\n".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def of_what(binary, trees):
    """What is measured: the commit, whether the checkout differs from it, the programs, and what they are run on."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    commit = git("rev-parse", "--short", "HEAD").stdout.strip()
    files = [path for tree in trees for path in sorted(tree.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    programs = [path for path in (binary, binary.with_name("deploy-agent")) if path.is_file()]
    return {"commit": commit or "unknown", "dirty": bool(git("status", "--porcelain").stdout.strip()) if commit else None,
            "program": digest(programs), "tree": digest(files)}


def stamp(what, begun, load):
    """When a case was measured, of what, and what else the machine did: the higher of the loads before and after."""
    return {**what, "run": RUN, "begun": begun, "ended": time.time(), "load": round(max(load, os.getloadavg()[0]), 1)}


def place(tool, suite, name):
    whole = f"{suite}: {name}"
    safe = re.sub(r"[^A-Za-z0-9.+-]+", "-", whole)[:100]
    return KEPT / tool / f"{safe}.{hashlib.sha256(whole.encode()).hexdigest()[:8]}.json"


def keep(tool, case):
    path = place(tool, case.suite, case.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".new.{os.getpid()}")
    new.write_text(json.dumps(case.as_json()))
    new.rename(path)
    if case.suite == "drifts":
        # What a seed does may have another name since: it is the same case.
        for other in path.parent.glob(f"drifts-{case.rank}-*.json"):
            if other != path:
                other.unlink()


def earlier():
    """All that is kept, by tool: the shipped playbooks first, in the order in which they are run."""
    found = {}
    for tool in ("deploy", "ansible"):
        cases = [Case.of_json(json.loads(path.read_text())) for path in (KEPT / tool).glob("*.json")]
        position = lambda case: SUITES.index(case.suite) if case.suite in SUITES else len(SUITES)
        if cases:
            found[tool] = sorted(cases, key=lambda case: (position(case), case.suite, case.rank, case.name))
    return found


def done(tool, what):
    """(suite, name) of what was measured already, wholly, of the same programs and playbooks; drifts by their seed."""
    same = lambda case: all(case.stamp.get(name) == what[name] for name in ("program", "tree"))
    cases = [case for case in earlier().get(tool, []) if same(case) and not case.problem]
    return {(case.suite, case.rank if case.suite == "drifts" else case.name) for case in cases}
