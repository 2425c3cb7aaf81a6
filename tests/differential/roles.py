"""Whole roles of a directory, by both, each on hosts that nobody has touched: `tools/differential --roles DIR`.

A role is a directory of DIR with `tasks/main.yml`. What it is given stands in `DIR/ROLE.differential.yml`, if it needs anything:
`vars`, `play` (keywords of the play) and `ignore` (returned fields that are not compared), as in a case. Each is run in a check, for
good, and again. Compared is what a case compares, and what has changed below the directories that are named in `WATCHED`.
"""

import difflib
from pathlib import Path

import yaml

WATCHED = "/etc /opt /srv /usr/local /home /root /var/spool/cron"

# What programs write themselves, each at its own time, or with what is each host's own.
OWN = ("/etc/machine-id", "/etc/ssh/ssh_host", "/etc/ld.so.cache", "/etc/mailcap", "/etc/.pwd.lock", "/.ansible", "/.cache", "/etc/shadow", "/etc/gshadow",
       "/etc/ssl/certs", "/var/spool/cron/crontabs\t")

# What comes from a mirror or from the moment, for every role alike.
IGNORED = ["ansible_facts", "cache_update_time", "cache_updated", "stdout", "stderr", "stdout_lines", "stderr_lines", "status", "backup_file",
           "ansible_included_var_files", "md5sum", "diff"]


def roles(directory):
    found = sorted(path.parent.parent for path in directory.glob("*/tasks/main.y*ml"))
    for role in found:
        said = directory / f"{role.name}.differential.yml"
        given = (yaml.safe_load(said.read_text()) or {}) if said.exists() else {}
        play = {"hosts": "target", "gather_facts": True, **given.get("play", {}), "roles": [role.name]}
        yield {"case": f"role {role.name}", "plays": [{**play, "vars": given.get("vars", {})}], "runs": ["check", "run", "again"],
               "ignore": [*IGNORED, *given.get("ignore", [])], "roles_of": str(directory)}


def listing(ssh, host):
    """What is in the watched directories."""
    command = (f"find {WATCHED} -printf '%p\\t%y %m %u %g %l\\n' 2>/dev/null; "
               f"find {WATCHED} -type f -print0 2>/dev/null | xargs -0r sha256sum")
    return sorted(line for line in ssh(host, command).splitlines() if not any(own in line for own in OWN))


def changes(before, after):
    return [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if line[0] in "+-" and line[:3] not in ("+++", "---")]
