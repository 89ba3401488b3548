"""`manage.py live_oanda`: the portfolio engine with its decisions mirrored to a broker's account; reconciles first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from backoffice.desk.paths import DeskError
from backoffice.desk.stage import own_simulator
from reconciliation.engine.run import run_reconciliation
from trading.brokers.registry import (
    SIMULATOR,
    BadConnection,
    Connection,
    MissingCredentials,
    credentials_from_environment,
    open_broker,
)
from trading.brokers.simulator_control import CONTROL_TOKEN, SimulatorControl
from trading.domain.broker import Broker, BrokerUnreachable
from trading.domain.session import BadSettings, SessionConfig
from trading.engine.replay import mirror_name, replay_name
from trading.engine.stage import Stage
from trading.management.live import REFUSALS, add_arguments, live, live_setup, load, load_files, notes, refuse, replay
from trading.management.parsing import BlockCommand
from trading.management.simulated import NOT_RUNNING, simulator_is_stopped
from trading.models import Account
from trading.services.audit import Actor
from trading.services.setup import retire

ONLY_SIMULATOR = (
    "--mode replay with a mirror drives its broker's clock and prices, which only the simulator allows. Unset "
    "{variables} (a simulator of the replay's own is started then), or set SIMULATOR_URL. Nothing was sent."
)
OTHER_VENUE = (
    "The session file trades at {venue}, so its decisions cannot be mirrored to {mirror}. Use --mirror {venue_name}, "
    "or another profile. Nothing was sent."
)
CREDENTIALS = {
    "oanda": "OANDA_API_KEY and OANDA_ACCOUNT_ID",
    "alpaca": "ALPACA_API_KEY and ALPACA_SECRET_KEY",
    "kite": "KITE_API_KEY and KITE_ACCESS_TOKEN",
}


class Command(BlockCommand):
    """Parse, reconcile, one engine verb, blocks."""

    help = "Run the portfolio engine mirrored to a broker: --mode ws live, or --mode replay against a simulator."

    def add_arguments(self, parser: CommandParser) -> None:
        """The engine's flags and the mirror."""
        add_arguments(parser)
        parser.add_argument("--mirror", choices=["oanda", "alpaca", "kite", "none"], default="oanda")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; exit code 1 with a block that says why when it cannot."""
        mirror = options["mirror"]
        try:
            session = load(options)
            venue = session.portfolio.venue
            if mirror not in ("none", venue.lower()):
                raise BadSettings(OTHER_VENUE.format(venue=venue, mirror=mirror, venue_name=venue.lower()))
            if options["mode"] == "ws":
                _live(options, session, mirror)
                return
            files = load_files(options, session)
            if mirror == "none":
                replay(options, session, files, mirror=mirror, stage=None)
                return
            name = replay_name(session, files)
            first = min(file.bars[0].start for file in files.values())
            with _stage(name, first, mirror) as stage:
                replay(options, session, files, mirror=mirror, stage=stage)
        except (*REFUSALS, DeskError) as error:
            refuse(error)


def _live(options: Mapping[str, Any], session: SessionConfig, mirror: str) -> None:
    if mirror != "none":
        setup = live_setup(options, session, mirror=mirror)
        _reconcile(setup.feed_account, None)
    live(options, session, mirror=mirror)


def _reconcile(account: Account, broker: Broker | None) -> None:
    """A complete comparison, before any entry and after the last one. Raises BrokerUnreachable when it fails."""
    result = run_reconciliation(account=account, trigger="STARTUP", broker=broker)
    if not result.ok and simulator_is_stopped(account):
        raise BrokerUnreachable(f"{NOT_RUNNING} Nothing was run.")
    if not result.ok:
        raise BrokerUnreachable(f"{account.name} could not be reconciled ({result.error}), so nothing may enter.")
    notes.print(f"Reconciled {account.name}: {result.live} open differences (run {result.run_id})")


@contextmanager
def _stage(name: str, first: datetime, broker: str) -> Iterator[Stage]:
    """The simulator that the replay drives: the one that SIMULATOR_URL names, else one of its own that ends with it."""
    found = credentials_from_environment(broker, os.environ)
    if found is not None and found.environment != SIMULATOR:
        raise BadConnection(ONLY_SIMULATOR.format(variables=CREDENTIALS[broker]))
    if found is not None:
        yield _on_stage(os.environ["SIMULATOR_URL"], found)
        return
    with own_simulator(start=first) as control_url:
        connection = credentials_from_environment(broker, {**os.environ, "SIMULATOR_URL": control_url})
        if connection is None:
            raise MissingCredentials(broker)
        yield _on_stage(control_url, connection)
    reason = "its broker has ended with the replay's own simulator: nothing can be asked of it again"
    retire(name=mirror_name(name, broker), reason=reason, actor=Actor.system("live_oanda", via="command"))


def _on_stage(control_url: str, connection: Connection) -> Stage:
    broker = open_broker(connection)
    return Stage(
        control=SimulatorControl(control_url, os.environ.get("SIMULATOR_CONTROL_TOKEN", CONTROL_TOKEN)),
        broker=broker,
        external_id=connection.account_id or broker.identity().account_id,
        endpoint=connection.url,
        reconcile=_reconcile,
    )
