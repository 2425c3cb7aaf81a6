"""The same small playbooks by `ansible-playbook` and by `deploy`, against equal hosts, compared (`make differential`).

Usage: tools/differential [--record] [--known] [--only TEXT] [--differing] [--show] [--page] [--roles DIR]

A case is an entry of a list in `cases/*.yml`:

  case     its name; unique
  covers   what a pass is evidence for: keyword.loop, filter.combine, module.copy, magic.omit …
  tasks    of one play on `target` with become and without facts, or `plays`, or `text` (a playbook as it is written)
  play     more keywords of that play; `vars`, `handlers` are put there, too
  files    files beside the playbook: a path and its text
  inventory  a second inventory, as a text; `inventory_file` is its name (more.yml)
  args     options of the command line
  first    it is done before all others: what it leaves on the hosts is theirs to use
  alone    it comes last, and nothing runs beside it: it restarts the host, or closes its ports
  runs     of run, check, again (the same as run); [run] when not said
  also     paths on the host that are compared, besides the case's own directory `dir`
  ignore   returned fields that are not compared: a name is one of the result or of an item of its `results`, `stat.*` one further in
  differs  why it is not equal: a mapping of reasons and what differs for each, as it is printed before the second colon or in a
           pattern of it (`run: target: copy.src`, `check: *`). Each must differ, and nothing else may

`--roles DIR` runs roles of yours instead of the cases (`roles.py`). `--page` writes docs/compatibility.md (`compatibility.py`), for which all cases are run. `--record` asks Ansible anew, for all cases or those of `--only`, and keeps what it says in `answers/`; without it Ansible is asked for
those cases alone that are new or changed, and then for those with `first`; with `--known` it is never asked, and a case without an answer is an error. What is compared: for each host the order of tasks with their statuses, what they return as
far as Ansible returns it, the recap, whether the command succeeded, and the files with modes, owners and contents.
"""

import argparse
import concurrent.futures
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import compatibility
import roles
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEPLOY = Path(os.environ.get("DEPLOY_BINARY", ROOT / "target/debug/deploy"))
ANSIBLE = os.environ.get("DEPLOY_DIFFERENTIAL_ANSIBLE", "ansible==12.3.0")
LAB = os.environ.get("DEPLOY_LAB_NAME", "differential")
WORKERS = int(os.environ.get("DEPLOY_DIFFERENTIAL_WORKERS", "2"))
# Names of one length, so that columns are the same: whose hosts they are is taken out of what is compared.
HOSTS = {"ansible": {"target": "annah1", "other": "annah2"}, "deploy": {"target": "debra1", "other": "debra2"}}
TREE = "/srv/case"

# What is of the moment, of the connection, or about the module's own start: of a result and of an item of its `results`. What is
# called the same further in is compared, but for the times and places of a file.
VOLATILE = {
    "start", "end", "delta", "invocation", "warnings", "deprecations", "exception", "module_stdout", "module_stderr", "diff",
    "atime", "mtime", "ctime", "inode", "dev", "discovered_interpreter_python", "failed_when_result", "failed_when_suppressed_exception",
    "ansible_job_id", "cache_update_time", "frame", "results_file", "finished", "started", "elapsed", "censored", "version", "birthtime", "block_size", "blocks", "stop",
    *(f"stat.{name}" for name in ("atime", "mtime", "ctime", "inode", "dev", "version", "birthtime", "block_size", "blocks")),
}


def say(text):
    print(f"differential: {text}", file=sys.stderr, flush=True)


