"""The hosts of the measurement: a lab of its own, what may be seen on them, and what a check must leave alone."""

import atexit
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = os.environ.get("DEPLOY_LAB_NAME", "accuracy")
NODES = ["galera1", "galera2", "galera3"]
BOXES = ["box1", "box2", "box3"]

# Paths that change by themselves on a host where nobody does anything, or by a login alone; each with its reason.
VOLATILE = {
    "/proc": "the kernel's", "/sys": "the kernel's", "/dev": "the kernel's",
    "/run/systemd": "systemd's own state; units are asked for instead", "/run/udev": "the kernel's devices",
    "/run/log": "logs", "/run/user": "logins", "/run/utmp": "logins", "/run/sudo": "logins", "/run/host": "the lab's",
    "/run/lock": "locks", "/run/credentials": "systemd's", "/run/motd.dynamic": "logins", "/run/dbus": "sockets",
    "/run/deploy-agent.guard": "the agent's lock", "/run/deploy-agent.lock": "the agent's lock",
    "/var/log": "logs", "/var/lib/systemd": "timers' and the journal's stamps", "/var/lib/sudo": "logins",
    "/var/lib/wtmpdb": "logins", "/var/lib/lastlog": "logins", "/var/lib/dpkg/lock": "locks",
    "/var/lib/mysql": "the running server's files; it is asked instead", "/run/mysqld": "the server's socket",
    "/var/lib/deploy-agent": "the agent", "/var/lib/deploy": "the agent",
    "/home/deploy/.cache": "the agent, before it is root", "/home/deploy/.ansible": "Ansible's copies of its modules",
    "/root/.ansible": "Ansible's copies of its modules", "/tmp/systemd-private*": "services' own /tmp",
    "/var/tmp/systemd-private*": "services' own /tmp", "/usr/lib/python3*/__pycache__": "Python's caches",
    "*/__pycache__": "Python's caches", "/var/cache/ldconfig": "caches", "/var/cache/apt/*.bin": "apt's caches",
    "/var/cache/apt/archives/lock": "locks", "/var/lib/apt/lists/lock": "locks",
}

# Where contents are read, too; elsewhere the time of the last change of the inode (which nobody can set) tells.
CONTENTS = "/etc /usr/local /root /home /srv /opt /var/spool"

# Of a directory its time is left out: a file made and removed again moves that, and what is in it is listed anyway.
# Read as root, without any program of ours.
LOOK = r"""
export LC_ALL=C
find / -xdev \( PRUNE \) -prune -o -type d -printf 'directory %p %m %U %G\n' -o -printf 'file %p %y %m %U %G %s %C@ %l\n' | sort
find /run /tmp -xdev \( PRUNE \) -prune -o -printf 'file %p %y %m %U %G %l\n' | sort
find CONTENTS -xdev \( PRUNE \) -prune -o -type f -print0 2>/dev/null | sort -z | xargs -0r sha256sum
lsattr -d /etc/* 2>/dev/null
dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' | sed 's/^/package /'
apt-mark showhold 2>/dev/null | sed 's/^/held /'
systemctl list-unit-files --no-legend --plain | sed 's/^/unit file /'
systemctl show '*.service' '*.socket' '*.timer' '*.mount' -p Id,LoadState,ActiveState,SubState,MainPID,NRestarts,UnitFileState |
    awk 'BEGIN { RS = ""; FS = "\n"; OFS = " " } { $1 = $1; print "unit", $0 }' |
    grep -v -e 'Id=user@' -e 'Id=user-runtime-dir@' -e 'Id=run-u' -e 'Id=run-r' -e 'Id=clustercheck@' -e 'Id=run-user-' \
        -e 'Id=systemd-timedated' -e 'Id=systemd-hostnamed' -e 'Id=systemd-tmpfiles-clean' -e Id=sshd@ -e Id=ssh@ \
        -e Id=systemd-logind | sort
sysctl -a 2>/dev/null | grep '^net\.' | grep -v -e nf_conntrack_count -e '\.neigh\.' -e random -e stable_secret | sort
sed 's/^[0-9]* [0-9]* //' /proc/self/mountinfo | sort
hostname
swapon --noheadings 2>/dev/null
nft -s list ruleset 2>/dev/null
db() { mariadb --skip-ssl -N -e "$1" 2>/dev/null; }
if db 'select 1' >/dev/null; then
    db 'select User, Host, Priv from mysql.global_priv order by 1, 2'
    db 'select * from mysql.db order by 1, 2, 3'
    db 'select * from mysql.tables_priv order by 1, 2, 3, 4'
    db 'select * from mysql.roles_mapping'
    db 'select schema_name, default_character_set_name, default_collation_name from information_schema.schemata order by 1'
    db 'select table_schema, table_name, table_type, engine, table_comment from information_schema.tables
        where table_schema not in ("information_schema", "performance_schema", "sys") order by 1, 2'
    db 'show global variables' | grep -v -e ^gtid -e ^timestamp -e ^insert_id -e ^last_insert -e ^innodb_buffer_pool_ \
        -e ^server_uid -e ^wsrep_start -e ^wsrep_last -e ^wsrep_provider_options
fi
"""


