"""Ansible's results as JSON lines of the form of `deploy --format json`, so that both are judged by the same program."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: accuracy
type: aggregate
short_description: results as JSON lines, with diffs and notified handlers
description: Writes into the file that ACCURACY_EVENTS names.
"""


def plan_of(text):
    """What apt says that it will do, without how it then did it."""
    lines = str(text).splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("The following")), 0)
    last = next((i for i, line in enumerate(lines) if " newly installed, " in line), len(lines) - 1)
    kept = [line for line in lines[first:last + 1] if not line.startswith(("Suggested", "Recommended"))]
    return "\n".join(kept)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "accuracy"

    def __init__(self):
        super().__init__()
        self.out = open(os.environ["ACCURACY_EVENTS"], "a", buffering=1)
        self.notified = {}

    def tell(self, **event):
        self.out.write(json.dumps(event, default=str) + "\n")

    def v2_playbook_on_play_start(self, play):
        self.tell(event="play_started", name=play.get_name())

    def v2_playbook_on_notify(self, handler, host):
        self.notified.setdefault(host.get_name(), []).append(handler.get_name())

    def one(self, result, status, item=False, ignored=False):
        host, task, found = result._host.get_name(), result._task, result._result
        changes = []
        for diff in found.get("diff") or [] if isinstance(found.get("diff"), list) else [found.get("diff")]:
            if not diff:
                continue
            if isinstance(diff, dict):
                # Headers name temporary files of the controller.
                diff = {name: value for name, value in diff.items() if name not in ("before_header", "after_header")}
                if "prepared" in diff:
                    diff["prepared"] = plan_of(diff["prepared"])
            if diff:
                changes.append(diff)
        self.tell(event="item_done" if item else "task_done", host=host, status=status, ignored=ignored,
                  task={"name": task.get_name(), "action": str(task.action), "place": str(task.get_path())},
                  item=json.dumps(found.get("_ansible_item_label", found.get("item")), default=str) if item else None,
                  msg=str(found.get("msg", "") or found.get("skip_reason", ""))[:500], false_condition=str(found.get("false_condition", "")), changes=changes)

    def word(self, result):
        return "changed" if result._result.get("changed") else "ok"

    def v2_runner_on_ok(self, result):
        self.one(result, self.word(result))

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.one(result, "failed", ignored=bool(ignore_errors))

    def v2_runner_on_skipped(self, result):
        self.one(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.one(result, "unreachable")

    def v2_runner_item_on_ok(self, result):
        self.one(result, self.word(result), item=True)

    def v2_runner_item_on_failed(self, result):
        self.one(result, "failed", item=True)

    def v2_runner_item_on_skipped(self, result):
        self.one(result, "skipped", item=True)

    def v2_playbook_on_stats(self, stats):
        # Which handlers a host was told, in order: Ansible does not say with which result.
        for host in sorted(self.notified):
            self.tell(event="notified", host=host, handlers=self.notified[host])