def sh(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"differential: {command} exited with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def lab(script, *words):
    return sh(str(ROOT / "lab" / script), *words, env={**os.environ, "DEPLOY_LAB_NAME": LAB})


# ---- cases ---------------------------------------------------------------------------------------------------------


class Case:
    def __init__(self, file, raw):
        self.file, self.raw, self.name = file, raw, raw["case"]
        self.slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:60]
        self.runs = raw.get("runs", ["run"])
        self.differs = raw.get("differs") or {}
        if not isinstance(self.differs, dict):
            sys.exit(f"differential: {file.name}: case '{self.name}': `differs` maps reasons to what differs")
        known = {"case", "covers", "tasks", "plays", "text", "play", "vars", "handlers", "files", "inventory", "inventory_file", "args", "runs",
                 "also", "differs", "ignore", "env", "hosts", "roles_of", "first", "alone"}
        if unknown := set(raw) - known:
            sys.exit(f"differential: {file.name}: case '{self.name}' has unknown keys: {', '.join(sorted(unknown))}")

    @property
    def hash(self):
        # Why something differs is no part of the question.
        asked = {key: value for key, value in self.raw.items() if key not in ("differs", "covers", "ignore", "first", "alone")}
        return hashlib.sha256(json.dumps([asked, ANSIBLE, 1], default=str).encode()).hexdigest()[:16]

    def playbook(self):
        if "text" in self.raw:
            return self.raw["text"].replace("DIR", f"{TREE}/{self.slug}")
        plays = self.raw.get("plays")
        if plays is None:
            play = {"hosts": self.raw.get("hosts", "target"), **self.raw.get("play", {}), "tasks": self.raw["tasks"]}
            for key in ("vars", "handlers"):
                if key in self.raw:
                    play[key] = self.raw[key]
            plays = [play]
        whole = []
        for play in plays:
            if "hosts" in play:
                play = {"gather_facts": False, "become": True, **play}
                if isinstance(play.get("vars", {}), dict):
                    play["vars"] = {"dir": f"{TREE}/{self.slug}", **play.get("vars", {})}
            whole.append(play)
        return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=1000)

    def write(self, where, inventory):
        """The case's own directory, and the arguments of its command."""
        where.mkdir(parents=True)
        (where / "play.yml").write_text(self.playbook())
        for name, text in self.raw.get("files", {}).items():
            path = where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
            if text and isinstance(text, str) and text.startswith("#!"):
                path.chmod(0o755)
        if "roles_of" in self.raw:
            (where / "roles").symlink_to(self.raw["roles_of"])
        words = ["-i", str(inventory)]
        if "inventory" in self.raw:
            name = self.raw.get("inventory_file", "more.yml")
            (where / name).write_text(self.raw["inventory"])
            if self.raw["inventory"].startswith("#!"):
                (where / name).chmod(0o755)
            words += ["-i", name]
        return [*words, "play.yml", *map(str, self.raw.get("args", []))]


def cases(only):
    """The cases of these texts, each with those of its file that are done before all others."""
    found, names = [], set()
    for file in sorted((HERE / "cases").glob("*.yml")):
        of_file = [Case(file, raw) for raw in yaml.safe_load(file.read_text()) or []]
        for case in of_file:
            if case.slug in names:
                sys.exit(f"differential: {file.name}: two cases are called '{case.name}'")
            names.add(case.slug)
        wanted = [case for case in of_file if any(part in f"{file.stem}: {case.name}" for part in only.split("|"))]
        found += [case for case in of_file if case in wanted or (wanted and case.raw.get("first"))]
    return found


# ---- hosts ---------------------------------------------------------------------------------------------------------


class Hosts:
    """Two equal hosts for each of the two, and an inventory in which both call them `target` and `other`."""

    def __init__(self, scratch):
        every = [name for side in HOSTS.values() for name in side.values()]
        lab("up", "--hosts", ",".join(every))
        known = yaml.safe_load(Path(lab("inventory").strip()).read_text())
        found, shared = {}, {}

        def walk(group):
            shared.update(group.get("vars") or {})
            for name, values in (group.get("hosts") or {}).items():
                found.setdefault(name, {}).update(values or {})
            for child in (group.get("children") or {}).values():
                walk(child or {})

        walk(known["all"])
        self.group_vars = Path(lab("inventory").strip()).parent / "group_vars"
        self.inventory, self.words = {}, {}
        for side, names in HOSTS.items():
            hosts = {alias: {**shared, **found[real], "ansible_python_interpreter": "/usr/bin/python3"} for alias, real in names.items()}
            path = scratch / side / "inventory.yml"
            path.parent.mkdir()
            path.write_text(yaml.safe_dump({"all": {"children": {"pair": {"hosts": hosts}}}}))
            self.inventory[side] = path
            self.words[side] = [(str(value), alias) for alias, real in names.items() for value in
                                (found[real].get("ansible_host"), real) if value]
        self.furnish(every)

    def furnish(self, names):
        """What Ansible needs on a host."""
        for name in names:
            lab("ssh", name, "mkdir -p /srv/case; command -v python3 > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -qy "
                             "--no-install-recommends python3 python3-apt > /dev/null")

    def neutral(self, side, text):
        for word, alias in self.words[side]:
            text = text.replace(word, alias)
        return text

    def prepare(self, side, chosen):
        # In portions: a command line is not endless.
        for start in range(0, len(chosen), 500):
            slugs = " ".join(case.slug for case in chosen[start:start + 500])
            for name in HOSTS[side].values():
                lab("ssh", name, f"cd {TREE} && rm -rf {slugs} && mkdir {slugs}")

    def trees(self, side, chosen):
        """For each case what is in its directory and in the other paths that it names, on each host."""
        found = {case.slug: {} for case in chosen}
        for alias, name in HOSTS[side].items():
            listing = "find {} -printf '%p\\t%y %m %u %g %l\\n' 2>/dev/null; find {} -type f -print0 2>/dev/null | xargs -0r sha256sum"
            for case in chosen:
                for path in case.raw.get("also", []):
                    found[case.slug].setdefault(alias, []).extend(lab("ssh", name, listing.format(path, path)).splitlines())
            whole = lab("ssh", name, listing.format(TREE, TREE))
            for line in whole.splitlines():
                if match := re.search(rf"{TREE}/([^/\t]+)", line):
                    if match[1] in found:
                        found[match[1]].setdefault(alias, []).append(line)
        return {slug: {alias: sorted(self.neutral(side, line) for line in lines) for alias, lines in tree.items()}
                for slug, tree in found.items()}