def prune():
    return " -o ".join(f"-path '{path}'" for path in VOLATILE)


LOOK = LOOK.replace("PRUNE", prune()).replace("CONTENTS", CONTENTS)


def say(text):
    print(f"accuracy: {text}", file=sys.stderr, flush=True)


def lab(script, *words, check=True):
    done = subprocess.run([str(ROOT / "lab" / script), *words], env={**os.environ, "DEPLOY_LAB_NAME": LAB}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace")
    if check and done.returncode != 0:
        raise RuntimeError(f"lab/{script} {' '.join(words)[:200]} exited with {done.returncode}: {done.stdout[-1000:]}"
                           f"{done.stderr[-2000:]}")
    return done.stdout


class Hosts:
    """A lab, up until the program ends (kept with DEPLOY_ACCURACY_KEEP=1)."""

    def __init__(self, names):
        self.names = list(names)
        if os.environ.get("DEPLOY_ACCURACY_KEEP") != "1":
            atexit.register(lab, "down")
        lab("up", "--hosts", ",".join(self.names))
        self.inventory = Path(lab("inventory").strip())
        self.pki = self.inventory.parent / "pki"

    def ssh(self, host, command, check=True):
        return lab("ssh", host, command, check=check)

    def reset(self, *names):
        lab("reset", *(names or self.names))

    def everywhere(self, command, names=None, check=True):
        with ThreadPoolExecutor(6) as pool:
            names = names or self.names
            return dict(zip(names, pool.map(lambda host: self.ssh(host, command, check), names)))

    def state(self, names=None, folders=()):
        """What each host is, as lines; and on the controller the authorities' store and what else cases keep there."""
        state = {host: text.splitlines() for host, text in self.everywhere(LOOK, names, check=False).items()}
        state["(controller)"] = [line for folder in (self.pki, *folders) for line in listed(folder)]
        for host, lines in state.items():
            if host in self.names and len(lines) < 500:
                raise RuntimeError(f"{host} was not seen: {lines[:5]}")
        return state


def listed(folder):
    """All below a folder of the controller but locks: kind, mode, owner and contents."""
    lines = []
    for path in [folder, *sorted(folder.rglob("*"))] if folder.is_dir() else []:
        if path.name.startswith(".lock") or path.suffix == ".lock":
            continue
        meta = path.lstat()
        what = f"link to {os.readlink(path)}" if path.is_symlink() else "directory" if path.is_dir() else (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "special")
        lines.append(f"store {path} {meta.st_mode:o} {meta.st_uid}:{meta.st_gid} {what}")
    return lines


def moved(before, after):
    """What differs between two looks: lines with their host."""
    lines = []
    for host in before:
        old, new = set(before[host]), set(after[host])
        lines += [f"{host}: - {line}" for line in before[host] if line not in new]
        lines += [f"{host}: + {line}" for line in after[host] if line not in old]
    return lines
