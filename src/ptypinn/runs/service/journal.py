"""The journal of a service: every scan that it has met, with its state, in a small database on disk.

What was solved is read from here after a restart. The database is SQLite: whatever ends the process, the last complete
entry stands. Memory does not grow with the number of scans.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARRIVING, READY, SOLVING, FINISHED, FAILED, IGNORED = "arriving", "ready", "solving", "finished", "failed", "ignored"
STATES = (ARRIVING, READY, SOLVING, FINISHED, FAILED, IGNORED)
"""States of a scan: its file grows, it waits, it is being solved; solved, failed, or no scan at all."""
FILE = "scans.sqlite"
SCHEMA = """
create table if not exists scans (
    path blob primary key, round integer not null, modified_ns integer not null, state text not null,
    signature text not null, parts text not null default '[]', changed_s real not null, check_s real not null default 0,
    gap_s real not null default 0,
    run text not null default '', detail text not null default ''
) without rowid;
create table if not exists runs (
    run text primary key, scan blob not null, ended_s real not null, parts text not null,
    attempts integer not null default 0
) without rowid;
create index if not exists by_order on scans (state, round, modified_ns, path);
create index if not exists by_check on scans (state, check_s);
create index if not exists by_run on scans (run) where run <> '';
"""
FIELDS = "path, state, signature, parts, changed_s, gap_s, run, detail"
VERSION = 2
"""Version of the tables; a journal of another one is begun anew."""


@dataclass(frozen=True)
class Scan:
    """A scan on record."""

    path: str
    """Path of its file relative to the watched folder, or the name of a series."""
    state: str
    """One of `STATES`."""
    signature: str
    """Size and time of its files when they were looked at last."""
    parts: str
    """JSON list of the further files that it waits for."""
    changed_s: float
    """Time on the monotonic clock when its files were last found changed, seconds."""
    gap_s: float
    """Longest time between two changes of its files, seconds."""
    run: str
    """Name of its run folder; empty before it has one."""
    detail: str
    """Verdict, error, or the reason for waiting."""


class Journal:
    """The journal in a folder; that of a service that has died is gone on with.

    Args:
        folder: The folder; one process at a time may use it.
        now_s: Time on the monotonic clock, seconds.
    """

    def __init__(self, folder: Path, now_s: float) -> None:
        self.path = folder / FILE
        self.was_damaged = False
        try:
            self._open(now_s)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # a full disk, no access
                raise OSError(None, str(error), str(self.path)) from error
            self.was_damaged = True
            self._database.close()
            self.path.replace(self.path.with_suffix(".damaged"))
            self._open(now_s)

    def _open(self, now_s: float) -> None:
        # the lock of the folder keeps others out, also where the file system has none for databases
        self._database = sqlite3.connect(f"{self.path.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None)
        version = self._database.execute("pragma user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"version {version} of the journal")
        self._database.executescript(SCHEMA)
        self._database.execute(f"pragma user_version = {VERSION}")
        self.interrupted = [scan.run for scan in self._select("state = ?", (SOLVING,))]
        self._database.execute("update scans set state = ? where state = ?", (READY, SOLVING))
        self._database.execute("update scans set changed_s = ?, check_s = 0 where state = ?", (now_s, ARRIVING))
        last = self._database.execute("select max(round) from scans").fetchone()[0]
        self.round = 1 + (last or 0)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write all changes within the context at once."""
        self._database.execute("begin")
        try:
            yield
            self._database.execute("commit")
        except BaseException:  # a full disk too, which is found at the end
            if self._database.in_transaction:
                self._database.execute("rollback")
            raise

    def add(self, path: str, signature: str, modified_ns: int, now_s: float, state: str = ARRIVING) -> None:
        """Add a scan, in the current round: those of one round are solved in the order of their times."""
        self._database.execute(
            "insert or ignore into scans (path, round, modified_ns, state, signature, changed_s, check_s) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (os.fsencode(path), self.round, modified_ns, state, signature, now_s, now_s),
        )

    def find(self, path: str) -> Scan | None:
        """Return the record of a scan; None where there is none."""
        return next(self._select("path = ?", (os.fsencode(path),)), None)

    def change(self, path: str, **fields: Any) -> None:
        """Change fields of a record."""
        names = ", ".join(f"{name} = ?" for name in fields)
        self._database.execute(f"update scans set {names} where path = ?", (*fields.values(), os.fsencode(path)))

    def retry_failed(self, now_s: float) -> None:
        """Let scans that have failed be tried again; their times, maybe of another boot's clock, count from now."""
        values = (ARRIVING, now_s, FAILED)
        self._database.execute("update scans set state = ?, check_s = 0, changed_s = ? where state = ?", values)

    def drop(self, path: str) -> None:
        """Delete the record of a scan that was never solved, whose file is gone."""
        self._database.execute("delete from scans where path = ?", (os.fsencode(path),))

    def list_due(self, now_s: float, limit: int) -> list[Scan]:
        """Return scans that arrive and that are to be looked at now."""
        due = "state = ? and check_s <= ? order by check_s limit ?"
        return list(self._select(due, (ARRIVING, now_s, limit)))

    def next_ready(self) -> Scan | None:
        """Return the scan to solve next."""
        return next(self._select("state = ? order by round, modified_ns, path limit 1", (READY,)), None)

    def add_run(self, run: str, scan: str, ended_s: float, parts: str = "") -> None:
        """Add the finished run of a scan with the signature of its further files; one that is on record stays."""
        values = (run, os.fsencode(scan), ended_s, parts)
        self._database.execute("insert or ignore into runs (run, scan, ended_s, parts) values (?, ?, ?, ?)", values)

    def find_parts(self, run: str) -> str:
        """Return the signature of the further files that a run has solved; an empty text where there are none."""
        row = self._database.execute("select parts from runs where run = ?", (run,)).fetchone()
        return "" if row is None else str(row[0])

    def list_expired(self, n_runs: int, limit: int) -> list[tuple[str, str]]:
        """Return the oldest finished runs beyond a number of them, and their scans; first those tried the least."""
        beyond = "select * from runs order by ended_s desc, run limit -1 offset ?"
        query = f"select run, scan from ({beyond}) order by attempts, ended_s limit ?"
        return [(run, os.fsdecode(scan)) for run, scan in self._database.execute(query, (n_runs, limit))]

    def count_attempt(self, run: str) -> int:
        """Take note of a run that could not be deleted; return how often before."""
        before = self._database.execute("select attempts from runs where run = ?", (run,)).fetchone()
        self._database.execute("update runs set attempts = attempts + 1 where run = ?", (run,))
        return int(before[0])

    def drop_run(self, run: str) -> None:
        """Delete the record of a run, which is deleted or no longer that of the service."""
        self._database.execute("delete from runs where run = ?", (run,))

    def owner(self, run: str) -> str | None:
        """Return the scan that a run folder belongs to."""
        either = "select path from scans where run = ?1 union all select scan from runs where run = ?1 limit 1"
        row = self._database.execute(either, (run,)).fetchone()
        return None if row is None else os.fsdecode(row[0])

    def count(self) -> Mapping[str, int]:
        """Return the number of scans by state."""
        counts = dict(self._database.execute("select state, count(*) from scans group by state"))
        return {state: counts.get(state, 0) for state in STATES}

    def _select(self, condition: str, values: tuple[Any, ...]) -> Iterator[Scan]:
        for path, *others in self._database.execute(f"select {FIELDS} from scans where {condition}", values):
            yield Scan(os.fsdecode(path), *others)
