"""Drifts: what people and machines do to a site behind its playbooks' back, chosen by a seed.

What may be hit is what the site itself brought about (the subjects of its first run's changes), so any tree of roles can be
drifted; what is done is one of the mutations below. The same seed does the same to the same site."""

import random
import re
import shlex

# What hurts a whole host: at most one host of a drift, so that a cluster keeps its majority.
HEAVY = {"package", "unit", "tree"}


def _file(path, rng, number):
    quoted = shlex.quote(path)
    return rng.choice([
        ("delete", f"rm -f {quoted}"),
        ("append a line", f"test -d {quoted} || echo '# drift {number}' >> {quoted}"),
        ("empty it", f"test -L {quoted} -o -d {quoted} || : > {quoted}"),
        ("delete its first line", f"test -L {quoted} -o -d {quoted} || sed -i 1d {quoted}"),
        ("chmod 0600", f"chmod 0600 {quoted}"),
        ("chmod 0666", f"test -d {quoted} || chmod 0666 {quoted}"),
        ("chown to nobody", f"chown nobody {quoted}"),
        ("chgrp to nogroup", f"chgrp nogroup {quoted}"),
        ("a link in its place", f"test -d {quoted} || {{ cp -a {quoted} {quoted}.real && ln -sfn {quoted}.real {quoted}; }}"),
        ("a directory in its place", f"test -d {quoted} || {{ rm -f {quoted} && mkdir {quoted}; }}"),
    ])


def _directory(path, rng, _):
    quoted = shlex.quote(path)
    return rng.choice([
        ("chmod 0700", f"chmod 0700 {quoted}"), ("chmod 0777", f"chmod 0777 {quoted}"),
        ("chown to nobody", f"chown nobody {quoted}"), ("chgrp to nogroup", f"chgrp nogroup {quoted}"),
    ])


def _tree(path, _, __):
    return "delete with all in it", f"rm -rf {shlex.quote(path)}"


def _link(path, rng, _):
    quoted = shlex.quote(path)
    return rng.choice([("delete", f"rm -f {quoted}"), ("points elsewhere", f"ln -sfn /nowhere {quoted}"),
                       ("chown to nobody", f"chown -h nobody {quoted}")])


def _unit(name, rng, _):
    quoted = shlex.quote(name)
    return rng.choice([
        ("stop", f"systemctl stop {quoted}"), ("disable", f"systemctl disable -q {quoted}"),
        ("stop and disable", f"systemctl disable -q --now {quoted}"),
        ("mask", f"systemctl mask -q --runtime {quoted}"), ("restart", f"systemctl restart {quoted}"),
        ("kill", f"systemctl kill -s KILL {quoted}; sleep 1; systemctl reset-failed {quoted}"),
    ])


def _package(name, rng, _):
    return rng.choice([
        ("remove", f"DEBIAN_FRONTEND=noninteractive apt-get remove -qy {shlex.quote(name)}"),
        ("hold", f"apt-mark hold {shlex.quote(name)}"),
        ("mark as automatic", f"apt-mark auto {shlex.quote(name)}"),
    ])


def _user(name, rng, _):
    quoted = shlex.quote(name)
    return rng.choice([("another shell", f"usermod -s /bin/false {quoted}"),
                       ("another comment", f"usermod -c drifted {quoted}"),
                       ("in another group", f"usermod -aG games {quoted}"),
                       ("locked", f"usermod -L {quoted}"), ("deleted", f"pkill -u {quoted}; userdel {quoted}")])


def _group(name, _, __):
    return "another number", f"groupmod -g 4711 {shlex.quote(name)}"


def _sysctl(name, _, __):
    return "another value", f"sysctl -w {shlex.quote(name)}=$(( $(sysctl -n {shlex.quote(name)}) + 1 ))"


def _sql(text):
    return f"mariadb --skip-ssl -e {shlex.quote(text)}"


