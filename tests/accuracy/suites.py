"""What is measured: the module cases, the shipped playbooks, drifts of the site, and playbooks and roles of the user's."""

import os
import queue
import re
import subprocess
import threading
import time
from pathlib import Path

import compare
import drift
from hosts import BOXES, LAB, NODES, ROOT, moved, say
from kept import Case, done as kept_already, keep, stamp

WORK = ROOT / "target/accuracy" / LAB
# Playbooks, roles and cases as they were at the beginning, whatever is edited meanwhile.
TREE = WORK / "tree"
# Of the shipped playbooks: what has no case, and why.
NO_CASE = {
    "replace-node": "it removes and adds a node as remove-node and add-node do, which have theirs",
    "rotate-ca, of the cluster": "four phases with restarts; a check knows the one that is due (the client authorities have a case)",
}


def measure(case, tool, hosts, options):
    """Look, check, look, run, compare. Whatever goes wrong is told of this case, and the others are gone on with."""
    begun, load = time.time(), os.getloadavg()[0]
    try:
        _measure(case, tool, hosts)
    except Exception as error:  # noqa: BLE001
        case.problem = case.problem or f"{type(error).__name__}: {error}"
        say(f"{tool.name}: {case.suite}: {case.name}: {case.problem}")
    case.stamp = stamp(options.what, begun, load)
    if options.keep:
        # What was measured is not lost when the next one breaks off.
        keep(tool.name, case)
    return case


def _measure(case, tool, hosts):
    safe = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{tool.name}-{case.suite}-{case.name}")[:150]
    # Boxes are at different cases at the same time: of what a case leaves on the controller only its own counts.
    folders = [folder / host if len(case.hosts) == 1 else folder
               for folder in (WORK / "stores", WORK / "fetched") for host in case.hosts[:1]]
    before = hosts.state(case.hosts, folders)
    began = time.time()
    code, events, said = tool.run(case.words, True, WORK / f"{safe}.check.jsonl")
    checked = time.time()
    case.touched = moved(before, hosts.state(case.hosts, folders))
    again = time.time()
    real_code, real_events, real_said = tool.run(case.words, False, WORK / f"{safe}.run.jsonl")
    case.seconds = (checked - began, time.time() - again)
    case.codes, case.applied = (code, real_code), real_events
    check, real = compare.results(events), compare.results(real_events)
    if not check and not real:
        case.problem = f"nothing was run: {(said + real_said)[-600:]}"
    elif case.suite == "cases" and tool.name == "deploy" and real_code == 2 and "fail" not in case.name:
        # Two failures are equal, and nothing is measured behind them.
        failed = [event for event in real_events if event.get("status") == "failed" and not event.get("ignored")]
        case.problem = f"its run failed: {failed[-1].get('msg') if failed else real_said[-300:]}"
    case.verdicts = compare.compare(f"{case.suite}: {case.name}", check, real)
    told = f"{case.count('equal')} equal, {case.count('different')} different, {case.count('unknown')} unknown"
    say(f"{tool.name}: {case.suite}: {case.name}: {told}; check {code} in {case.seconds[0]:.1f} s, run {real_code} in "
        f"{case.seconds[1]:.1f} s" + ("; THE CHECK CHANGED SOMETHING" if case.touched else "")
        + (f"; {case.problem}" if case.problem else ""))
    for verdict in case.verdicts:
        if verdict.word == "different":
            say(f"    {verdict.key[0]} | {verdict.key[3]} | {verdict.key[4] or ''} | {verdict.why[:900]}")
    for line in case.touched[:8]:
        say(f"    touched {line[:300]}")


def wanted(only, *names):
    return any(re.search(only, name) for name in names)


def left(tool, options):
    """Whether a case is still to be measured."""
    have = kept_already(tool.name, options.what) if options.resume else set()
    return lambda suite, name: (suite, name) not in have


# ---- module cases --------------------------------------------------------------------------------------------------


def case_names(tool, tree):
    """All of them that a tool can be given."""
    ours = lambda path: "deploy.builtin." in path.read_text()
    return [path.stem for path in sorted((tree / "tests/accuracy/cases").glob("*.yml")) if tool == "deploy" or not ours(path)]


