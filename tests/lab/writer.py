#!/usr/bin/python3
"""A client that writes all the time, and then asks whether everything it was told is there.

It inserts rows numbered from 1 into a table, over persistent TLS connections with a client certificate, on one node of
a list; where a node does not answer within the patience, the same row goes to the next node. A row counts as
acknowledged when a server said so, once. At SIGTERM, SIGINT or when the stop file appears it reads the table on every
node that answers (waiting for causality) and prints one JSON summary:

  acknowledged, lost (row numbers that some node does not have), read (node -> rows found, or null),
  longest_gap (seconds between two acknowledged writes, when, the node before and after), gaps (the longest five),
  errors (node -> error -> count), writes (node -> acknowledged there), seconds

Usage: writer.py --nodes 10.0.0.1,10.0.0.2 [--ca F --cert F --key F] --user U --password-file F --database D --table T
                 [--patience 0.3] [--pause 0.005] [--stop FILE] [--ready FILE]
Needs python3-pymysql.
"""

import argparse
import collections
import json
import os
import signal
import sys
import time

import pymysql

DUPLICATE = 1062


def arguments():
    parser = argparse.ArgumentParser()
    for name in ["nodes", "user", "password-file", "database", "table"]:
        parser.add_argument(f"--{name}", required=True)
    for name in ["ca", "cert", "key"]:
        parser.add_argument(f"--{name}", help="all three, or a client without TLS")
    parser.add_argument("--patience", type=float, default=0.3, help="seconds without an answer before the next node")
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two writes")
    parser.add_argument("--stop", help="ends when this file appears")
    parser.add_argument("--ready", help="made after the first acknowledged write")
    return parser.parse_args()


class Writer:
    def __init__(self, options):
        self.options = options
        self.nodes = options.nodes.split(",")
        with open(options.password_file, encoding="utf-8") as file:
            self.password = file.read().rstrip("\n")
        self.connections = {}
        self.errors = collections.defaultdict(collections.Counter)
        self.writes = collections.Counter()
        self.acknowledged = []
        self.times = []  # (monotonic, wall clock, node)
        self.stopping = False

    def connect(self, node, patience):
        options = self.options
        tls = {"ca": options.ca, "cert": options.cert, "key": options.key, "check_hostname": True} if options.ca else None
        return pymysql.connect(
            host=node, user=options.user, password=self.password, database=options.database, autocommit=True,
            connect_timeout=patience, read_timeout=patience, write_timeout=patience,
            ssl=tls, ssl_disabled=tls is None,
        )

    def attempt(self, node, statement, retried):
        """Whether the row is there for good, by this node's word."""
        try:
            if node not in self.connections:
                self.connections[node] = self.connect(node, self.options.patience)
            with self.connections[node].cursor() as cursor:
                cursor.execute(statement)
            return True
        except (pymysql.Error, OSError) as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else type(error).__name__
            if code == DUPLICATE and retried:
                return True  # an earlier try got there, although nobody said so
            self.errors[node][str(code)] += 1
            connection = self.connections.pop(node, None)
            if connection is not None:
                connection._force_close()  # (an orderly end would wait for the server)
            return False

    def run(self):
        options = self.options
        current = 0
        row = 0
        while not self.stopping and not (options.stop and os.path.exists(options.stop)):
            row += 1
            retried = False
            while not self.stopping:
                node = self.nodes[current]
                statement = f"insert into {options.table} (id, node) values ({row}, '{node}')"
                if self.attempt(node, statement, retried):
                    self.acknowledged.append(row)
                    self.times.append((time.monotonic(), time.time(), node))
                    self.writes[node] += 1
                    break
                retried = True
                current = (current + 1) % len(self.nodes)
                if current == 0:
                    time.sleep(0.01)
            if row == 1 and self.acknowledged and options.ready:
                open(options.ready, "w", encoding="utf-8").close()
            time.sleep(options.pause)

    def gaps(self):
        pairs = zip(self.times, self.times[1:])
        found = [
            {"seconds": round(after[0] - before[0], 3), "began": clock(before[1]), "from": before[2], "to": after[2]}
            for before, after in pairs
        ]
        return sorted(found, key=lambda gap: -gap["seconds"])[:5]

    def read(self, node):
        try:
            connection = self.connect(node, 30)
            with connection.cursor() as cursor:
                cursor.execute("set session wsrep_sync_wait = 1")
                cursor.execute(f"select id from {self.options.table}")
                return {row[0] for row in cursor.fetchall()}
        except (pymysql.Error, OSError) as error:
            self.errors[node]["reading: " + str(error)[:200]] += 1
            return None

    def summary(self):
        read = {node: self.read(node) for node in self.nodes}
        answered = [rows for rows in read.values() if rows is not None]
        # Nobody who can be asked means that nothing is known to be there.
        there = set.intersection(*answered) if answered else set()
        lost = [row for row in self.acknowledged if row not in there]
        gaps = self.gaps()
        return {
            "acknowledged": len(self.acknowledged),
            "lost": len(lost),
            "lost_rows": lost[:20],
            "read": {node: None if rows is None else len(rows) for node, rows in read.items()},
            "longest_gap": gaps[0] if gaps else None,
            "gaps": gaps,
            "errors": {node: dict(counts) for node, counts in self.errors.items()},
            "writes": dict(self.writes),
            "seconds": round(self.times[-1][0] - self.times[0][0], 3) if self.times else 0,
        }


def clock(seconds):
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def main():
    writer = Writer(arguments())

    def stop(*_):
        writer.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    writer.run()
    json.dump(writer.summary(), sys.stdout)
    print()


if __name__ == "__main__":
    main()
