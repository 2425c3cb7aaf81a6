"""A check's results beside the real run's: equal, different, unknown."""

import datetime
import difflib
import json
import re
from collections import Counter

# What is random or of the moment, and therefore compared by its shape: why, what, and what stands for it.
BY_SHAPE = [
    ("serial numbers of certificates, which name their directories", r"(?<=[/ ])[0-9a-f]{32}(?:\.[0-9a-f]{8})*(?=/|$|\s)", "SERIAL"),
    ("a certificate's serial number, fingerprint and key: issued anew each time",
     r"(?m)^(serial|fingerprint|public key): .*$", r"\1: …"),
    ("serial numbers of authorities in words", r"\(serial [^)]*\)", "(serial …)"),
    ("process ids", r" \(pid[^)]*\)", ""),
    ("numbers of background jobs", r"\bjob j\d+\.\d+", "job"),
    ("names of backup copies: process id and time", r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", ".TIME~"),
    ("times", r"\b\d{4}-\d\d-\d\d[T @]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: UTC|Z)?", "TIME"),
    ("seconds since 1970", r"\b1[789]\d{8}(?:\.\d+)?\b", "SECONDS"),
    ("random parts of temporary names", r"(?<=ansible\.)[A-Za-z0-9_]{8}\b|(?<=/tmp\.)[A-Za-z0-9]{6,10}\b", "RANDOM"),
    ("salted hashes of passwords", r"\$(?:6|y|5|1|2b)\$[^\s\":]+", "HASH"),
]
# What a check calls a set of certificates that does not exist yet: `new`. Only what makes and removes sets says so, and a
# directory of this name elsewhere is a directory.
FORESEEN = re.compile(r"(?<=[/ ])new(?=/|$|\s)")
OF_SETS = re.compile(r"(deploy\.builtin\.)?pki_")
# A certificate's dates follow from the moment; how long it is valid does not.
DATES = re.compile(r"(?m)^valid from: (\d{4}-\d\d-\d\d \d\d:\d\d) UTC$\n^valid to: (\d{4}-\d\d-\d\d \d\d:\d\d) UTC$")
# Files whose contents are issued anew each time: that they are written is compared, and what the certificate says of itself.
ISSUED = re.compile(r"/SERIAL/(ca|cert|key|combined)\.pem$")
RULES = [(re.compile(pattern), stands) for _, pattern, stands in BY_SHAPE]


def lifetime(dates):
    """To the hour, or to the day where it is long: a certificate that ends with its authority loses what passes in between."""
    began, ends = (datetime.datetime.strptime(text, "%Y-%m-%d %H:%M") for text in dates.groups())
    hours = round((ends - began).total_seconds() / 3600)
    return f"valid for: {hours} hours" if hours < 240 else f"valid for: {round(hours / 24)} days"


def shape(text, of_sets=False):
    text = DATES.sub(lifetime, text)
    if of_sets:
        text = FORESEEN.sub("SERIAL", text)
    for rule, stands in RULES:
        text = rule.sub(stands, text)
    return text


def shapes(value, of_sets=False):
    if isinstance(value, str):
        return shape(value, of_sets)
    if isinstance(value, list):
        return [shapes(one, of_sets) for one in value]
    if isinstance(value, dict):
        return {shape(name, of_sets): shapes(one, of_sets) for name, one in value.items()}
    return value


# What only a run can look at, and why it counts as not told by the check instead of as told wrongly.
ONLY_IN_A_RUN = {"deploy.builtin.galera_gate": "the gate behind a turn looks at what the turn has led to"}


# What Ansible says of a task that it does not run in a check: that is not told, either.
NOT_RUN = re.compile("would have run if not in check mode|not support(ed)? (check mode|for this task)|Check mode is not supported")


class Result:
    """One result: of a task, or of an item of its loop, on one host."""

    def __init__(self, key, module, status, changes, notified, message="", ignored=False, left_out=False):
        self.key, self.module, self.status, self.changes, self.notified = key, module, status, changes, notified
        # A task that its author leaves out of a check (`when: not ansible_check_mode`) is not told.
        self.message, self.ignored, self.left_out = message, ignored, left_out


def short(module):
    return module.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")


def changes_of(event):
    """What it changed. That a command ran which is declared to change nothing is no change: a check ran it, too."""
    ran = lambda change: event["status"] == "ok" and change.get("subject", {}).get("domain") == "command"
    of_sets = bool(OF_SETS.match(event["task"]["action"]))
    return [shapes(change, of_sets) for change in event.get("changes", []) if not ran(change)]


def condition(event):
    """The condition that kept a task from running."""
    result = event.get("result") if isinstance(event.get("result"), dict) else {}
    return str(result.get("false_condition", event.get("false_condition", "")))


def results(events):
    """What is compared of the events of a run, in order, by host. A loop counts by its items. Both tools' events are
    of the same form (callback/accuracy.py writes Ansible's so)."""
    found, play, counted, items = [], 0, Counter(), {}
    for event in events:
        kind = event.get("event")
        if kind == "play_started":
            play += 1
        if kind == "notified":
            # Ansible tells it by host, not by result.
            found.append(Result((event["host"], 0, "", "handlers notified", None, 1), "meta", "ok", [], event["handlers"]))
        if kind not in ("task_done", "item_done"):
            continue
        task = event["task"]
        place = (event["host"], play, task["place"], task["name"])
        item = event.get("item")
        if kind == "item_done":
            items[place] = items.get(place, 0) + 1
            # What a result of an earlier task says of itself (times, inodes) is no name: the number stands for it.
            item = f"number {items[place]}" if str(item).startswith(("{", "[")) else item
        elif items.pop(place, 0):
            continue
        base = (*place, item)
        counted[base] += 1
        changes = changes_of(event)
        found.append(Result((*base, counted[base]), short(task["action"]), event["status"], changes,
                            sorted(event.get("notified", [])), event.get("msg") or "", event.get("ignored", False),
                            event["status"] == "skipped" and ("ansible_check_mode" in condition(event)
                                                              or bool(NOT_RUN.search(event.get("msg") or "")))))
    return found


def events(text):
    read = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                read.append(json.loads(line))
            except ValueError:
                pass
    return read


def unknown_inside(value):
    """Whether a check says of a part of a change that it cannot tell."""
    if value == "unknown":
        return True
    if isinstance(value, dict):
        return any(unknown_inside(value.get(side)) for side in ("before", "after"))
    return False


def same_facet(check, real):
    if isinstance(check, dict) and "at_apply" in check:
        # Known only when it is made: it must become something.
        return real != "absent"
    if isinstance(check, dict) and "secret" in check:
        # Fingerprints are keyed anew in each run.
        return isinstance(real, dict) and "secret" in real
    return check == real


def same_change(check, real):
    if "kind" not in check or "kind" not in real:
        return check == real
    if check["subject"] != real["subject"]:
        return False
    a, b = check["kind"], real["kind"]
    if a == b:
        return True
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return False
    if "effect" in a and "effect" in b:
        return a == b
    if "set" in a and "set" in b:
        a, b = a["set"], b["set"]
        if a["aspect"] == b["aspect"] == "content" and ISSUED.search(check["subject"]["name"]):
            return (a["after"] == "absent") == (b["after"] == "absent")
        return a["aspect"] == b["aspect"] and same_facet(a["before"], b["before"]) and same_facet(a["after"], b["after"])
    return False


def same_changes(check, real):
    """As a list, in its order; where both are in no order of their own, as a set."""
    if len(check) != len(real):
        return False
    if all(same_change(a, b) for a, b in zip(check, real)):
        return True
    rest = list(real)
    for change in check:
        fitting = next((other for other in rest if same_change(change, other)), None)
        if fitting is None:
            return False
        rest.remove(fitting)
    return True


class Verdict:
    def __init__(self, case, key, module, word, why=""):
        self.case, self.key, self.module, self.word, self.why = case, key, module, word, why


def tell(check, real):
    """How two results differ, in words; nothing where they are equal."""
    if check.status != real.status or check.ignored != real.ignored:
        why = f"{check.status} in the check, {real.status} in the run"
        about = check.message or real.message
        return f"status: {why}" + (f" ({about[:300]})" if about else "")
    if check.notified != real.notified:
        return f"handlers: {check.notified} in the check, {real.notified} in the run"
    if not same_changes(check.changes, real.changes):
        a = [json.dumps(change, sort_keys=True) for change in check.changes]
        b = [json.dumps(change, sort_keys=True) for change in real.changes]
        only = [f"check {line}" for line in a if line not in b] + [f"run {line}" for line in b if line not in a]
        return "diff: " + " | ".join(line[:700] for line in only[:6])
    return ""


def compare(case, check, real):
    """A verdict for each result of either."""
    verdicts = []
    by_key = {result.key: result for result in real}
    # What a check could not tell it could not tell the items of, either: they are counted, and not the task beside them.
    vague = {result.key[:4] for result in check if result.status == "unknown" or result.left_out}
    told = {result.key for result in check}
    itemised = {result.key[:4] for result in real if result.key not in told}
    open_hosts = {place[0] for place in vague}
    # Order: what both have, host by host, must come in the same sequence.
    out_of_order = set()
    for host in {result.key[0] for result in check}:
        both = by_key.keys() & {result.key for result in check}
        a = [result.key for result in check if result.key[0] == host and result.key in both]
        b = [result.key for result in real if result.key[0] == host and result.key in both]
        if a != b:
            kept = set()
            for start, _, size in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
                kept.update(a[start:start + size])
            out_of_order |= set(a) - kept
    seen = set()
    for result in check:
        seen.add(result.key)
        if result.key[3] == "handlers notified" and tell(result, by_key.get(result.key, result)) == "":
            continue
        other = by_key.get(result.key)
        verdict = Verdict(case, result.key, result.module, "equal")
        if result.key[:4] in vague and result.key[4] is None and other is None and result.key[:4] in itemised:
            continue
        if result.status == "unknown":
            verdict.word, verdict.why = "unknown", result.message
        elif result.left_out and (other is None or other.status != "skipped"):
            verdict.word, verdict.why = "unknown", result.message if NOT_RUN.search(result.message) else "its author leaves it out"
        elif any(unknown_inside(change["kind"].get("set")) for change in result.changes
                 if isinstance(change, dict) and isinstance(change.get("kind"), dict)):
            verdict.word, verdict.why = "unknown", "a part of its change"
        elif other is None:
            verdict.word, verdict.why = "different", f"only in the check: {result.status} {result.message[:200]}"
        else:
            why = tell(result, other)
            if not why and result.key in out_of_order:
                why = "order"
            if why:
                verdict.word, verdict.why = "different", why
        verdicts.append(verdict)
    for result in real:
        if result.key in seen:
            continue
        if result.key[:4] in vague or result.key[3] == "handlers notified" and result.key[0] in open_hosts:
            verdicts.append(Verdict(case, result.key, result.module, "unknown", "the check could not tell of its task"))
            continue
        if result.module in ONLY_IN_A_RUN:
            verdicts.append(Verdict(case, result.key, result.module, "unknown", ONLY_IN_A_RUN[result.module]))
            continue
        verdicts.append(Verdict(case, result.key, result.module, "different",
                                f"only in the run: {result.status} {result.message[:200]}"))
    return verdicts
