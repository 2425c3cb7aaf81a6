"""docs/compatibility.md: which names of Ansible's language there are, out of the code (`deploy doc --names`), Ansible's own lists and
what the suite found. Written by `tools/differential --page`, never by hand.

A `yes` has a case in which both did the same. `differs` has a case with a reason. `untried` is in the code, and no case asks for it.
"""

import json
import subprocess
import sys
from pathlib import Path

# What special variables Ansible documents ("Special Variables"); they are in no list of its code.
MAGIC = """ansible_check_mode ansible_collection_name ansible_config_file ansible_dependent_role_names ansible_diff_mode ansible_forks
ansible_index_var ansible_inventory_sources ansible_limit ansible_loop ansible_loop_var ansible_parent_role_names ansible_parent_role_paths
ansible_play_batch ansible_play_hosts ansible_play_hosts_all ansible_play_name ansible_play_role_names ansible_playbook_python
ansible_role_name ansible_role_names ansible_run_tags ansible_search_path ansible_skip_tags ansible_verbosity ansible_version environment
group_names groups hostvars inventory_dir inventory_file inventory_hostname inventory_hostname_short item omit play_hosts playbook_dir
role_name role_names role_path ansible_facts ansible_local ansible_managed""".split()

# Modules of collections that roles for databases, firewalls and hardening use.
OTHERS = """ansible.posix.authorized_key ansible.posix.firewalld ansible.posix.mount ansible.posix.seboolean ansible.posix.selinux
ansible.posix.synchronize ansible.posix.sysctl community.crypto.openssh_keypair community.crypto.openssl_csr community.crypto.openssl_csr_info
community.crypto.openssl_csr_pipe community.crypto.openssl_dhparam community.crypto.openssl_pkcs12 community.crypto.openssl_privatekey
community.crypto.openssl_privatekey_info community.crypto.openssl_privatekey_pipe community.crypto.x509_certificate
community.crypto.x509_certificate_info community.crypto.x509_certificate_pipe community.general.alternatives community.general.archive
community.general.capabilities community.general.filesystem community.general.htpasswd community.general.ini_file community.general.locale_gen
community.general.lvg community.general.lvol community.general.modprobe community.general.pam_limits community.general.pamd
community.general.parted community.general.sefcontext community.general.seport community.general.timezone community.general.ufw
community.general.xml community.general.zypper_repository community.mysql.mysql_db community.mysql.mysql_info community.mysql.mysql_query
community.mysql.mysql_replication community.mysql.mysql_role community.mysql.mysql_user community.mysql.mysql_variables""".split()

# What is not there, where something else serves.
INSTEAD = {
    "module.sysvinit": "`service`", "module.subversion": "`git`, or `command` with svn",
    "module.include": "`include_tasks` or `import_tasks`: 2.16 took it away",
    "module.synchronize": "`copy`, or `command` with rsync", "module.async_wrapper": "part of Ansible's own machinery",
    "module.zypper_repository": "apt and dnf are spoken, zypper is not",
}

LISTS = """
import json, subprocess, sys
from pathlib import Path
from ansible.playbook.play import Play
from ansible.playbook.block import Block
from ansible.playbook.task import Task
from ansible.playbook.handler import Handler
from ansible.playbook.role.include import RoleInclude
import jinja2.defaults
def listed(kind, *more):
    out = subprocess.run([str(Path(sys.executable).parent / "ansible-doc"), "-t", kind, "-l", "-j", *more], stdout=subprocess.PIPE, check=True)
    return sorted(json.loads(out.stdout))
core = lambda kind: {name.rsplit(".", 1)[-1] for name in listed(kind, "ansible.builtin")}
words = lambda kind: sorted({"async_val": "async"}.get(name, name) for name, field in kind.fattributes.items() if not name.startswith("_") and not getattr(field, "private", False))
print(json.dumps({
    "keywords": {"play": words(Play), "role": words(RoleInclude), "block": words(Block), "task": words(Task), "handler": words(Handler)},
    "filters": sorted({*core("filter"), *jinja2.defaults.DEFAULT_FILTERS}),
    "tests": sorted({*core("test"), *(name for name in jinja2.defaults.DEFAULT_TESTS if name[0].isalpha())}),
    "lookups": sorted(core("lookup")),
    "modules": listed("module", "ansible.builtin"),
}))
"""


def ansible_names():
    return json.loads(subprocess.run([sys.executable, "-c", LISTS], stdout=subprocess.PIPE, check=True).stdout)


