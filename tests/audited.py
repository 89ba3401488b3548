"""Watches every test that touches the database: what changes without an audit event in its transaction is a failure.

It looks at the statements that Django sends and at the transactions (the outermost ones that begin inside the test):
whoever writes a watched table writes an audit event before that transaction ends, and no event holds a field that its
kind does not declare. Rows that the test itself makes by
hand are nobody's change: only statements with a frame of the project on the stack count.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections, transaction
from django.db.backends.signals import connection_created

from trading.domain.audit_kinds import KINDS

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(f"{ROOT}/{room}/" for room in ("trading", "reconciliation", "backoffice"))
POSTING = "/trading/services/ledger.py"
FACTS = (
    "trading_signal", "trading_decision", "trading_exitintent", "trading_orderevent", "trading_orderalias",
    "trading_fill", "trading_cashevent", "trading_entry", "trading_closedday", "trading_proposal", "trading_approval",
    "trading_application", "trading_configversion", "trading_restriction", "trading_account", "trading_instrument",
    "trading_user", "trading_user_groups", "trading_user_user_permissions", "trading_person", "trading_accountgrant",
    "reconciliation_run", "reconciliation_signoff", "reconciliation_discrepancy", "reconciliation_discrepancyevent",
    "reconciliation_statement", "reconciliation_statementline",
)  # fmt: skip
"""The tables that nothing may change silently. Others are projections, machine state, or evidence of the broker's."""
_WRITE = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?([a-z_]+)"?', re.IGNORECASE)
_POST = re.compile(r"\s*SELECT\s+ledger_post(?:_many)?\s*\(")
_SIGN_IN = re.compile(r'UPDATE "trading_user" SET "last_login" = \S+ WHERE', re.IGNORECASE)


class Watch:
    """What was written in each open transaction of each connection; what was silent, and what was not declared."""

    def __init__(self) -> None:
        self.silent: list[str] = []
        self.undeclared: list[str] = []
        self._open: dict[Any, list[tuple[set[str], list[bool]]]] = {}
        self._tests_own: dict[Any, tuple[set[str], list[bool]]] = {}

    def wrapper(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Look at one statement on its way."""
        answer = execute(sql, params, many, context)
        text = sql if isinstance(sql, str) else ""
        found = _WRITE.match(text)
        table = found.group(1).lower() if found else "trading_entry" if _POST.search(text) else ""
        if table == "trading_auditevent":
            self._innermost(context["connection"])[1][0] = True
        elif table in FACTS and not _SIGN_IN.match(text) and _is_ours():
            if context["connection"].in_atomic_block:
                self._innermost(context["connection"])[0].add(table)
            else:
                self.silent.append(f"{table}, outside any transaction: {text[:120]}")
        return answer

    def _innermost(self, connection: Any) -> tuple[set[str], list[bool]]:
        """The innermost open transaction; the test's own where a test calls what needs its caller's transaction."""
        standing = self._open.get(connection)
        return standing[-1] if standing else self._tests_own.setdefault(connection, (set(), [False]))

    def finish(self) -> None:
        """The test is over, and with it the transaction that is rolled back."""
        self.silent += [", ".join(sorted(written)) for written, audited in self._tests_own.values() if not audited[0]]

    def entered(self, connection: Any) -> None:
        """A transaction or savepoint begins."""
        self._open.setdefault(connection, []).append((set(), [False]))

    def left(self, connection: Any, *, failed: bool) -> None:
        """It ends; what it wrote is its outer one's, or must have been audited."""
        standing = self._open.get(connection)
        if not standing:
            return
        written, audited = standing.pop()
        if failed:
            return
        if standing:
            standing[-1][0].update(written)
            standing[-1][1][0] |= audited[0]
        elif written and not audited[0]:
            self.silent.append(", ".join(sorted(written)))


def _is_ours() -> bool:
    """Whether the test called the project for this; one that posts to the bare ledger tests the ledger alone."""
    frame: Any = sys._getframe(2)
    called = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS) and "/models/" not in name and "/migrations/" not in name:
            called = name
        frame = frame.f_back
    return bool(called) and not called.endswith(POSTING)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch all connections of all threads for the length of a block."""
    watch = Watch()
    from trading.services import audit  # not before Django is set up

    enter, leave, told = transaction.Atomic.__enter__, transaction.Atomic.__exit__, audit._event

    def entering(self: Any) -> None:
        enter(self)
        if not self._from_testcase:  # pytest-django's own, around a test that is rolled back
            watch.entered(transaction.get_connection(self.using))

    def leaving(self: Any, kind: Any, value: Any, trace: Any) -> None:
        connection = transaction.get_connection(self.using)
        failed = kind is not None or connection.needs_rollback
        try:
            leave(self, kind, value, trace)
        except BaseException:
            failed = True
            raise
        finally:
            if not self._from_testcase:
                watch.left(connection, failed=failed)

    def made(connection: Any, **_: Any) -> None:
        if watch.wrapper not in connection.execute_wrappers:
            connection.execute_wrappers.append(watch.wrapper)

    def telling(draft: Any, secrets: list[str]) -> Any:
        instance = told(draft, secrets)
        known = KINDS[instance.kind].fields if instance.kind in KINDS else frozenset()
        unknown = {*instance.before, *instance.after} - known
        if unknown and instance.kind in KINDS:
            watch.undeclared.append(f"{instance.kind}: {', '.join(sorted(unknown))}")
        return instance

    connection_created.connect(made)
    for connection in connections.all(initialized_only=True):
        made(connection)
    transaction.Atomic.__enter__, transaction.Atomic.__exit__ = entering, leaving  # type: ignore[method-assign]
    audit._event = telling
    try:
        yield watch
        watch.finish()
    finally:
        transaction.Atomic.__enter__, transaction.Atomic.__exit__ = enter, leave  # type: ignore[method-assign]
        audit._event = told
        connection_created.disconnect(made)
        for connection in connections.all(initialized_only=True):
            if watch.wrapper in connection.execute_wrappers:
                connection.execute_wrappers.remove(watch.wrapper)