# ---- the two sides -------------------------------------------------------------------------------------------------


def read_events(text):
    # Infinity is no JSON: Python writes the word without quotes, deploy with them.
    return [json.loads(line, parse_constant=str) for line in text.splitlines() if line.startswith("{")]


def arguments(case, words, run):
    return words + (["--check"] if run == "check" else [])


def without_facts(case, event):
    """What a machine is need not be kept where nobody compares it."""
    compared = event.get("task") != "Gathering Facts" and "ansible_facts" not in case.raw.get("ignore", [])
    if not compared and "ansible_facts" in event.get("result", {}):
        event["result"] = {key: value for key, value in event["result"].items() if key != "ansible_facts"}
    return event


def in_order(chosen):
    """What others build on, the others, and what nothing may run beside."""
    place = lambda case: 0 if case.raw.get("first") else 2 if case.raw.get("alone") else 1  # noqa: E731
    groups = [[case for case in chosen if place(case) == number] for number in range(3)]
    return [group for group in groups if group]


def ask_ansible(hosts, chosen, scratch):
    """What Ansible says to these cases."""
    if not chosen:
        return {}
    if len(groups := in_order(chosen)) > 1:
        return {slug: found for group in groups for slug, found in ask_ansible(hosts, group, scratch).items()}
    alone = chosen[0].raw.get("alone")
    if alone and len(chosen) > 1:
        # All runs of one before the next, as for deploy: it finds what the one before it left.
        return {slug: found for case in chosen for slug, found in ask_ansible(hosts, [case], scratch).items()}
    workers = 1 if alone else WORKERS
    venv = Path(sys.executable).parent
    hosts.prepare("ansible", chosen)
    words = {case.slug: case.write(scratch / "ansible" / case.slug, hosts.inventory["ansible"]) for case in chosen}
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env.update(
        ANSIBLE_PIPELINING="1", ANSIBLE_STDOUT_CALLBACK="events", ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback"),
        ANSIBLE_SSH_ARGS="-F none -o ControlMaster=auto -o ControlPersist=120s", ANSIBLE_LOCAL_TEMP=str(scratch / "tmp"),
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(scratch / "cp"), ANSIBLE_DEPRECATION_WARNINGS="0", ANSIBLE_NOCOLOR="1",
        ANSIBLE_ALLOW_BROKEN_CONDITIONALS="1", ANSIBLE_CONFIG=str(HERE / "callback/none.cfg"), PATH=f"{venv}:{env['PATH']}",
    )
    for place in range(max(len(case.runs) for case in chosen)):
        jobs = []
        for case in chosen:
            if place < len(case.runs):
                where = scratch / "ansible" / case.slug
                jobs.append({"dir": str(where), "argv": arguments(case, words[case.slug], case.runs[place]), "env": case.raw.get("env", {}),
                             "events": str(where / f".events-{place}"), "log": str(where / f".log-{place}")})
        (scratch / "jobs").write_text(json.dumps(jobs))
        done = subprocess.run([sys.executable, str(HERE / "oracle.py"), str(scratch / "jobs"), str(workers)], env=env)
        if done.returncode != 0:
            sys.exit("differential: the oracle failed")
    trees = hosts.trees("ansible", chosen)
    answers = {}
    for case in chosen:
        where = scratch / "ansible" / case.slug
        runs = []
        for place in range(len(case.runs)):
            path = where / f".events-{place}"
            text = hosts.neutral("ansible", path.read_text() if path.exists() else "").replace(str(where), "PLAYBOOK_DIR")
            log = hosts.neutral("ansible", (where / f".log-{place}").read_text()).replace(str(where), "PLAYBOOK_DIR")
            log = log.replace(str(ROOT), "CHECKOUT").replace(str(venv.parent), "VENV")
            events = [without_facts(case, event) for event in read_events(text)]
            rc = int((where / f".events-{place}.rc").read_text())
            # Why it failed is worth keeping; what it says besides is of the machine it ran on.
            runs.append({"rc": rc, "events": events, "log": log[-600:] if rc else ""})
        answers[case.slug] = {"hash": case.hash, "runs": runs, "tree": trees[case.slug]}
    return answers