class Standing:
    """What the suite found of each name."""

    def __init__(self, cases, equal, differing):
        self.equal, self.differing = {}, {}
        for case in cases:
            for covered in case.raw.get("covers", []):
                # `filter.ansible.utils.ipaddr` is the filter `ipaddr`.
                kind, _, name = covered.partition(".")
                covered = f"{kind}.{name.rsplit('.', 1)[-1]}"
                if case in equal:
                    self.equal.setdefault(covered, []).append(case)
                elif case in differing:
                    self.differing.setdefault(covered, []).append(case)

    def row(self, key, there, note=""):
        """The word and what is to be said: cases, reasons."""
        equal, differing = self.equal.get(key, []), self.differing.get(key, [])
        reasons = list(dict.fromkeys(reason for case in differing for reason in case.differs))
        if not there:
            return "no", INSTEAD.get(key, "")
        count = f"{len(equal)} case{'s' if len(equal) != 1 else ''}" if equal else ""
        words = "; ".join(word for word in (note, count, *reasons) if word)
        if reasons:
            return "differs", words
        return ("yes" if equal else "untried"), words


def table(title, names, standing, kind, known, notes=None):
    rows, counts = [], {}
    for name in names:
        short = name.rsplit(".", 1)[-1]
        word, words = standing.row(f"{kind}.{short}", name in known or short in known, (notes or {}).get(short, ""))
        counts[word] = counts.get(word, 0) + 1
        rows.append(f"| `{name}` | {word} | {words} |")
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda pair: -pair[1]))
    return [f"## {title}", "", f"{told}.", "", "| name | | |", "|---|---|---|", *rows, ""]


def write(page, deploy, ansible, cases, equal, differing, wrong):
    """The whole page."""
    ours = json.loads(subprocess.run([str(deploy), "doc", "--names"], stdout=subprocess.PIPE, check=True).stdout)
    theirs = ansible_names()
    standing = Standing(cases, equal, differing)
    modules = {word for module in ours["modules"] for word in (module["name"], *module["aliases"], module["name"].rsplit(".", 1)[-1])}
    modules |= {"import_playbook", "ansible.builtin.import_playbook"}  # a keyword of playbooks, with a module's name
    unverified = {word.rsplit(".", 1)[-1]: "unverified" for module in ours["modules"] if module["unverified"]
                  for word in (module["name"], *module["aliases"])}
    share = 100 * len(equal) / max(len(cases), 1)
    lines = [
        "# What of Ansible's language there is", "",
        f"Written by `tools/differential --page` out of the code, of Ansible's own lists (`{ansible}`) and of what the suite found: the same small",
        "playbooks by `ansible-playbook` and by `deploy`, on equal hosts, compared in statuses, results, recaps, exit codes and files.", "",
        f"**{len(cases)} cases: {len(equal)} equal ({share:.1f} %), {len(differing)} differ for a reason that is given below, {len(wrong)} are wrong.**", "",
        "`yes`: there is a case, and both did the same. `differs`: a case shows a difference, and here is why. `untried`: it is in the code, and",
        "no case asks for it. `no`: it is an error that says so, with a place, before anything is touched.", "",
        "## Known differences", "", "| case | what differs | why |", "|---|---|---|",
    ]
    for case in differing:
        for reason, where in case.differs.items():
            where = [where] if isinstance(where, str) else where
            lines.append(f"| {case.name} | {', '.join(f'`{place}`' for place in where)} | {reason} |")
    lines.append("")
    seen = []
    for place, names in theirs["keywords"].items():
        lines += table(f"Keywords of a {place}", [name for name in names if name != "loop_with"], standing, "keyword", set(ours["keywords"][place]))
        seen += names
    lines += table("Filters", theirs["filters"], standing, "filter", set(ours["filters"]))
    lines += table("Filters of collections and of our own", [n for n in ours["filters"] if n not in theirs["filters"]], standing, "filter", set(ours["filters"]))
    lines += table("Tests", theirs["tests"], standing, "test", set(ours["tests"]))
    lines += table("Lookups", theirs["lookups"], standing, "lookup", set(ours["lookups"]))
    # They are in the code where a case says so; there is no list of them.
    lines += table("Special variables", MAGIC, standing, "magic", {name for name in MAGIC if f"magic.{name}" in {**standing.equal, **standing.differing}})
    lines += table("Modules of ansible-core", theirs["modules"], standing, "module", modules, unverified)
    lines += table("Modules of collections", OTHERS, standing, "module", modules, unverified)
    own = [module["name"] for module in ours["modules"] if module["name"].startswith("deploy.builtin.")]
    lines += ["## Modules of our own", "", ", ".join(f"[`{name}`](modules/{name}.md)" for name in own) + ".", ""]
    Path(page).write_text("\n".join(lines))
