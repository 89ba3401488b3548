"""The desk's own world: its paper accounts, the broker accounts that they mirror to, and the sessions they run.

What always holds: accounts are found by name and scope on every start; only where the simulator listens changes. Each
broker has a paper account of its own, because what is traded where, when and with which limits differs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trading.brokers.registry import (
    SIMULATOR_ALPACA_ACCOUNT,
    SIMULATOR_KITE_ACCOUNT,
    SIMULATOR_OANDA_ACCOUNT,
    simulator_url,
)
from trading.domain.session import BadSettings, SessionConfig, load_session
from trading.models import Account
from trading.services.setup import ensure_account, ensure_policy

from .accounts import session_account
from .live import LiveSetup

CONFIG = Path(__file__).resolve().parent.parent / "config"
SHIPPED_SESSION, DEMO_SESSION = CONFIG / "sessions.yaml", CONFIG / "demo.yaml"
DEMO_POLICY = "demo"
PAPER, MIRROR = "desk-paper", "desk-oanda"


@dataclass(frozen=True, slots=True)
class Venue:
    """One broker of the desk: its accounts, and the profile of the session file that runs there."""

    broker: str
    profile: str
    paper: str
    mirror: str
    external_id: str


VENUES = (
    Venue(Account.Broker.OANDA, "portfolio", PAPER, MIRROR, SIMULATOR_OANDA_ACCOUNT),
    Venue(Account.Broker.ALPACA, "portfolio_us", "desk-us-paper", "desk-alpaca", SIMULATOR_ALPACA_ACCOUNT),
    Venue(Account.Broker.KITE, "portfolio_india", "desk-in-paper", "desk-kite", SIMULATOR_KITE_ACCOUNT),
)


def is_demo() -> bool:
    """Whether the desk runs its demo day."""
    return bool(os.environ.get("BACKOFFICE_DEMO"))


def session_of(venue: Venue) -> SessionConfig | None:
    """What runs at a venue: a profile of BACKOFFICE_SESSION, else of the shipped file; None when it has none for it.

    BACKOFFICE_PROFILE names another profile for the first venue. Raises BadSettings when that is missing.
    """
    shipped = DEMO_SESSION if is_demo() else SHIPPED_SESSION
    text = Path(os.environ.get("BACKOFFICE_SESSION") or shipped).read_text(encoding="utf-8")
    wanted = os.environ.get("BACKOFFICE_PROFILE") if venue is VENUES[0] else None
    if wanted:
        return load_session(text, wanted)
    load_session(text, VENUES[0].profile)  # a file that cannot be used is never passed over in silence
    try:
        return load_session(text, venue.profile)
    except BadSettings:
        return None


def ensure_desk(*, control_url: str) -> list[LiveSetup]:
    """The desk's accounts at the simulator that is controlled from `control_url`."""
    policy = ensure_policy(DEMO_POLICY) if is_demo() else None
    made = []
    for venue in VENUES:
        endpoint = simulator_url(control_url, venue.broker.lower())
        session = session_of(venue)
        if session is None:
            # Nothing trades there today, but what was traded there before is still reconciled, at today's address.
            for standing in Account.objects.filter(name=venue.mirror, scope=""):
                ensure_account(
                    name=standing.name,
                    broker=standing.broker,
                    environment=standing.environment,
                    external_id=standing.external_id,
                    currency=standing.currency,
                    endpoint=endpoint,
                )
            continue
        paper = session_account(session, name=venue.paper, policy=policy)
        mirror = ensure_account(
            name=venue.mirror,
            broker=venue.broker,
            environment=Account.Environment.SIMULATOR,
            external_id=venue.external_id,
            currency=session.currency,
            time_zone=paper.time_zone,
            endpoint=endpoint,
            mirror_of=paper,
            policy=paper.policy,
        )
        made.append(LiveSetup(session=session, account=paper, feed_account=mirror))
    return made


def live_setups() -> list[LiveSetup]:
    """What the desk's workers trade: each active paper account with an active mirror of the desk's world."""
    mirrors = Account.objects.filter(is_active=True, scope="", mirror_of__is_active=True, mirror_of__scope="")
    rows = list(mirrors.select_related("mirror_of").order_by("id"))
    if not rows:
        return []
    sessions = {venue.broker: session_of(venue) for venue in VENUES}
    return [
        LiveSetup(session=session, account=row.mirror_of, feed_account=row)
        for row in rows
        if row.mirror_of is not None and (session := sessions.get(row.broker)) is not None
    ]
