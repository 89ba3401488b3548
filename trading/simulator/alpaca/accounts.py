"""Account, asset, clock and calendar endpoints."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from ..core.calls import Answer, Call
from ..core.hours import NEW_YORK
from ..core.instruments import SHARES
from ..core.model import Account
from ..core.numbers import ZERO, iso, plain
from ..core.nyse import day_of, following, preceding, trades_settled_on
from ..core.world import World
from .answers import malformed, not_found
from .facts import position
from .power import buying_power, reserved
from .render import Wire, asset_wire, average, fixed_id, held, new_york, previous_close

_MAINTENANCE = Decimal("0.3")
_FIRST_DAY, _LAST_DAY = date(2010, 1, 1), date(2030, 12, 31)


class AccountCalls:
    """The endpoints of one simulator that read an account as a whole, and the exchange."""

    def __init__(self, world: World) -> None:
        self.world = world

    def account(self, account: Account, call: Call) -> Answer:
        """GET /account."""
        world = self.world
        long, short = held(world, account)
        equity, power = account.cash + long + short, buying_power(world, account)
        names = [name for name in SHARES if account.open_trades(name)]
        before = sum((position(account, name) * previous_close(world, name) for name in names), ZERO)
        margin = long - short
        shown: Wire = {
            "id": fixed_id(account.id),
            "account_number": account.id,
            "status": "ACTIVE",
            "crypto_status": "INACTIVE",
            "currency": account.currency,
            "cash": plain(account.cash),
            "buying_power": plain(power),
            "regt_buying_power": plain(power),
            "daytrading_buying_power": "0",
            "non_marginable_buying_power": plain(power),
            "options_buying_power": "0",
            "effective_buying_power": plain(power),
            "accrued_fees": plain(account.fees),
            "pending_transfer_in": "0",
            "pending_transfer_out": "0",
            "pending_reg_taf_fees": "0",
            "portfolio_value": average(equity),
            "equity": average(equity),
            "last_equity": average(account.cash + before),
            "long_market_value": average(long),
            "short_market_value": average(short),
            "position_market_value": average(margin),
            "initial_margin": average(margin + reserved(account)),
            "maintenance_margin": average(margin * _MAINTENANCE),
            "last_maintenance_margin": average(margin * _MAINTENANCE),
            "sma": "0",
            "daytrade_count": 0,
            "balance_asof": preceding(day_of(world.now)).day.isoformat(),
            "multiplier": "1",
            "shorting_enabled": True,
            "pattern_day_trader": False,
            "trading_blocked": False,
            "transfers_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
            "options_approved_level": 0,
            "options_trading_level": 0,
            "intraday_adjustments": "0",
            "created_at": iso(account.created_at),
            "admin_configurations": {},
            "user_configurations": None,
        }
        return Answer(200, shown)

    def configurations(self, account: Account, call: Call) -> Answer:
        """GET /account/configurations."""
        shown: Wire = {
            "dtbp_check": "entry", "fractional_trading": True, "max_margin_multiplier": "1", "no_shorting": False,
            "pdt_check": "entry", "suspend_trade": False, "trade_confirm_email": "none",
            "ptp_no_exception_entry": False, "max_options_trading_level": 0, "disable_overnight_trading": True,
        }  # fmt: skip
        return Answer(200, shown)

    def assets(self, account: Account, call: Call) -> Answer:
        """GET /assets, all or those of a status, class or exchange."""
        given = call.parameters()
        names = {"status": "status", "asset_class": "class", "exchange": "exchange"}
        wanted = {wire: given[key] for key, wire in names.items() if given.get(key)}
        shown = [asset_wire(item) for item in SHARES.values()]
        return Answer(200, [row for row in shown if all(row[key] == value for key, value in wanted.items())])

    def asset(self, account: Account, call: Call, symbol: str) -> Answer:
        """GET /assets/{symbol or id}."""
        for name, item in SHARES.items():
            if symbol.upper() == name or symbol.lower() == fixed_id(name):
                return Answer(200, asset_wire(item))
        raise not_found(f"asset not found for {symbol}")

    def clock(self, account: Account, call: Call) -> Answer:
        """GET /clock."""
        now, hours = self.world.now, self.world.market.share_hours
        shown: Wire = {
            "timestamp": new_york(now),
            "is_open": hours.is_open(now),
            "next_open": _whole(hours.coming(now).opens),
            "next_close": _whole(hours.running(now).closes),
        }
        return Answer(200, shown)

    def calendar(self, account: Account, call: Call) -> Answer:
        """GET /calendar: the trading days from `start` to `end`, both included."""
        given = call.parameters()
        start, end = _date(given, "start", _FIRST_DAY), _date(given, "end", _LAST_DAY)
        if end.year > 2100 or start.year < 1970:
            raise malformed("the calendar has the years 1970 to 2100")
        shown: list[Wire] = []
        found = following(start)
        while found.day <= end:
            opens, closes, first, last = (
                at.astimezone(NEW_YORK)
                for at in (found.opens, found.closes, found.extended_opens, found.extended_closes)
            )
            shown.append(
                {
                    "date": found.day.isoformat(),
                    "open": f"{opens:%H:%M}",
                    "close": f"{closes:%H:%M}",
                    "session_open": f"{first:%H%M}",
                    "session_close": f"{last:%H%M}",
                    "settlement_date": trades_settled_on(found.day).isoformat(),
                }
            )
            found = following(found.day + timedelta(days=1))
        return Answer(200, shown)


def _whole(at: datetime) -> str:
    return at.astimezone(NEW_YORK).isoformat()


def _date(given: dict[str, str], key: str, default: date) -> date:
    value = given.get(key, "")
    if not value:
        return default
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        raise malformed(f"invalid {key}: {value}") from None
