"""A callback of Ansible's that writes what the harness compares: one JSON line for each result."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: stdout
short_description: one JSON line for each result
description: Results as JSON lines, for the differential tests.
"""


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "events"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.out = open(os.environ["DIFFERENTIAL_EVENTS"], "a", encoding="utf-8")

    def write(self, **line):
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def result(self, result, status, ignored=False):
        task = result.task
        values = plain(result.result)
        if status == "ok" and values.get("changed"):
            status = "changed"
        self.write(task=task.get_name(), action=task.action.rsplit(".", 1)[-1], host=result.host.get_name(),
                   status=status, ignored=bool(ignored), result=values)

    def v2_runner_on_ok(self, result):
        self.result(result, "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result(result, "failed", ignore_errors)

    def v2_runner_on_skipped(self, result):
        self.result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.result(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        hosts = sorted(stats.processed)
        self.write(recap={host: stats.summarize(host) for host in hosts})