def ask_deploy(hosts, chosen, scratch):
    if len(groups := in_order(chosen)) > 1:
        return {slug: found for group in groups for slug, found in ask_deploy(hosts, group, scratch).items()}
    workers = 1 if chosen and chosen[0].raw.get("alone") else WORKERS
    hosts.prepare("deploy", chosen)

    def one(case):
        where = scratch / "deploy" / case.slug
        words = case.write(where, hosts.inventory["deploy"])
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        env.update(NO_COLOR="1", XDG_STATE_HOME=str(scratch / "state"), **case.raw.get("env", {}))
        runs = []
        for run in case.runs:
            command = [str(DEPLOY), *arguments(case, words, run), "--format", "json"]
            try:
                done = subprocess.run(command, cwd=where, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, timeout=120)
                out, err, code = done.stdout, done.stderr, done.returncode
            except subprocess.TimeoutExpired:
                out, err, code = "", "no end after 120 s", 250
            text = hosts.neutral("deploy", out).replace(str(where), "PLAYBOOK_DIR")
            runs.append({"rc": code, "events": [ours(event) for event in read_events(text) if event["event"] in ("task_done", "recap")],
                         "log": hosts.neutral("deploy", err)[-1500:]})
        return case.slug, runs

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        runs = dict(pool.map(one, chosen))
    trees = hosts.trees("deploy", chosen)
    return {slug: {"runs": found, "tree": trees[slug]} for slug, found in runs.items()}


def ours(event):
    if event["event"] == "recap":
        return {"recap": dict(event["hosts"])}
    # Ansible's callbacks are not told that an unreachable host was ignored.
    ignored = event.get("ignored", False) and event["status"] != "unreachable"
    return {"task": event["task"]["name"], "action": event["task"]["action"].rsplit(".", 1)[-1], "host": event["host"],
            "status": event["status"], "ignored": ignored, "result": event.get("result", {})}


# ---- what is compared ----------------------------------------------------------------------------------------------


# Names under which Ansible keeps files of its own while it works.
OWN_FILES = (".ansible/tmp/", "/ansible-local-")


def differences(theirs, own, path, ignored, inside=""):
    """Where what Ansible returns is not returned by us, or not the same: the place and the two values."""
    if isinstance(theirs, dict) and isinstance(own, dict):
        for key, value in theirs.items():
            name = f"{inside}{key}"
            if any(fnmatch.fnmatchcase(name, hidden) for hidden in ignored) or key.startswith("_ansible"):
                continue
            if isinstance(value, str) and any(word in value for word in OWN_FILES):
                continue
            if key not in own:
                yield f"{path}.{key}", f"missing, Ansible says {json.dumps(value)[:160]}"
            elif key == "results" and not inside and isinstance(value, list) and isinstance(own[key], list) and len(value) == len(own[key]):
                for number, (a, b) in enumerate(zip(value, own[key])):
                    yield from differences(a, b, f"{path}.results[{number}]", ignored)
            else:
                yield from differences(value, own[key], f"{path}.{key}", ignored, f"{name}.")
    elif isinstance(theirs, list) and isinstance(own, list) and len(theirs) == len(own):
        for number, (a, b) in enumerate(zip(theirs, own)):
            yield from differences(a, b, f"{path}[{number}]", ignored, inside)
    elif isinstance(theirs, bool) != isinstance(own, bool) or theirs != own:
        yield path, f"{json.dumps(own)[:160]}, Ansible says {json.dumps(theirs)[:160]}"


# Words of an error are everybody's own, but those that the playbook itself says.
SPOKEN = {"fail", "assert"}


