"""Writes answers.json: what ansible-core's templar answers to each line of cases.txt with the variables of vars.yml.

Run it in an environment that has ansible-core 2.19 (and passlib): `python oracle.py`. The answers are committed, so
that the tests need no Ansible.
"""

import contextlib
import io
import json
import os
import pathlib

os.environ["ANSIBLE_DEPRECATION_WARNINGS"] = "0"
os.environ["ANSIBLE_ALLOW_BROKEN_CONDITIONALS"] = "1"
os.environ["ANSIBLE_JINJA2_EXTENSIONS"] = "jinja2.ext.do,jinja2.ext.loopcontrols"

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader()
here = pathlib.Path(__file__).parent


def trust(value):
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {k: trust(v) for k, v in value.items()}
    if isinstance(value, list):
        return [trust(v) for v in value]
    return value


def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


variables = trust(yaml.safe_load((here / "vars.yml").read_text()))
answers = {}
for case in (here / "cases.txt").read_text().splitlines():
    templar = Templar(loader=DataLoader(), variables=variables)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            answers[case] = {"ok": plain(templar.template(trust_as_template(case)))}
    except BaseException as ex:
        answers[case] = {"error": str(ex).split("\n")[0][:160]}
conditions = {}
for case in (here / "conditions.txt").read_text().splitlines():
    templar = Templar(loader=DataLoader(), variables=variables)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            conditions[case] = {"ok": bool(templar.evaluate_conditional(trust_as_template(case)))}
    except BaseException as ex:
        conditions[case] = {"error": str(ex).split("\n")[0][:160]}

files = {}
for case in (here / "files.txt").read_text().splitlines():
    text = case.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace("\0", "\\")
    templar = Templar(loader=DataLoader(), variables=variables)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            rendered = templar.template(
                trust_as_template(text),
                preserve_trailing_newlines=True,
                escape_backslashes=False,
                overrides=dict(trim_blocks=True, lstrip_blocks=False),
            )
        files[case] = {"ok": "" if rendered is None else plain(rendered) if isinstance(rendered, str) else str(rendered)}
    except BaseException as ex:
        files[case] = {"error": str(ex).split("\n")[0][:160]}

answers = {"values": answers, "conditions": conditions, "files": files}
(here / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
