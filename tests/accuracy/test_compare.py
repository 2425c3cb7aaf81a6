#!/usr/bin/env python3
"""What compare.py calls equal, different and unknown. No hosts are needed; the lab suite's sample runs it, too."""

import sys

sys.dont_write_bytecode = True

import unittest

import compare

CERTIFICATE = "subject: /CN=a\nvalid from: {} 10:00 UTC\nvalid to: {} {} UTC\nserial: {}\n"


def event(status="ok", task="t", host="a", item=None, changes=(), action="ansible.builtin.copy", notified=(), msg=""):
    return {"event": "task_done" if item is None else "item_done", "host": host, "status": status, "item": item,
            "task": {"name": task, "action": action, "place": "x.yml:1:1"}, "changes": list(changes),
            "notified": list(notified), "msg": msg}


def change(name, after, aspect="content", domain="file"):
    return {"subject": {"domain": domain, "name": name}, "kind": {"set": {"aspect": aspect, "before": "absent", "after": after}}}


def words(check, real):
    return [verdict.word for verdict in compare.compare("c", compare.results(check), compare.results(real))]


class Compare(unittest.TestCase):
    def both(self, expected, check, real):
        self.assertEqual(words(check, real), expected)

    def test_statuses_changes_and_handlers(self):
        self.both(["equal"], [event()], [event()])
        self.both(["different"], [event()], [event("changed")])
        self.both(["different"], [event("changed", notified=["h"])], [event("changed")])
        one, two = change("/a", {"text": "1"}), change("/a", {"text": "2"})
        self.both(["equal"], [event("changed", changes=[one])], [event("changed", changes=[one])])
        self.both(["different"], [event("changed", changes=[one])], [event("changed", changes=[two])])
        self.both(["different", "equal"], [event(task="u"), event()], [event()])
        self.both(["equal", "different"], [event()], [event(), event(task="u")])

    def test_what_was_not_told_is_unknown_and_counted(self):
        self.both(["unknown"], [event("unknown")], [event("changed")])
        # Items that the check did not know: each of them, and not the task besides.
        items = [event("changed", item=name) for name in "xyz"]
        self.both(["unknown"] * 3, [event("unknown")], [*items, event("changed")])
        self.both(["unknown"], [event("unknown")], [])
        # A part of the items was known.
        self.both(["equal", "unknown", "unknown"], [event("changed", item="x"), event("unknown", item="y"), event("unknown")],
                  [event("changed", item=name) for name in "xyz"])

    def test_a_lifetime_counts_and_its_dates_do_not(self):
        def issued(began, ends, hour="10:00", serial="01"):
            told = CERTIFICATE.format(began, ends, hour, serial)
            return [event("changed", changes=[change("cert", {"text": told}, domain="pki")], action="deploy.builtin.pki_certificate")]

        planned = issued("2026-01-01", "2026-04-01")
        self.both(["equal"], planned, issued("2026-01-02", "2026-04-02", serial="02"))
        self.both(["equal"], planned, issued("2026-01-01", "2026-04-01", "10:01"))
        self.both(["different"], planned, issued("2026-01-01", "2026-04-03"))

    def test_new_is_a_set_only_where_sets_are_made(self):
        serial = "056e07476c73b9d4bde51993c223c077"
        for action, expected in (("deploy.builtin.pki_certificate", "equal"), ("ansible.builtin.copy", "different")):
            made = lambda name: [event("changed", changes=[change(f"/etc/tls/{name}/x", {"text": "1"})], action=action)]
            self.both([expected], made("new"), made(serial))
            self.both(["equal"], made("new"), made("new"))

    def test_the_order_counts(self):
        one, two, three = event(task="1"), event(task="2"), event(task="3")
        self.both(["equal"] * 3, [one, two, three], [one, two, three])
        self.assertIn("different", words([one, two, three], [two, three, one]))


if __name__ == "__main__":
    unittest.main()