def spoken(event, action):
    """Its result without what the words of an error are: that there are some is compared."""
    result = dict(event["result"])
    if event["status"] in ("failed", "unreachable") and action not in SPOKEN:
        for key in ("msg", "message", "reason"):
            if isinstance(result.get(key), str):
                result[key] = "words"
        if isinstance(result.get("argument_errors"), list):
            result["argument_errors"] = len(result["argument_errors"])
    return result


def compare(case, answer, found):
    """Each difference: where it is, and what it is."""
    ignored = {*VOLATILE, *case.raw.get("ignore", [])}
    for run, theirs, own in zip(case.runs, answer["runs"], found["runs"]):
        if (theirs["rc"] == 0) != (own["rc"] == 0):
            yield f"{run}: exit code", f"{own['rc']}, Ansible's {theirs['rc']}: {(own['log'] or theirs['log']).strip()[:700]}"
        hosts = {event["host"] for event in theirs["events"] + own["events"] if "host" in event}
        for host in sorted(hosts):
            a, b = ([{**event, "task": event["task"].rsplit(" : ", 1)[-1]} for event in side["events"]
                     if event.get("host") == host and event["task"] != "Gathering Facts"] for side in (theirs, own))
            told = [f"{e['task']}={e['status']}{'(ignored)' if e['ignored'] else ''}" for e in a]
            seen = [f"{e['task']}={e['status']}{'(ignored)' if e['ignored'] else ''}" for e in b]
            if told != seen:
                yield f"{run}: {host}: tasks", f"{seen}, Ansible's {told}" + (f": {own['log'].strip()[:500]}" if own["rc"] else "")
                continue
            for theirs_event, own_event in zip(a, b):
                wanted = spoken(theirs_event, theirs_event["action"])
                if theirs_event["status"] == "skipped":
                    wanted = {key: value for key, value in wanted.items() if key in ("skipped", "changed", *(["skip_reason"] if theirs_event["action"] != "meta" else []))}
                for where, text in differences(wanted, spoken(own_event, theirs_event["action"]), f"{host}: {theirs_event['task']}", ignored):
                    yield f"{run}: {where}", text
        recaps = [next((event["recap"] for event in side["events"] if "recap" in event), {}) for side in (theirs, own)]
        for host in sorted(recaps[0]):
            for key, name in (("ok", "ok"), ("changed", "changed"), ("unreachable", "unreachable"), ("failures", "failed"),
                              ("skipped", "skipped"), ("rescued", "rescued"), ("ignored", "ignored")):
                if recaps[0][host][key] != recaps[1].get(host, {}).get(name, 0):
                    yield f"{run}: recap of {host}", f"{name}={recaps[1].get(host, {}).get(name, 0)}, Ansible's {recaps[0][host][key]}"
    for host in sorted({*answer["tree"], *found["tree"]}):
        a, b = set(answer["tree"].get(host, [])), set(found["tree"].get(host, []))
        if a != b:
            yield f"files of {host}", f"only by Ansible {sorted(a - b)}, only by deploy {sorted(b - a)}"


def judge(case, seen):
    """What is wrong: what differs and is not known to, and what is known to and does not."""
    known = [pattern for patterns in case.differs.values() for pattern in ([patterns] if isinstance(patterns, str) else patterns)]
    match = lambda where, pattern: fnmatch.fnmatchcase(where, pattern.replace("[", "[[]"))  # noqa: E731
    for where, text in seen:
        if not any(match(where, pattern) for pattern in known):
            yield f"{where}: {text}"
    for pattern in known:
        if not any(match(where, pattern) for where, _ in seen):
            yield f"{pattern}: it is said to differ, and does not"


def whole_roles(hosts, chosen, scratch):
    """Each role by both, on new hosts; what differs, by role."""
    every = [name for side in HOSTS.values() for name in side.values()]
    ssh = lambda host, command: lab("ssh", host, command)  # noqa: E731
    wrong = []
    for case in chosen:
        lab("reset", *every)
        # Connections that Ansible has kept lead to hosts that are gone.
        shutil.rmtree(scratch / "cp", ignore_errors=True)
        hosts.furnish(every)
        changed, said = {}, {}
        for side, ask in (("ansible", ask_ansible), ("deploy", ask_deploy)):
            targets = HOSTS[side].items()
            before = {alias: roles.listing(ssh, real) for alias, real in targets}
            said[side] = ask(hosts, [case], scratch)[case.slug]
            changed[side] = {alias: [hosts.neutral(side, line) for line in roles.changes(before[alias], roles.listing(ssh, real))]
                             for alias, real in targets}
            said[side]["tree"] = changed[side]
        seen = [f"{where}: {text}" for where, text in compare(case, said["ansible"], said["deploy"])]
        print(f"{case.name}: {'equal' if not seen else 'differs'}, {sum(map(len, changed['ansible'].values()))} changes of files", flush=True)
        if seen:
            wrong.append((case, seen))
    return wrong


