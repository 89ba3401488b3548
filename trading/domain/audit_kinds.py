"""Every kind of audit event there is: how loud it is, what it says to people, and what its before and after hold.

What always holds: nothing is recorded under a kind that does not stand here; a kind's sentence is made of the event
alone, so that the trail reads the same in ten years; no kind has a place for a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How loud an event is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class UnknownKind(ValueError):
    """Nothing may be recorded under a kind that is not in the registry."""


@dataclass(frozen=True, slots=True)
class AuditKind:
    """One kind of event. `fields` are the names that its before and after may hold; FIELDS says what each means."""

    name: str
    sentence: str
    level: Level = Level.INFO
    fields: frozenset[str] = frozenset()


FIELDS: dict[str, str] = {
    "account": "account", "accounts": "accounts", "accepted": "accepted cases", "active": "may sign in",
    "action": "resolution", "address": "address", "amount": "amount", "at": "time", "attempts": "attempts",
    "block": "block of the chain", "body": "content", "books_positions": "positions in the books", "broker": "broker",
    "broker_order_id": "broker's id", "broker_positions": "positions at the broker", "cases": "cases",
    "changed": "what was changed",
    "cleared": "cleared cases", "client_order_id": "client order id", "closed": "closed cases",
    "closed_at": "closed at", "commodity": "commodity", "complete_parts": "complete parts",
    "counter_amount": "amount of the other side",
    "counter_currency": "currency of the other side", "crontab": "times", "currency": "currency", "day": "day",
    "difference": "difference", "discrepancy": "case", "door": "part of the site", "email": "e-mail address",
    "enabled": "switched on", "endpoint": "address of the broker", "entries": "entries", "entry": "entry",
    "environment": "environment", "events": "events", "exit": "kind of exit", "expires_at": "expires at",
    "external_id": "broker's number", "files": "files", "findings": "findings", "first_name": "first name",
    "flattened": "closed positions", "format": "format", "freeze_quantity": "freeze quantity", "groups": "groups",
    "hash": "hash", "file": "file",
    "head": "head of the chain",
    "instrument": "instrument", "interval": "interval", "kind": "kind", "last_name": "last name", "level": "level",
    "lift_reason": "why it was lifted", "lifted_at": "lifted at", "linked": "linked", "lot_method": "lot method",
    "method": "method", "mirror_of": "mirrors", "mirror_scale": "scale of the mirror", "missed": "missed runs",
    "mode": "mode", "name": "name", "not_written": "events not written", "notes": "notes", "number": "number",
    "cut": "last entry",
    "opened": "opened cases", "orders": "orders", "path": "address of the page", "payload_sha256": "SHA-256 of payload",
    "permissions": "single rights", "person": "person", "pid": "process", "policy": "policy", "price": "price",
    "program": "part", "projections": "projections", "proposal": "proposal", "quantity": "quantity", "queue": "queue",
    "year": "year", "restated": "restated entries",
    "result": "what it did",
    "labels": "labels", "owner": "owner", "related": "related case",
    "realised": "realised", "reopened": "reopened cases", "replaces": "replaces entry", "reverses": "reverses entry",
    "rows": "rows", "run": "run", "scope": "scope", "sha256": "SHA-256", "side": "side", "sink": "where it is kept",
    "source": "source", "split": "split", "staff": "may use these screens", "standing": "standing", "state": "state",
    "status": "status", "strategy": "strategy", "subject": "about", "superuser": "superuser", "suspected": "suspicions",
    "symbols": "instruments", "tag": "leg", "task": "task", "tick_size": "tick",
    "time_zone": "time zone", "tolerances": "tolerances",
    "transaction": "transaction", "trigger": "trigger", "units": "units", "until": "until", "username": "user name",
    "verdict": "verdict", "version": "version", "wait_seconds": "seconds to wait", "last_run": "last run",
    "since": "since",
}  # fmt: skip
"""What people call each name that a before or after may hold."""

_W, _C = Level.WARNING, Level.CRITICAL
_ACCOUNT = "name broker environment mode external_id scope currency time_zone lot_method policy mirror_of mirror_scale"
_ACCOUNT += " endpoint active"
_USER = "username person active staff superuser groups email first_name last_name changed"
_RUN = "status trigger findings suspected opened reopened closed cleared accepted flattened linked broker_positions"
_RUN += " books_positions notes tolerances complete_parts wait_seconds"
_LIMIT = "level source until scope strategy instrument lifted_at lift_reason"
_CASE = "state version"
_SCHEDULE = "name task interval crontab queue enabled"


def _kind(name: str, sentence: str, fields: str = "", level: Level = Level.INFO) -> AuditKind:
    return AuditKind(name, sentence, level, frozenset(fields.split()))


_ALL = (
    # --- what trades -------------------------------------------------------------------------------------------------
    _kind("decision.made", "{who} decided on {about}: {after_verdict}", "verdict units"),
    _kind("order.planned", "{who} planned {about}", "client_order_id quantity tag state side instrument price"),
    _kind("order.moved", "{about} went from {before_state} to {after_state}: {reason}", "state"),
    _kind("order.resized", "{about} rests with {after_quantity} at {after_price} now: {reason}", "quantity price"),
    _kind("order.replaced", "{about} goes on as {after_broker_order_id} at its broker", "broker_order_id"),
    _kind("exit.planned", "{who} wants to leave {about}: {reason}", "exit state"),
    _kind("order_group.unsafe", "{about} is not protected: {reason}", "state", _W),
    _kind("order_group.safe", "{about} is protected again", "state"),
    _kind("work.given_up", "{about} was tried {after_attempts} times and given up; a person must look", "attempts", _C),
    # --- what moves money --------------------------------------------------------------------------------------------
    _kind("fill.booked", "{who} booked {about}", "entry realised external_id split restated"),
    _kind("fill.settled", "{about} was paid: {after_amount} {after_currency}", "entry amount currency"),
    _kind("cash.booked", "{who} booked {about}",
          "kind amount currency counter_amount counter_currency instrument entry external_id"),
    _kind("entry.posted", "{who} posted {about}: {reason}", "entry kind amount currency commodity"),
    _kind("entry.reversed", "{who} reversed {about}: {reason}", "entry reverses proposal kind", _W),
    _kind("entry.replaced", "{who} put another entry in the place of {about}: {reason}", "entry replaces proposal kind",
          _W),
    _kind("lots.restated", "{who} restated lots because of {about}: {reason}", "entry rows instrument entries"),
    _kind("day.closed", "{who} closed {after_day}: later entries in it need a resolution", "day run account"),
    _kind("run.signed_off", "{who} signed {about} off as {after_standing}: {reason}", "day run standing"),
    # --- what people decide ------------------------------------------------------------------------------------------
    _kind("proposal.made", "{who} proposed {after_kind}: {reason}", "kind payload_sha256 subject expires_at"),
    _kind("proposal.approve", "{who} approved {about}", "verdict payload_sha256 standing"),
    _kind("proposal.reject", "{who} rejected {about}: {reason}", "verdict payload_sha256 standing"),
    _kind("proposal.withdraw", "{who} withdrew {about}: {reason}", "verdict payload_sha256 standing"),
    _kind("proposal.applied", "{about} was carried out by {who}", "standing result"),
    _kind("restriction.put", "{who} limited trading to {after_level}: {reason}", _LIMIT, _W),
    _kind("restriction.lifted", "{who} lifted {about}: {reason}", _LIMIT),
    # --- differences with the broker ---------------------------------------------------------------------------------
    _kind("reconciliation.run", "{about} ended {after_status}: {after_findings} findings", _RUN),
    _kind("reconciliation.failed", "{about} failed: {reason}", "status trigger", _W),
    _kind("reconciliation.overdue", "{reason}", "missed", _W),
    _kind("reconciliation.stalled", "{reason}", "since last_run", _W),
    _kind("reconciliation.resumed", "{reason}", "run"),
    _kind("reconciliation.requested", "{who} asked for a run of {about}"),
    _kind("statement.lines_stored", "{who} stored lines of a statement ahead of it: {reason}", "rows sha256"),
    _kind("statement.imported", "{who} imported {about}: {reason}", "kind format rows sha256 replaces"),
    _kind("discrepancy.seen", "{about} was seen for the first time", _CASE),
    _kind("discrepancy.opened", "{about} was confirmed: {reason}", _CASE),
    _kind("discrepancy.changed", "{about} has changed: {reason}", _CASE),
    _kind("discrepancy.cleared", "{about} has gone by itself", _CASE),
    _kind("discrepancy.reopened", "{about} came back: {reason}", _CASE),
    _kind("discrepancy.closed", "{about} is resolved: {reason}", _CASE),
    _kind("discrepancy.accepted", "{about} stands as accepted", _CASE),
    _kind("discrepancy.acceptance_ended", "{about} is no longer what was accepted: {reason}", _CASE),
    _kind("discrepancy.not_cured", "{about} is still there after its resolution: {reason}", _CASE),
    _kind("discrepancy.not_flattened", "{about} was not closed at the broker: {reason}", _CASE, _W),
    _kind("discrepancy.proposed", "{who} proposed a resolution of {about}: {reason}", _CASE),
    _kind("discrepancy.approved", "{who} approved the resolution of {about}", _CASE),
    _kind("discrepancy.rejected", "{who} rejected the resolution of {about}: {reason}", _CASE),
    _kind("discrepancy.withdrawn", "{who} withdrew the resolution of {about}: {reason}", _CASE),
    _kind("discrepancy.expired", "the proposal about {about} expired", _CASE),
    _kind("discrepancy.applied", "the resolution of {about} was carried out: {reason}", _CASE),
    _kind("discrepancy.not_applied", "the resolution of {about} was not carried out: {reason}", _CASE),
    _kind("discrepancy.assigned", "{who} made {about} the case of {after_owner}", "owner"),
    _kind("discrepancy.labelled", "{who} labelled {about}: {after_labels}", "labels"),
    _kind("discrepancy.commented", "{who} wrote on {about}: {reason}"),
    _kind("discrepancy.related", "{who} related {about} to case {after_related}: {reason}", "related"),
    _kind("discrepancy.reopened_by_person", "{who} reopened {about}: {reason}", _CASE),
    # --- accounts, instruments, settings -----------------------------------------------------------------------------
    _kind("account.opened", "{who} opened {about}", _ACCOUNT),
    _kind("account.changed", "{who} changed {about}: {reason}", _ACCOUNT),
    _kind("config.added", "{who} added {after_kind} {about}", "kind name sha256"),
    _kind("instrument.changed", "{about} has other limits at its broker now", "tick_size freeze_quantity"),
    _kind("instruments.added", "{who} added the instruments {after_symbols}", "symbols"),
    _kind("instrument.renamed", "{who} renamed {before_name} to {after_name}: {reason}", "name instrument broker"),
    _kind("schedule.changed", "{who} changed the schedule of {about}", _SCHEDULE),
    _kind("schedule.removed", "{who} removed {about} from the schedule", _SCHEDULE),
    # --- people and doors --------------------------------------------------------------------------------------------
    _kind("user.added", "{who} added the user {about}: {reason}", _USER),
    _kind("user.changed", "{who} changed the user {about}", _USER),
    _kind("user.groups_changed", "{who} changed the groups of {about}", "groups"),
    _kind("user.rights_changed", "{who} changed single rights of {about}", "permissions", _W),
    _kind("user.password_changed", "{who} set a new password for {about}", "changed"),
    _kind("user.removed", "{who} removed the user {about}", _USER, _C),
    _kind("person.added", "{who} added the person {about}", "name"),
    _kind("person.changed", "{who} changed the person {about}", "name"),
    _kind("person.removed", "{who} removed the person {about}", "name", _W),
    _kind("group.added", "{who} added the group {about}", "name permissions", _W),
    _kind("group.changed", "{who} changed the group {about}", "name permissions", _W),
    _kind("group.removed", "{who} removed the group {about}", "name permissions", _W),
    _kind("grant.changed", "{who} changed what {about} may see or do", "level account person username", _W),
    _kind("signin.succeeded", "{who} signed in", "address door"),
    _kind("signin.failed", "somebody at {after_address} failed to sign in: {reason}", "address door not_written", _W),
    _kind("signin.flood", "too many failed sign-ins from {after_address}; further ones of this minute are not written",
          "address number", _W),
    _kind("signin.ended", "{who} signed out", "address door"),
    _kind("access.denied", "{who} was refused {after_method} {after_path}", "method path address not_written", _W),
    _kind("access.flood", "too many refusals for {after_address}; further ones of this minute are not written",
          "address number", _W),
    # --- the desk itself ---------------------------------------------------------------------------------------------
    _kind("process.started", "{after_program} started, version {after_version}", "program version pid"),
    _kind("notification.sent", "a message was sent: {about}", "state attempts"),
    _kind("notification.unknown", "a message may have arrived or not: {about}", "state attempts", _W),
    _kind("notification.planned", "a message could not be sent and is tried again: {about}", "state attempts", _W),
    _kind("notification.refused", "a message could not be sent and was given up: {about}", "state attempts", _W),
    _kind("digest.made", "{who} made the digest of {after_day}", "day files account"),
    _kind("books.exported", "{who} exported books to {after_file}",
          "format file year cut rows sha256 account accounts entries day until"),
    _kind("projections.rebuilt", "{who} rebuilt {after_projections} from the facts",
          "projections rows account accounts difference changed"),
    _kind("chain.anchored", "the head of the chain, block {after_number}, was written down outside the database",
          "number hash sink block head"),
    _kind("chain.broken", "the chain does not hold: {reason}", "number block head hash", _C),
    _kind("backup.made", "{who} made a backup", "files number hash head sha256"),
    _kind("backup.restored", "{who} restored a backup", "files number hash head sha256", _W),
    _kind("demo.planted", "the demo day planted a difference: {reason}", "difference"),
    _kind("demo.revealed", "the demo day undid what it had hidden: {reason}", "difference"),
)  # fmt: skip
KINDS: dict[str, AuditKind] = {kind.name: kind for kind in _ALL}
"""The registry, by name."""


def kind_of(name: str) -> AuditKind:
    """The kind of that name. Raises UnknownKind."""
    found = KINDS.get(name)
    if found is None:
        raise UnknownKind(
            f"{name!r} is no kind of audit event, so nothing was recorded and nothing was changed. Add it to "
            "trading/domain/audit_kinds.py with the sentence that people read."
        )
    return found


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(
    kind: str, *, who: str, about: str, reason: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> str:
    """What an event says, in words; of a kind that is no longer in the registry only who and about what."""
    found = KINDS.get(kind)
    if found is None:
        return f"{who}: {kind.replace('.', ' ').replace('_', ' ')} {about}".strip()
    words = _Words(who=who or "somebody", about=about or "it", reason=reason or "no reason given")
    words.update({f"before_{name}": _told(value) for name, value in before.items()})
    words.update({f"after_{name}": _told(value) for name, value in after.items()})
    return found.sentence.format_map(words)


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_told(item) for item in value)
    return "nothing" if value is None or value == "" else str(value)


def field_name(name: str) -> str:
    """What people call a name that a before or after holds."""
    return FIELDS.get(name, name.replace("_", " "))
