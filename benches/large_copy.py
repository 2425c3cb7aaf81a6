#!/usr/bin/env python3
"""A copy of 2 GiB to a host: how much memory both ends take.

Usage: benches/large_copy.py [MIB]   (`make bench-large-copy`)
"""

import hashlib
import os
import sys
import threading
import time

from common import SCRATCH, Lab, Result, deploy, die, say

HOST = "box1"


class AgentWatch:
    """The largest resident size that any process of the agent on the host ever had (VmHWM), by process."""

    def __init__(self, namespace):
        self.namespace, self.peaks, self.ended = namespace, {}, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.05):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    if os.readlink(f"/proc/{pid}/ns/pid") != self.namespace:
                        continue
                    if not os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith(("agent-", "deploy-agent")):
                        continue
                    with open(f"/proc/{pid}/status") as status:
                        for line in status:
                            if line.startswith("VmHWM:"):
                                self.peaks[pid] = max(self.peaks.get(pid, 0), int(line.split()[1]) << 10)
                except OSError:
                    pass  # it ended meanwhile

    def stop(self):
        self.ended.set()
        self.thread.join()


def main():
    size = (int(sys.argv[1]) if len(sys.argv) > 1 else 2048) << 20
    lab = Lab([HOST])
    source = SCRATCH / "large"
    say(f"a file of {size >> 20} MiB")
    digest = hashlib.sha256()
    with open(source, "wb") as file:
        for _ in range(size >> 20):
            block = os.urandom(1 << 20)  # nothing that a compression could make small
            digest.update(block)
            file.write(block)
    playbook = SCRATCH / "copy.yml"
    playbook.write_text(f"- hosts: {HOST}\n  gather_facts: false\n  become: true\n  tasks:\n"
                        f"    - copy: {{src: {source}, dest: /opt/large, mode: '0600'}}\n")
    namespace = lab.ssh(HOST, "readlink /proc/self/ns/pid").strip()
    watches = []

    def watch(_):
        watches.append(AgentWatch(namespace))
        return watches[-1]

    rows = []
    for what, changed in (("first run (sent)", 1), ("second run (compared)", 0)):
        began = time.perf_counter()
        run = deploy("-i", lab.inventory, "-l", HOST, playbook, watch=watch).must(what, [HOST], changed=changed)
        say(f"{what}: {time.perf_counter() - began:.1f} s")
        got = lab.ssh(HOST, "sha256sum < /opt/large").split()[0]
        if got != digest.hexdigest():
            die("the file on the host is another one")
        peaks = watches[-1].peaks
        if not peaks:
            die("no agent was seen on the host")
        rows.append((what, run.wall, run.rss, max(peaks.values()), len(peaks)))
    lab.ssh(HOST, "rm -f /opt/large")
    result = Result("large-copy", f"A copy of {size >> 20} MiB to one host")
    result.write(
        "`copy` of a file of random bytes, become root, then once more. Memory is the kernel's own high-water mark: ru_maxrss",
        "of `deploy`, VmHWM of each agent process on the host (looked at every 50 ms). The file on the host has the source's",
        "SHA-256.",
        "",
        "| | wall s | MiB/s | deploy, MiB | largest agent process, MiB | agent processes |",
        "|---|---|---|---|---|---|",
        *(f"| {what} | {wall:.1f} | {(size >> 20) / wall:.0f} | {rss / 2**20:.1f} | {peak / 2**20:.1f} | {n} |"
          for what, wall, rss, peak, n in rows),
        "",
    )
    worst = max(max(row[2], row[3]) for row in rows) / 2**20
    result.target("both ends under 64 MiB", f"{worst:.1f} MiB", worst < 64)
    result.finish()


main()
