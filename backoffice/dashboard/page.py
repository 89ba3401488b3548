"""Everything that the home page's template shows, for one person."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from trading.models import User

from . import attention, curve, desk_facts
from .guide import guide

ORDER_WORDS = (
    "FILLED",
    "WORKING",
    "PARTIAL",
    "PLANNED",
    "SENDING",
    "CANCELLING",
    "UNKNOWN",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
)


def home(request: HttpRequest, user: User) -> dict[str, Any]:
    """The context of the home page."""
    lines = desk_facts.accounts()
    each_run, newest_runs = desk_facts.last_runs(lines)
    wanted, left_out = attention.needs(lines, user)
    orders = desk_facts.orders_today(lines)
    return {
        "guide": guide(lines, user),
        "lines": lines,
        "market_clock": desk_facts.market_clock(lines),
        "is_demo": settings.BACKOFFICE_DEMO,
        "equity": desk_facts.equity_by_currency(lines),
        "cases": attention.cases(lines, user),
        "may_approve": user.has_perm("trading.approve"),
        "orders": orders,
        "orders_by_state": [(word, orders.by_state[word]) for word in ORDER_WORDS if word in orders.by_state],
        "last_run": newest_runs[0] if newest_runs else None,
        "worst_run": next((line for line in each_run if line.run.status != "COMPLETE"), None),
        "runs": newest_runs,
        "needs": wanted,
        "left_out": left_out,
        "beats": desk_facts.beats(lines),
        "halted": [line for line in lines if not line.enabled],
        **_chart(request, lines),
    }


def _chart(request: HttpRequest, lines: list[desk_facts.AccountLine]) -> dict[str, Any]:
    """The curve of the account and range that the address names, and the links to the others."""
    with_equity = [line for line in lines if line.equity is not None]
    if not with_equity:
        return {"curve": None, "chart_accounts": [], "ranges": []}
    asked = request.GET.get("account", "")
    shown = next((line for line in with_equity if str(line.account.pk) == asked), with_equity[0])
    span = request.GET.get("range", "")
    span = span if span in curve.RANGES else curve.DEFAULT_RANGE
    drawn = curve.draw(shown.account, until=shown.at, span=curve.RANGES[span])
    return {
        "curve": drawn,
        "chart_account": shown.account,
        "chart_accounts": [
            (line.account, f"?account={line.account.pk}&range={span}", line is shown) for line in with_equity
        ],
        "ranges": [(name, f"?account={shown.account.pk}&range={name}", name == span) for name in curve.RANGES],
    }