def _account(who, rng, _):
    return rng.choice([
        ("drop", _sql(f"drop user {who}")), ("another password", _sql(f"alter user {who} identified by 'drifted'")),
        ("a grant more", _sql(f"grant process on *.* to {who}")),
        ("a grant on a database more", _sql(f"grant select on mysql.* to {who}")),
        ("all grants revoked", _sql(f"revoke all privileges, grant option from {who}")),
        ("needs no TLS", _sql(f"alter user {who} require none")), ("locked", _sql(f"alter user {who} account lock")),
        ("a limit", _sql(f"alter user {who} with max_user_connections 3")),
    ])


def _database(name, rng, _):
    return rng.choice([("drop", _sql(f"drop database `{name}`")),
                       ("another character set", _sql(f"alter database `{name}` character set latin1"))])


def _variable(name, rng, _):
    return "another value", _sql(f"set global {name} = {rng.choice([7, 77, 177])}")


def _firewall(table, rng, _):
    table = table if " " in table else f"inet {table}"
    first = (f"handle=$(nft -a list table {table} | sed -n 's/.*dport.* # handle \\([0-9]*\\)$/\\1/p' | head -n 1); "
             f"chain=$(nft -a list table {table} | awk '/chain/ {{ c = $2 }} /dport.* # handle/ {{ print c; exit }}'); ")
    return rng.choice([
        ("a rule deleted", first + f"nft delete rule {table} $chain handle $handle"),
        ("a rule more", first + f"nft insert rule {table} $chain tcp dport 31337 accept"),
        ("flushed", f"nft flush table {table}"), ("deleted", f"nft delete table {table}"),
    ])


MUTATIONS = {"file": _file, "directory": _directory, "tree": _tree, "link": _link, "unit": _unit, "package": _package,
             "user": _user, "group": _group, "sysctl": _sysctl, "database_account": _account, "database": _database,
             "database_variable": _variable, "firewall": _firewall}


def subjects(events, requested=()):
    """What a first run brought about, by host and kind. Of packages only those that tasks name, as their dependencies
    are too many."""
    found = {}

    def add(host, kind, name):
        found.setdefault(host, {}).setdefault(kind, set()).add(name)

    kinds = {}
    for event in events:
        for change in event.get("changes", []):
            host = event.get("delegated_to") or event["host"]
            domain, name = change["subject"]["domain"], change["subject"]["name"]
            if domain == "file" and isinstance(change["kind"], dict) and change["kind"].get("set"):
                aspect, after = change["kind"]["set"]["aspect"], change["kind"]["set"]["after"]
                value = str(after.get("value", "")) if isinstance(after, dict) else ""
                if aspect == "state" and after == "absent":
                    kinds.pop((host, name), None)
                elif aspect == "state" and value.startswith("link"):
                    kinds[host, name] = "link"
                elif aspect == "state" and value == "directory":
                    kinds[host, name] = "directory"
                else:
                    kinds.setdefault((host, name), "file")
            elif domain == "package":
                if name in requested:
                    add(host, domain, name)
            elif domain in MUTATIONS:
                add(host, domain, name)
    for (host, name), kind in kinds.items():
        # A set of certificates is named by its serial number, which is another one at each run.
        name = re.sub(r"/[0-9a-f]{32}(?=/|$)", "/current", name)
        if name.startswith("/"):
            add(host, kind, name)
            if kind == "directory":
                add(host, "tree", name)
    return {host: {kind: sorted(names) for kind, names in sorted(kinds.items())} for host, kinds in sorted(found.items())}


def drift(seed, found):
    """(host, sentence, shell command) of what a seed does: one to three mutations."""
    rng = random.Random(seed)
    done, heavy = [], None
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        host = rng.choice(sorted(found))
        kind = rng.choice(sorted(found[host]))
        if kind in HEAVY:
            if heavy not in (None, host):
                continue
            heavy = host
        name = rng.choice(found[host][kind])
        what, command = MUTATIONS[kind](name, rng, seed)
        done.append((host, f"{kind.replace('_', ' ')} {name}: {what}", command))
    return done
