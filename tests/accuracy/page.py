"""The figures as tables: on the terminal, and with --write in docs/."""

import datetime
import os
import platform
import re
from collections import Counter, defaultdict

from hosts import LAB, ROOT, say
from suites import NO_CASE, case_names, shipped


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


def moment(seconds, form="%Y-%m-%d %H:%M"):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(form)


def circumstances(measured):
    """How all of it was measured: in one go or in parts, of which commit, under which load. None of it is left to memory."""
    stamps = [case.stamp for cases in measured.values() for case in cases if case.stamp]
    if not stamps:
        return ["Nothing was measured."]
    runs = defaultdict(list)
    for one in stamps:
        runs[one["run"]].append(one)
    span = lambda some: f"{moment(min(s['begun'] for s in some))} to {moment(max(s['ended'] for s in some), '%H:%M')} UTC"
    lines = []
    if len(runs) == 1:
        lines.append(f"Measured in one go, {span(stamps)}, {of_what(stamps)}.")
    else:
        lines.append(f"**Measured in {len(runs)} parts**, not in one go: what was changed between them may have changed the others, too.")
        for some in sorted(runs.values(), key=lambda some: min(s["begun"] for s in some)):
            lines.append(f"- {span(some)}: {len(some)} cases, {of_what(some)}.")
        if len({(one["program"], one["tree"]) for one in stamps}) > 1:
            lines.append("- The programs, the playbooks or the harness were not the same in all parts.")
        lines.append("")
    loads = sorted(one["load"] for one in stamps)
    cpus = os.cpu_count() or 1
    lines.append(f"Load on {cpus} CPUs, the harness and its hosts included: {loads[0]:.1f} to {loads[-1]:.1f}, median "
                 f"{loads[len(loads) // 2]:.1f}." + (" **The machine was busy**: timeouts may have been met that a quiet one does "
                                                     "not know." if loads[len(loads) // 2] > 2 * cpus else ""))
    return lines


def of_what(stamps):
    """The commits, and whether the checkout was as they say."""
    told = set()
    for one in stamps:
        state = {True: " **with changes that were not committed**", False: "", None: ""}[one["dirty"]]
        told.add(f"{one['commit']}{state}")
    return ("commit " if len(told) == 1 else "commits ") + ", ".join(sorted(told))


def gaps(measured, options):
    """What there is and was not measured here."""
    lines = []
    for tool, cases in measured.items():
        have = {(case.suite, case.name) for case in cases}
        missing = [f"cases: {name}" for name in case_names(tool, ROOT) if ("cases", name) not in have]
        if tool == "deploy":
            names = [case for part in shipped(None) for case in part]
            missing = [f"{case.suite}: {case.name}" for case in names if (case.suite, case.name) not in have] + missing
            seeds = {case.rank for case in cases if case.suite == "drifts"}
            missing += [f"drifts: seed {seed}" for seed in range(1, 51) if seed not in seeds]
        broken = [f"{case.suite}: {case.name} ({' '.join(case.problem.split())[:200]})" for case in cases if case.problem]
        if missing or broken:
            shown = "; ".join(missing[:12] + broken) + (f"; {len(missing) - 12} more" if len(missing) > 12 else "")
            lines.append(f"**Not measured** of {tool}: {shown}.")
    if "ansible" not in measured:
        lines.append("**Not measured**: Ansible.")
    lines += [f"No case: `{name}`: {why}." for name, why in NO_CASE.items()]
    return lines


def finish(measured, options):
    now = datetime.datetime.now(datetime.timezone.utc)
    suites_asked = not options.dirs
    lines = ["# Accuracy of the dry run", "",
             f"{now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} CPUs, Linux {platform.release()}; `make accuracy`. What is compared, "
             "and how: [accuracy](../accuracy.md).", "", *circumstances(measured), ""]
    if suites_asked and not options.strict:
        lines += [f"- {gap}" for gap in gaps(measured, options)] + [""]
    lines += by_suite(measured)
    good = True
    for tool, cases in measured.items():
        touched = [case for case in cases if case.touched]
        broken = [case for case in cases if case.problem]
        lines += ["", f"## {tool}, by module", "", *by_module(cases), ""]
        lines.append(f"Checks that changed something on a host or on the controller: {len(touched)} of {len(cases)}.")
        lines += [f"- {case.suite}: {case.name}: {re.sub('[|`]', ' ', '; '.join(case.touched[:4]))[:400]}" for case in touched]
        lines += [f"- broken: {case.suite}: {case.name}: {' '.join(case.problem.split())[:300]}" for case in broken]
        if tool == "deploy":
            told = figures(cases)
            met = told.met() and (not told.different or not options.strict)
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
        table(measured, f"{now:%Y-%m-%d}", options)
    return 0 if good else 1


def table(measured, date, options):
    """The table of docs/accuracy.md, between its marks, with what is to be known of it."""
    path = ROOT / "docs/accuracy.md"
    body = "\n".join([f"[All of it](results/{date}-accuracy.md).", "", *circumstances(measured), "", *by_suite(measured), "",
                      *[f"- {gap}" for gap in gaps(measured, options)]])
    if path.exists():
        text = re.sub(r"(<!-- figures -->\n).*?\n?(<!-- end -->)", lambda m: m[1] + body + "\n" + m[2], path.read_text(), flags=re.S)
        path.write_text(text)