# ---- the command ---------------------------------------------------------------------------------------------------


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--record", action="store_true", help="ask Ansible anew")
    ask.add_argument("--only", default="", help="only cases whose file and name contain one of these texts, with | between")
    ask.add_argument("--differing", action="store_true", help="only cases that are known to differ, and print how they do")
    ask.add_argument("--show", action="store_true", help="print what both said")
    ask.add_argument("--known", action="store_true", help="do not ask Ansible at all: a case without an answer is an error")
    ask.add_argument("--page", action="store_true", help="write docs/compatibility.md")
    ask.add_argument("--roles", type=Path, metavar="DIR", help="run the roles of this directory instead of the cases")
    options = ask.parse_args()
    if options.page and (options.only or options.differing):
        ask.error("the page is about all cases: --page goes without --only and --differing")
    if options.roles:
        return main_of_roles(options)
    chosen = [case for case in cases(options.only) if case.differs or not options.differing]
    (HERE / "answers").mkdir(exist_ok=True)
    answers = {}
    for file in (HERE / "answers").glob("*.json"):
        answers.update(json.loads(file.read_text(), parse_constant=str))
    new = [case for case in chosen if options.record or answers.get(case.slug, {}).get("hash") != case.hash]
    if new:
        # What others build on is there again, whatever is known of it.
        new = [case for case in chosen if case in new or case.raw.get("first")]
    if new and options.known:
        sys.exit(f"differential: {len(new)} cases have no answer of Ansible's, the first is '{new[0].name}': run it without --known")
    scratch = Path(tempfile.mkdtemp(prefix="deploy-differential-"))
    try:
        hosts = Hosts(scratch)
        if new:
            say(f"asking Ansible about {len(new)} of {len(chosen)} cases")
            answers.update(ask_ansible(hosts, new, scratch))
            for file in {case.file for case in new}:
                kept = {case.slug: answers[case.slug] for case in cases(file.stem + ": ") if case.file == file and case.slug in answers}
                (HERE / "answers" / f"{file.stem}.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        found = ask_deploy(hosts, chosen, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if os.environ.get("DEPLOY_TEST_KEEP") is None:
            lab("down")
    equal, differing, wrong = [], [], []
    for case in chosen:
        if options.show:
            print(json.dumps({"case": case.name, "ansible": answers[case.slug], "deploy": found[case.slug]}, indent=1))
        seen = list(compare(case, answers[case.slug], found[case.slug]))
        faults = list(judge(case, seen))
        if faults:
            wrong.append((case, faults))
        elif seen:
            differing.append(case)
        else:
            equal.append(case)
        if options.differing and seen and not faults:
            print(f"{case.file.stem}: {case.name} (known)")
            for where, text in seen:
                print(f"    {where}: {text}")
    for case, seen in wrong:
        print(f"{case.file.stem}: {case.name}")
        for line in seen[:6]:
            print(f"    {line}")
    print(f"differential: {len(chosen)} cases, {len(equal)} equal, {len(differing)} differ as is known, {len(wrong)} wrong")
    if options.page:
        compatibility.write(ROOT / "docs/compatibility.md", DEPLOY, ANSIBLE, chosen, equal, differing, [case for case, _ in wrong])
    return 1 if wrong else 0


def main_of_roles(options):
    directory = options.roles.resolve()
    chosen = [Case(directory / f"{raw['case']}.yml", raw) for raw in roles.roles(directory) if any(p in raw["case"] for p in options.only.split("|"))]
    if not chosen:
        sys.exit(f"differential: no role (a directory with tasks/main.yml) in {directory}")
    scratch = Path(tempfile.mkdtemp(prefix="deploy-differential-"))
    try:
        wrong = whole_roles(Hosts(scratch), chosen, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if os.environ.get("DEPLOY_TEST_KEEP") is None:
            lab("down")
    for case, seen in wrong:
        print(case.name)
        for line in seen[:20]:
            print(f"    {line}")
    print(f"differential: {len(chosen)} roles, {len(chosen) - len(wrong)} equal, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
