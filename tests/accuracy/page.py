"""The figures as tables: on the terminal, and with --write in docs/."""

import datetime
import os
import platform
import re
import subprocess
from collections import Counter, defaultdict

from hosts import LAB, ROOT, say


def share(part, whole):
    return "–" if not whole else f"{100 * part / whole:.2f} %"


class Figures:
    def __init__(self, verdicts):
        count = Counter(verdict.word for verdict in verdicts)
        self.equal, self.different, self.unknown = count["equal"], count["different"], count["unknown"]
        self.told = self.equal + self.different
        wrong = sum(v.word == "different" and v.why.startswith(("status:", "only in")) for v in verdicts)
        self.status = self.told - wrong
        self.all = self.told + self.unknown

    def row(self):
        return f"{self.all} | {self.equal} | {self.different} | {self.unknown} | {share(self.equal, self.told)} | " \
               f"{share(self.status, self.told)} | {share(self.unknown, self.all)}"

    def met(self):
        return self.told and self.equal / self.told >= 0.99 and self.unknown / self.all <= 0.03


def figures(cases):
    return Figures([verdict for case in cases for verdict in case.verdicts])


HEAD = ["| | results | equal | different | unknown | **equal of those told** | status alone | **unknown** |",
        "|---|---|---|---|---|---|---|---|"]


def by_suite(measured):
    lines = list(HEAD)
    for tool, cases in measured.items():
        suites = defaultdict(list)
        for case in cases:
            suites[case.suite].append(case)
        for suite, some in suites.items():
            lines.append(f"| {tool}: {suite} ({len(some)}) | {figures(some).row()} |")
        lines.append(f"| **{tool}: overall** ({len(cases)}) | {figures(cases).row()} |")
    return lines


def by_module(cases):
    modules = defaultdict(list)
    for case in cases:
        for verdict in case.verdicts:
            modules[verdict.module].append(verdict)
    return HEAD + [f"| {module} | {Figures(some).row()} |" for module, some in sorted(modules.items())]


def finish(measured, options):
    now = datetime.datetime.now(datetime.timezone.utc)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = ["# Accuracy of the dry run", "",
             f"{now:%Y-%m-%d %H:%M} UTC, commit {commit.stdout.strip()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
             f"load {os.getloadavg()[0]:.1f}; `make accuracy`. What is compared, and how: [accuracy](../accuracy.md).", ""]
    lines += by_suite(measured)
    good = True
    for tool, cases in measured.items():
        touched = [case for case in cases if case.touched]
        broken = [case for case in cases if case.problem]
        lines += ["", f"## {tool}, by module", "", *by_module(cases), ""]
        lines.append(f"Checks that changed something on a host: {len(touched)} of {len(cases)}.")
        lines += [f"- {case.suite}: {case.name}: {re.sub('[|`]', ' ', '; '.join(case.touched[:4]))[:400]}" for case in touched]
        lines += [f"- not measured: {case.suite}: {case.name}: {' '.join(case.problem.split())[:300]}" for case in broken]
        if tool == "deploy":
            told = figures(cases)
            met = told.told and not told.different if options.strict else told.met()
            good = good and not touched and not broken and bool(met)
        for word in ("different", "unknown"):
            some = [verdict for case in cases for verdict in case.verdicts if verdict.word == word]
            if not some or (tool != "deploy" and word == "unknown"):
                continue
            lines += ["", f"### {tool}: {word}", ""]
            for verdict in some[:150]:
                host, _, _, task, item, _ = verdict.key
                why = re.sub(r"[|`<>]", " ", " ".join(verdict.why.split()))[:260]
                lines.append(f"- {verdict.case[:110]}; {host}, {task}{f' ({item[:60]})' if item else ''}: {why}")
            if len(some) > 150:
                lines.append(f"- … and {len(some) - 150} more.")
        if any(case.suite == "drifts" for case in cases):
            lines += ["", "### Drifts", ""]
            for case in cases:
                if case.suite.startswith("drifts"):
                    f = figures([case])
                    lines.append(f"- {case.name}: {f.equal} equal, {f.different} different, {f.unknown} unknown; exit codes "
                                 f"{case.codes[0]} and {case.codes[1]}")
    # Where this checkout lies is nobody's business.
    text = "\n".join(lines).replace(f"{ROOT}/", "") + "\n"
    folder = ROOT / "target/accuracy" / LAB
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.md").write_text(text)
    print("\n".join(by_suite(measured)))
    if options.write:
        result = ROOT / "docs/results" / f"{now:%Y-%m-%d}-accuracy.md"
        result.write_text(text)
        say(f"written to {result.relative_to(ROOT)}")
        table(measured, f"{now:%Y-%m-%d}")
    return 0 if good else 1


def table(measured, date):
    """The table of docs/accuracy.md, between its marks."""
    path = ROOT / "docs/accuracy.md"
    body = "\n".join([f"Measured on {date} ([all of it](results/{date}-accuracy.md)).", "", *by_suite(measured)])
    if path.exists():
        text = re.sub(r"(<!-- figures -->\n).*?\n?(<!-- end -->)", lambda m: m[1] + body + "\n" + m[2], path.read_text(), flags=re.S)
        path.write_text(text)
