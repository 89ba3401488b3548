"""The rows that must exist before anything trades: instruments, policies, accounts.

What always holds: each function finds what is there and adds only what is missing; a config version never changes.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from django.db import transaction

from trading.clock import wall_now
from trading.domain.canonical import sha256_hex
from trading.domain.instruments import BUILT_IN, InstrumentSpec
from trading.domain.policy import load_policy
from trading.domain.session import SessionConfig
from trading.models import Account, ConfigVersion, Instrument, InstrumentAlias

from . import audit
from .audit import Actor
from .errors import RuleBroken

POLICIES = Path(__file__).resolve().parent.parent / "config" / "policies"
ACTOR = Actor.system("setup")


def ensure_instruments() -> None:
    """The built-in instruments with the names that brokers have for them."""
    known = set(Instrument.objects.values_list("symbol", flat=True))
    missing = [spec for spec in BUILT_IN.values() if spec.symbol not in known]
    if not missing:
        return
    with transaction.atomic():
        added = []
        for spec in missing:
            instrument, is_new = Instrument.objects.get_or_create(
                symbol=spec.symbol,
                defaults={
                    "base": spec.base,
                    "quote": spec.quote,
                    "pip_size": spec.pip_size,
                    "price_decimals": spec.price_decimals,
                    "tick_size": spec.tick_size,
                    "lot_size": spec.lot_size,
                    "min_units": spec.min_units,
                    "max_units": spec.max_units,
                    "freeze_quantity": spec.freeze_quantity,
                    "multiplier": spec.multiplier,
                    "is_margin": spec.margin,
                },
            )
            for broker, symbol in _names(spec):
                InstrumentAlias.objects.get_or_create(
                    broker=broker,
                    symbol=symbol,
                    valid_until=None,
                    defaults={"instrument": instrument, "valid_from": wall_now()},
                )
            if is_new:
                added.append(spec.symbol)
        if added:
            audit.record(kind="instruments.added", actor=ACTOR, after={"symbols": added})


def _names(spec: InstrumentSpec) -> list[tuple[str, str]]:
    """Which brokers trade it, and what they call it."""
    if spec.margin:
        return [(Account.Broker.OANDA, f"{spec.base}_{spec.quote}")]
    if spec.quote == "INR":
        return [(Account.Broker.KITE, f"NSE:{spec.symbol}")]
    return [(Account.Broker.ALPACA, spec.symbol)] if spec.quote == "USD" else []


@transaction.atomic
def ensure_version(*, kind: str, name: str, body: str) -> ConfigVersion:
    """The config version with this content."""
    digest = sha256_hex(body)
    found = ConfigVersion.objects.filter(kind=kind, sha256=digest).first()
    if found is not None:
        return found
    version, is_new = ConfigVersion.objects.get_or_create(
        kind=kind, sha256=digest, defaults={"name": name, "body": body, "at": wall_now()}
    )
    if is_new:
        after = {"kind": kind, "name": name, "sha256": digest}
        audit.record(kind="config.added", actor=ACTOR, obj=version, after=after)
    return version


def ensure_policy(name: str = "fx") -> ConfigVersion:
    """The shipped policy of that name, as a config version."""
    policy = load_policy((POLICIES / f"{name}.yaml").read_text(encoding="utf-8"))
    return ensure_version(kind=ConfigVersion.Kind.POLICY, name=name, body=policy.canonical)


def ensure_session(session: SessionConfig) -> ConfigVersion:
    """The session as a config version: what every decision under it names."""
    return ensure_version(kind=ConfigVersion.Kind.SESSION, name=session.profile, body=session.canonical)


@transaction.atomic
def ensure_account(
    *,
    name: str,
    broker: str,
    environment: str,
    external_id: str,
    currency: str,
    scope: str = "",
    endpoint: str = "",
    time_zone: str = "UTC",
    mirror_of: Account | None = None,
    mirror_scale: Decimal = Decimal(1),
    policy: ConfigVersion | None = None,
    opened_at: datetime | None = None,
) -> Account:
    """The account at a broker, made on first use; its endpoint and what it mirrors are kept up to date."""
    ensure_instruments()
    account = Account.objects.filter(
        broker=broker, environment=environment, scope=scope, external_id=external_id
    ).first()
    if account is None:
        account = Account.objects.create(
            name=name,
            broker=broker,
            environment=environment,
            external_id=external_id,
            scope=scope,
            currency=currency,
            time_zone=time_zone,
            policy=policy or ensure_policy(),
            mirror_of=mirror_of,
            mirror_scale=mirror_scale,
            endpoint=endpoint,
            opened_at=opened_at or wall_now(),
        )
        audit.record(
            kind="account.opened",
            actor=ACTOR,
            account=account,
            obj=account,
            after=facts_of(account),
            at=account.opened_at,
        )
        return account
    if mirror_of is not None and account.mirror_of_id not in (None, mirror_of.pk):
        raise RuleBroken(
            f"{account.name} already mirrors {account.mirror_of}, whose open trades would be followed by nobody. "
            "Nothing was changed. Use another broker account, or run without a mirror."
        )
    standing = facts_of(account)
    account.endpoint = endpoint or account.endpoint
    account.mirror_of = mirror_of or account.mirror_of
    before, after = audit.changes(standing, facts_of(account))
    if after:
        account.save(update_fields=["endpoint", "mirror_of"])
        audit.record(kind="account.changed", actor=ACTOR, account=account, obj=account, before=before, after=after)
    return account


def facts_of(account: Account) -> dict[str, object]:
    """What the trail tells of an account."""
    return {
        "name": account.name,
        "broker": account.broker,
        "environment": account.environment,
        "mode": account.mode,
        "external_id": account.external_id,
        "scope": account.scope,
        "currency": account.currency,
        "time_zone": account.time_zone,
        "lot_method": account.lot_method,
        "policy": str(account.policy),
        "mirror_of": account.mirror_of.name if account.mirror_of is not None else "",
        "mirror_scale": account.mirror_scale,
        "endpoint": account.endpoint,
        "active": account.is_active,
    }


@transaction.atomic
def retire(*, name: str, reason: str, actor: Actor) -> None:
    """Switch an account off: nothing is asked of its broker any more. One that is off, or not there, stays so."""
    account = Account.objects.select_for_update(no_key=True).filter(name=name, is_active=True).first()
    if account is None:
        return
    account.is_active = False
    account.save(update_fields=["is_active"])
    audit.record(
        kind="account.changed",
        actor=actor,
        account=account,
        obj=account,
        before={"active": True},
        after={"active": False},
        reason=reason,
    )
