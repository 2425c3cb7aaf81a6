"""The two programs that are measured: both run a command line as a check or in earnest and give its events."""

import os
import shutil
import subprocess
import sys

import compare
from hosts import ROOT, say

COLLECTIONS = os.environ.get("DEPLOY_ACCURACY_COLLECTIONS", "ansible==12.3.0")
# No check and no run takes so long, in seconds.
TOO_LONG = 1800


class Deploy:
    name = "deploy"

    def __init__(self, hosts, work, tree):
        self.binary, self.tree = work / "bin/deploy", tree
        self.inventories = [str(hosts.inventory)]
        # Handlers that one case owes are not to be paid by the next.
        self.env = {**os.environ, "NO_COLOR": "1", "DEPLOY_RUNS_DIR": "off",
                    "ACCURACY_STORE": str(work / "stores"), "ACCURACY_FETCH": str(work / "fetched")}
        for folder in ("stores", "fetched"):
            shutil.rmtree(work / folder, ignore_errors=True)
        (work / "stores").mkdir(mode=0o700)
        self.env.pop("DEPLOY_INVENTORY", None)

    def bare(self, hosts, names):
        hosts.reset(*names)

    def run(self, words, check, log):
        command = [str(self.binary)]
        for inventory in self.inventories:
            command += ["-i", inventory]
        command += [*words, "--diff", "--format", "json", *(["--check"] if check else [])]
        done = subprocess.run(command, cwd=self.tree, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=TOO_LONG)
        log.write_text(done.stdout)
        log.with_suffix(".err").write_text(done.stderr)
        return done.returncode, compare.events(done.stdout), done.stderr


class Ansible:
    name = "ansible"

    def __init__(self, hosts, work, tree):
        os.environ.setdefault("DEPLOY_BENCH_BINARY", str(work / "bin/deploy"))
        sys.path.insert(0, str(ROOT / "benches"))
        import common
        self.peers, self.tree = common.Peers(), tree
        self.inventories = [str(hosts.inventory)]
        self.env = self.peers.environment(mitogen=False, forks=10)
        self.env.update(ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests/accuracy/callback"), ANSIBLE_CALLBACKS_ENABLED="accuracy",
                        ANSIBLE_ROLES_PATH=str(tree / "roles"), ANSIBLE_DEPRECATION_WARNINGS="0",
                        ACCURACY_STORE=str(work / "stores"), ACCURACY_FETCH=str(work / "fetched"))
        self.collections = self.peers.venv / "collections"
        if not (self.collections / "ansible_collections/community/mysql").is_dir():
            say("installing ansible.posix and community.mysql, for Ansible")
            # The package `ansible` holds both, of the versions that were tried with this core.
            done = subprocess.run([str(self.peers.venv / "bin/pip"), "install", "-q", "--no-deps", "--target",
                                   str(self.collections), COLLECTIONS], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode != 0:
                say(f"they are not to be had: {done.stdout[-300:]}")
        self.env["ANSIBLE_COLLECTIONS_PATH"] = str(self.collections)

    def bare(self, hosts, names, more=""):
        """Clean disks, and what Ansible needs on a host."""
        hosts.reset(*names)
        install = f"DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 python3-apt {more}"
        hosts.everywhere(f"{install} >/dev/null 2>&1 || {{ apt-get update -qq; {install} >/dev/null; }}", names)

    def run(self, words, check, log):
        command = [self.peers.playbook]
        for inventory in self.inventories:
            command += ["-i", inventory]
        log.unlink(missing_ok=True)
        done = subprocess.run([*command, *words, "--diff", *(["--check"] if check else [])], cwd=self.tree,
                              env={**self.env, "ACCURACY_EVENTS": str(log)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=TOO_LONG)
        log.with_suffix(".err").write_text(done.stdout)
        text = log.read_text() if log.exists() else ""
        return done.returncode, compare.events(text), done.stdout
