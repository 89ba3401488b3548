"""The desk's own world: its paper account, the broker account that it mirrors to, and the session they run.

What always holds: both accounts are found by name and scope on every start; only where the simulator listens changes.
"""

from __future__ import annotations

import os
from pathlib import Path

from trading.brokers.registry import SIMULATOR_OANDA_ACCOUNT
from trading.domain.session import SessionConfig, load_session
from trading.models import Account
from trading.services.setup import ensure_account

from .accounts import paper_account
from .live import LiveSetup

SHIPPED_SESSION = Path(__file__).resolve().parent.parent / "config" / "sessions.yaml"
PAPER, MIRROR = "desk-paper", "desk-oanda"


def session_file() -> SessionConfig:
    """The session that the desk runs: BACKOFFICE_SESSION (and BACKOFFICE_PROFILE), else the shipped one."""
    path = Path(os.environ.get("BACKOFFICE_SESSION") or SHIPPED_SESSION)
    return load_session(path.read_text(encoding="utf-8"), os.environ.get("BACKOFFICE_PROFILE") or "portfolio")


def ensure_desk(*, oanda_url: str) -> LiveSetup:
    """The desk's accounts, with the simulator's OANDA at `oanda_url`."""
    session = session_file()
    paper = paper_account(name=PAPER)
    mirror = ensure_account(
        name=MIRROR,
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=SIMULATOR_OANDA_ACCOUNT,
        currency="USD",
        endpoint=oanda_url,
        mirror_of=paper,
    )
    return LiveSetup(session=session, account=paper, feed_account=mirror)


def live_setups() -> list[LiveSetup]:
    """What the desk's workers trade: each active paper account with an active mirror of the desk's world."""
    mirrors = Account.objects.filter(is_active=True, scope="", mirror_of__is_active=True, mirror_of__scope="")
    rows = list(mirrors.select_related("mirror_of"))
    if not rows:
        return []
    session = session_file()
    return [
        LiveSetup(session=session, account=row.mirror_of, feed_account=row) for row in rows if row.mirror_of is not None
    ]
