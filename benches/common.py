"""What the benchmarks share: the lab, the peers, timing with exit status, end states by hash, dated results."""

import atexit
import datetime
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The release build, unless told otherwise (for trying the benchmarks themselves).
DEPLOY = Path(os.environ.get("DEPLOY_BENCH_BINARY", ROOT / "target/release/deploy"))
CACHE = Path(os.environ.get("DEPLOY_BENCH_CACHE", "/var/cache/deploy-bench"))
# A lab of the benchmarks' own, so that the checkout's demo is left alone.
LAB = os.environ.get("DEPLOY_BENCH_LAB", "bench")
ANSIBLE = os.environ.get("DEPLOY_BENCH_ANSIBLE", "ansible-core==2.19.14")
MITOGEN = os.environ.get("DEPLOY_BENCH_MITOGEN", "mitogen==0.3.54")
LOAD = os.getloadavg()[0]
SCRATCH = Path(tempfile.mkdtemp(prefix="deploy-bench-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def die(text):
    say(f"error: {text}")
    sys.exit(1)


def listening(port, what):
    """Waits until something listens on a port of this machine."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    die(f"{what} does not start")


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        return free.getsockname()[1]


def check(command, **options):
    """Runs a command that must succeed, and returns what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        die(f"{command} exited with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


# ---- the lab -------------------------------------------------------------------------------------------------------


def lab(script, *words):
    return check([str(ROOT / "lab" / script), *words], env={**os.environ, "DEPLOY_LAB_NAME": LAB})


class Lab:
    """Hosts of the lab, brought up when needed and taken down at the end (kept with DEPLOY_BENCH_KEEP=1)."""

    def __init__(self, hosts, python=False):
        self.hosts = hosts
        lab("up", "--hosts", ",".join(hosts))
        if os.environ.get("DEPLOY_BENCH_KEEP") != "1":
            atexit.register(lab, "down")
        self.inventory = Path(lab("inventory").strip())
        if python:
            for host in hosts:
                say(f"{host}: python3, for the peers")
                self.ssh(host, "command -v python3 > /dev/null || DEBIAN_FRONTEND=noninteractive "
                               "apt-get install -qy --no-install-recommends python3 > /dev/null")

    def ssh(self, host, command):
        return lab("ssh", host, command)

    def state(self, tree):
        """The tree on each host as one text: kind, mode, owner, name and contents' hash of everything in it."""
        return {host: self.ssh(host, f"cd {tree} && find . -printf '%y %m %u %g %p %l\\n' | sort && "
                                     f"find . -type f -print0 | sort -z | xargs -0 sha256sum") for host in self.hosts}


# ---- peers ---------------------------------------------------------------------------------------------------------


class Peers:
    """ansible-core and mitogen in an environment of their own, outside the checkout."""

    def __init__(self):
        self.venv = CACHE / "venv"
        wanted = f"{ANSIBLE} {MITOGEN}"
        mark = self.venv / "bench-installed"
        if not mark.exists() or mark.read_text() != wanted:
            say(f"installing {wanted} into {self.venv}")
            shutil.rmtree(self.venv, ignore_errors=True)
            self.venv.parent.mkdir(parents=True, exist_ok=True)
            check([sys.executable, "-m", "venv", str(self.venv)])
            check([str(self.venv / "bin/pip"), "install", "-q", ANSIBLE, MITOGEN])
            mark.write_text(wanted)
        self.playbook = str(self.venv / "bin/ansible-playbook")
        found = check([str(self.venv / "bin/pip"), "list", "--format=json"])
        versions = {row["name"].replace("_", "-").lower(): row["version"] for row in json.loads(found)}
        self.ansible = versions["ansible-core"]
        self.mitogen = versions["mitogen"]

    def environment(self, mitogen, forks):
        """Settings that suit the peers: pipelining, kept connections, enough forks, nothing fancy in the output."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        env.update(
            ANSIBLE_PIPELINING="1",
            ANSIBLE_FORKS=str(forks),
            ANSIBLE_HOST_KEY_CHECKING="1",
            ANSIBLE_SSH_ARGS="-F none -o ControlMaster=auto -o ControlPersist=300s",
            ANSIBLE_SSH_CONTROL_PATH_DIR=str(SCRATCH / "cp"),
            ANSIBLE_LOCAL_TEMP=str(SCRATCH / "ansible"),
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3",
            ANSIBLE_CONFIG=str(HERE / "ansible.cfg"),
            PATH=f"{self.venv}/bin:{env['PATH']}",
        )
        if mitogen:
            # ansible-core 2.19 warns that strategies from plug-ins will go.
            env.update(
                ANSIBLE_STRATEGY="mitogen_linear",
                ANSIBLE_STRATEGY_PLUGINS=str(
                    next(self.venv.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"))),
                ANSIBLE_DEPRECATION_WARNINGS="0",
            )
        return env


# ---- runs ----------------------------------------------------------------------------------------------------------


class Run:
    """One run of a program: wall, its own and its children's CPU, the largest resident size of any of them, output."""

    def __init__(self, command, env=None, watch=None):
        with tempfile.TemporaryFile(dir=SCRATCH) as output:
            before = time.perf_counter()
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                     env=env, cwd=ROOT)
            watcher = watch(child.pid) if watch else None
            _, status, usage = os.wait4(child.pid, 0)
            self.wall = time.perf_counter() - before
            child.returncode = os.waitstatus_to_exitcode(status)
            if watcher:
                watcher.stop()
            output.seek(0)
            self.output = output.read().decode(errors="replace")
        self.status = child.returncode
        self.cpu = usage.ru_utime + usage.ru_stime
        self.rss = usage.ru_maxrss * 1024

    def must(self, what, hosts, changed=None):
        """Dies unless the run ended with 0 and its recap has these hosts, nothing failed, and `changed` where said."""
        recap = dict(re.findall(r"^(\S+)\s+: (ok=.*)$", self.output, re.M))
        wrong = self.status != 0 or set(recap) != set(hosts)
        for line in recap.values():
            count = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", line)}
            wrong |= count["failed"] + count["unreachable"] != 0 or count["ok"] == 0
            wrong |= changed is not None and count["changed"] != changed
        if wrong:
            why = "".join(re.findall(r"^(?:failed|unreachable): .*\n", self.output, re.M))
            die(f"{what} exited with {self.status} and ended with:\n{self.output[-3000:]}\n{why[:3000]}")
        return self


def deploy(*words, env=None, watch=None):
    command = [str(DEPLOY), *map(str, words)]
    return Run(command, env={**os.environ, "NO_COLOR": "1", **(env or {})}, watch=watch)


def rounds(count, contestants):
    """Runs the contestants in turn, so that a busy machine is busy for all of them."""
    runs = {name: [] for name in contestants}
    for number in range(count):
        for name, contestant in contestants.items():
            runs[name].append(contestant())
            say(f"round {number + 1}/{count}: {name} {runs[name][-1].wall:.3f} s")
    return runs


def median(runs, of="wall"):
    return statistics.median(getattr(run, of) for run in runs)


def spread(runs, of="wall"):
    values = [getattr(run, of) for run in runs]
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


# ---- results -------------------------------------------------------------------------------------------------------


class Result:
    """A dated page in docs/results, and the exit status: 0 when every target was met."""

    def __init__(self, name, title):
        self.name, self.met, self.lines = name, True, [f"# {title}", ""]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
        now = datetime.datetime.now(datetime.timezone.utc)
        self.date = now.strftime("%Y-%m-%d")
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.write(f"{now:%Y-%m-%d %H:%M} UTC, commit {commit.stdout.strip()}, {os.cpu_count()} CPUs, {memory} GiB, "
                   f"Linux {platform.release()}; `make bench-{name}`.", "")

    def write(self, *lines):
        self.lines.extend(lines)

    def target(self, what, figure, met):
        self.met &= bool(met)
        self.write(f"- {what}: **{figure}**, {'met' if met else 'NOT met'}.")

    def finish(self):
        loads = f"Load average of the machine: {LOAD:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end."
        self.write("", loads)
        text = "\n".join(self.lines) + "\n"
        print(text)
        if DEPLOY.parent.name == "release":
            page = ROOT / "docs/results" / f"{self.date}-bench-{self.name}.md"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text)
            say(f"written to {page.relative_to(ROOT)}")
        sys.exit(0 if self.met else 1)


if not DEPLOY.is_file():
    die(f"{DEPLOY} is missing: run `make` first")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