def module_cases(tool, hosts, options):
    cases, due = [], left(tool, options)
    for name in case_names(tool.name, TREE):
        if wanted(options.only, f"cases: {name}") and due("cases", name):
            path = TREE / "tests/accuracy/cases" / f"{name}.yml"
            script = path.with_suffix(".before.sh")
            cases.append(Case("cases", name, [str(path)], [], script.read_text() if script.exists() else None))
    todo = queue.Queue()
    for case in cases:
        todo.put(case)

    def work(box):
        while True:
            try:
                case = todo.get_nowait()
            except queue.Empty:
                return
            case.hosts, case.words = [box], [*case.words, "-l", box]
            try:
                mysql = ["python3-pymysql"] if tool.name == "ansible" and "mysql" in case.name else []
                tool.bare(hosts, [box], *mysql)
                if case.before:
                    hosts.ssh(box, case.before)
            except Exception as error:  # noqa: BLE001
                case.problem = f"its host was not made ready: {error}"
                say(f"{tool.name}: {case.suite}: {case.name}: {case.problem}")
                continue
            measure(case, tool, hosts, options)

    threads = [threading.Thread(target=work, args=(box,)) for box in BOXES[:options.boxes]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cases


# ---- the shipped playbooks -----------------------------------------------------------------------------------------


def site_inventory():
    extra = WORK / "site.yml"
    extra.write_text("all:\n  children:\n    galera:\n    clients:\n      hosts:\n        box1:\n    loadbalancers:\n"
                     "      hosts:\n        box1:\n")
    return extra


def clean(tool, hosts, names):
    """Bare hosts and no authorities."""
    tool.bare(hosts, names)
    subprocess.run(["rm", "-rf", str(hosts.pki)], check=True)


def shipped(hosts):
    """The cases of the shipped playbooks on a cluster of three and a client, in parts: a part is measured as a whole, from a
    cluster that is as site.yml leaves it (the first from bare hosts)."""
    names = [*NODES, "box1"]

    def case(suite, name, *words, before=None):
        book, *more = words
        return Case(suite, name, [f"playbooks/{book}.yml", *more], names, before)

    stop = lambda: [hosts.ssh(node, "systemctl stop mariadb") for node in NODES]
    parts = [
        [
            case("site", "bare hosts", "site"),
            case("site", "converged", "site"),
            case("site", "another configuration", "site", "-e", "galera_gcache_size=192M"),
            case("site", "back again", "site"),
            case("site", "another password, another port's sources", "site", "-e",
                 "passbolt_db_password=another-password-of-15", "-e", '{"database_client_sources": ["192.0.2.0/24"]}'),
        ],
        [case("playbooks", "verify", "verify")],
        [case("playbooks", "rolling-restart", "rolling-restart")],
        [case("playbooks", "rotate-certs", "rotate-certs")],
        [case("playbooks", "rotate-certs, all of them", "rotate-certs", "-e", "pki_renew=force")],
        [case("playbooks", "enable-tls", "enable-tls")],
        [case("playbooks", "rotate-ca, of the clients", "rotate-ca", "-e", "rotate_ca=client")],
        [case("playbooks", "recover-certs", "recover-certs")],
        [case("playbooks", "rolling-upgrade", "rolling-upgrade")],
        [case("playbooks", "recover, where all is well", "recover")],
        # The last one that stopped has the highest position.
        [case("playbooks", "recover, all are down", "recover", "-e", "recover_bootstrap=galera3", before=stop)],
        [
            case("playbooks", "remove-node", "remove-node", "-e", "node=galera3"),
            case("playbooks", "add-node, bare", "add-node", "-e", "node=galera3", before=lambda: hosts.reset("galera3")),
        ],
    ]
    for number, one in enumerate(one for part in parts for one in part):
        one.rank = number
    return parts


def site(tool, hosts, options):
    """The shipped playbooks, and the drifts. What is measured already is left out, but the site is made in any case."""
    due = left(tool, options)
    parts = shipped(hosts)
    parts = [part if any(due(case.suite, case.name) for case in part) else [] for part in parts]
    chosen = [[case for case in part if wanted(options.only, f"{case.suite}: {case.name}")] for part in parts]
    seeds = range(options.seed, options.seed + options.drifts)
    seeds = [seed for seed in seeds if due("drifts", seed)] if wanted(options.only, "drifts") else []
    if not any(chosen) and not seeds:
        return []
    tool.inventories = [str(hosts.inventory), str(site_inventory())]
    # A lock of the cluster is taken over only from a run whose journal says that it is over.
    tool.env["DEPLOY_RUNS_DIR"] = str(WORK / "runs")
    first = shipped(hosts)[0][0]
    clean(tool, hosts, first.hosts)
    done = []
    if chosen[0] and chosen[0][0].name == first.name:
        first = chosen[0].pop(0)
        done.append(measure(first, tool, hosts, options))
    else:
        settle(hosts, tool, first, reset=False)
    for case in [case for part in chosen for case in part]:
        try:
            if case.before:
                case.before()
        except RuntimeError as error:
            case.problem = f"it was not made ready: {error}"
        done.append(case if case.problem else measure(case, tool, hosts, options))
    return done + (drifts(tool, hosts, options, first, "drifts", ROOT / "roles", seeds) if seeds else [])


# ---- drifts --------------------------------------------------------------------------------------------------------


def drifts(tool, hosts, options, first, suite, tree, seeds):
    """Seeded drifts of what the first run made; the run behind each check mends the site for the next."""
    found = options.subjects.get(first.name)
    if tool.name == "deploy":
        words = set()
        for path in tree.rglob("*.y*ml") if tree.is_dir() else [tree]:
            words |= set(re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]+", path.read_text(errors="replace")))
        all_of_it = drift.subjects(first.applied, words)
        # What it made on the controller is not ours to drift.
        found = {host: kinds for host, kinds in all_of_it.items() if host in first.hosts}
        options.subjects[first.name] = found
    if not found:
        why = "its run made nothing that could be drifted" if tool.name == "deploy" else "what it makes is told by deploy alone"
        say(f"{tool.name}: {suite}: left out: {why}")
        return []
    settle(hosts, tool, first, reset=False)
    done = []
    for seed in seeds:
        steps = drift.drift(seed, found)
        told = "; ".join(f"{host} {what}" for host, what, _ in steps)
        say(f"seed {seed}: {told}")
        for host, _, command in steps:
            hosts.ssh(host, command, check=False)
        time.sleep(1)
        case = measure(Case(suite, f"{seed}: {told}", first.words, first.hosts, rank=seed), tool, hosts, options)
        done.append(case)
        if case.codes[1] != 0:
            settle(hosts, tool, first, reset=True)
    return done


def settle(hosts, tool, first, reset):
    """The site as its playbook says; from bare hosts when it cannot be mended."""
    if reset:
        clean(tool, hosts, first.hosts)
    code, events, said = tool.run(first.words, False, WORK / "settle.jsonl")
    first.applied = first.applied or events
    if code != 0 and not reset:
        settle(hosts, tool, first, reset=True)
    elif code != 0:
        raise RuntimeError(f"the site does not come up: {said[-1000:]}")


# ---- playbooks and roles of the user's -----------------------------------------------------------------------------

PLAYBOOK = re.compile(r"^-?\s+[\"']?(ansible\.builtin\.)?(hosts|import_playbook)[\"']?\s*:", re.M)


def books_of(path):
    """The playbooks of a role, a folder of roles, a folder of playbooks or a playbook."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SystemExit(f"{path}: there is no such folder or playbook")
    if (path / "tasks").is_dir():
        return [role_playbook(path)]
    files = sorted([*path.glob("*.yml"), *path.glob("*.yaml")])
    books = [file for file in files if PLAYBOOK.search(file.read_text(errors="replace"))]
    roles = path / "roles" if (path / "roles").is_dir() else path
    books = books or [role_playbook(role) for role in sorted(roles.iterdir()) if (role / "tasks").is_dir()]
    if not books:
        raise SystemExit(f"{path}: neither a playbook nor a role is in it")
    return books


def role_playbook(role):
    """A playbook that runs one role on the boxes."""
    book = WORK / f"role-{role.name}.yml"
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_text(f"- hosts: boxes\n  become: true\n  tasks:\n    - import_role:\n        name: {role}\n")
    return book


def hosts_of(books, inventories):
    """The lab's hosts that they are for: the boxes, and the nodes where they are named."""
    said = [line for book in books for line in book.read_text(errors="replace").splitlines() if "hosts" in line]
    said += [Path(name).read_text(errors="replace") for name in inventories if Path(name).is_file()]
    return [*(NODES if any("galera" in text for text in said) else []), *BOXES]


def trees(tool, hosts, options):
    """From clean disks, again, and drifted."""
    done = []
    tool.inventories += options.inventories
    for path, book in options.books:
        if not wanted(options.only, f"{path.name}: {book.stem}"):
            continue
        clean(tool, hosts, hosts.names)
        first = Case(path.name, book.stem, [str(book), *options.extra], list(hosts.names))
        done.append(measure(first, tool, hosts, options))
        done.append(measure(Case(path.name, f"{book.stem} again", first.words, first.hosts), tool, hosts, options))
        seeds = range(options.seed, options.seed + options.drifts)
        try:
            done += drifts(tool, hosts, options, first, "drifts of " + book.stem, path, seeds) if seeds else []
        except RuntimeError as error:
            first.problem = first.problem or f"no drifts of it: {error}"
    return done
