"""A planted violation for each way in which cash, settlement and shares at cost can be wrong: rule → what → SQL."""

from __future__ import annotations

from pathlib import Path

from django.apps import apps

from .plants_trading import _twice, _without

_SHARES = (
    "(SELECT a.id FROM trading_account a WHERE a.broker = 'PAPER' AND NOT EXISTS "
    "(SELECT 1 FROM trading_account m WHERE m.mirror_of_id = a.id))"
)
_UNSETTLED = f"(SELECT id FROM trading_ledgeraccount WHERE kind = 'UNSETTLED' AND account_id = {_SHARES})"
_MARKET = (
    f"(SELECT id FROM trading_ledgeraccount WHERE kind = 'MARKET' AND commodity_id = 'USD' AND account_id = {_SHARES})"
)
_SETTLED = "(SELECT min(id) FROM trading_entry WHERE kind = 'SETTLEMENT')"
_SETTLED_FILL = f"(SELECT fill_id FROM trading_entry WHERE id = {_SETTLED})"
_OUTSTANDING_FILL = (
    "(SELECT max(f.id) FROM trading_fill f WHERE f.settles_on IS NOT NULL AND f.id NOT IN "
    "(SELECT fill_id FROM trading_entry WHERE kind = 'SETTLEMENT'))"
)
_CLOSE = (
    "(SELECT min(c.fill_id) FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id WHERE l.account_id = "
    f"{_SHARES})"
)
# The posting function as it was before payments could settle, and before units could be split: rules would be gone.
_SQL = Path(str(apps.get_app_config("trading").path)) / "migrations" / "sql"


def _earlier(name: str) -> str:
    text = (_SQL / name).read_text()
    start = text.index("FUNCTION ledger_post")
    return "CREATE OR REPLACE " + text[start : text.index("END $$;", start)] + "END $$;"


CASH: dict[str, dict[str, str]] = {
    "C-01": {
        "cash out of nothing": f"""
            INSERT INTO trading_transfer (entry_id, debit_id, credit_id, commodity_id, amount)
            SELECT min(e.id), max(c.id), max(k.id), 'USD', 5 FROM trading_entry e
            JOIN trading_ledgeraccount c ON c.account_id = e.account_id AND c.kind = 'CASH'
            JOIN trading_ledgeraccount k ON k.account_id = e.account_id AND k.kind = 'CAPITAL'
            WHERE e.account_id = {_SHARES}
        """,
        "a payment of another amount": f"UPDATE trading_transfer SET amount = amount + 1 WHERE debit_id = {_UNSETTLED} "
        f"OR credit_id = {_UNSETTLED}",
        "a fill that is booked without its cash": f"DELETE FROM trading_transfer WHERE entry_id = "
        f"(SELECT id FROM trading_entry WHERE kind = 'FILL' AND fill_id = {_OUTSTANDING_FILL}) "
        "AND commodity_id = 'USD'",
        "a movement in another currency": "UPDATE trading_cashevent SET currency = 'EUR' WHERE kind = 'TRANSFER'",
        "a margin fill that realised more": "UPDATE trading_fill SET realised = realised + 1 WHERE settles_on IS NULL "
        "AND realised <> 0",
    },
    "C-02": {
        "two fills outstanding wrongly that cancel out": f"""
            UPDATE trading_entry SET fill_id = CASE fill_id WHEN {_OUTSTANDING_FILL} THEN {_SETTLED_FILL}
                                                            ELSE {_OUTSTANDING_FILL} END
            WHERE kind = 'FILL' AND fill_id IN ({_OUTSTANDING_FILL}, {_SETTLED_FILL})
        """,
        "a payment that no settlement made": f"UPDATE trading_entry SET kind = 'TRANSFER' WHERE id = {_SETTLED}",
        "a margin fill with a value date": "UPDATE trading_fill SET settles_on = '2024-03-05' WHERE id = "
        "(SELECT min(id) FROM trading_fill WHERE settles_on IS NULL)",
        "a share without a value date": f"UPDATE trading_fill SET settles_on = NULL WHERE id = {_OUTSTANDING_FILL}",
        "another value date than the broker's": "UPDATE trading_brokerevent SET facts = jsonb_set(facts, "
        f"'{{fills,0,settles_on}}', '\"2024-03-29\"') WHERE id = (SELECT broker_event_id FROM trading_fill WHERE id = "
        f"{_OUTSTANDING_FILL})",
        "something outstanding without a fill": f"""
            UPDATE trading_transfer SET debit_id = {_UNSETTLED} WHERE entry_id =
                (SELECT min(id) FROM trading_entry WHERE kind = 'TRANSFER' AND account_id = {_SHARES})
        """,
    },
    "C-03": {
        "another amount": f"UPDATE trading_transfer SET amount = amount + 1 WHERE entry_id = {_SETTLED}",
        "another value date": f"UPDATE trading_entry SET value_date = value_date + 1 WHERE id = {_SETTLED}",
        "before its day": f"UPDATE trading_entry SET at = at - interval '1 second' WHERE id = {_SETTLED}",
        "in the account's future": "UPDATE trading_accountclock SET broker_at = '2024-03-01', speed = 0 WHERE "
        f"account_id = {_SHARES}",
        "twice": _twice("trading_entry", f"id = {_SETTLED}", "idempotency_key='other'"),
        "not into cash": f"""
            UPDATE trading_transfer SET debit_id = CASE debit_id WHEN {_UNSETTLED} THEN debit_id ELSE {_MARKET} END,
                   credit_id = CASE credit_id WHEN {_UNSETTLED} THEN credit_id ELSE {_MARKET} END
            WHERE entry_id = {_SETTLED}
        """,
    },
    "C-04": {
        "a profit on the row that no lot gave": f"UPDATE trading_fill SET realised = realised + 1 WHERE id = {_CLOSE}",
        "a profit in the entry that no lot gave": "UPDATE trading_transfer t SET amount = amount + 1 FROM "
        "trading_ledgeraccount l WHERE l.id IN (t.debit_id, t.credit_id) AND l.kind = 'REALISED' AND t.entry_id = "
        f"(SELECT id FROM trading_entry WHERE kind = 'FILL' AND fill_id = {_CLOSE})",
        "a profit realised twice": _twice(
            "trading_transfer",
            "id = (SELECT min(t.id) FROM trading_transfer t JOIN trading_ledgeraccount l ON l.kind = 'REALISED' AND "
            f"l.id IN (t.debit_id, t.credit_id) WHERE l.account_id = {_SHARES})",
        ),
        "lots at another cost": "UPDATE trading_lot SET unit_cost = unit_cost + 1 WHERE id = "
        f"(SELECT max(id) FROM trading_lot WHERE account_id = {_SHARES})",
        "cost that no lot has": f"UPDATE trading_transfer SET amount = amount + 0.01 WHERE debit_id = {_MARKET} AND "
        f"entry_id = (SELECT id FROM trading_entry WHERE kind = 'FILL' AND fill_id = {_OUTSTANDING_FILL})",
    },
    "I-05": {
        "shares that paid another amount": "UPDATE trading_transfer SET amount = amount + 1 WHERE credit_id = "
        f"{_UNSETTLED}",
    },
    "I-06": {
        "a settlement in place of the fill's entry": "UPDATE trading_entry SET kind = 'SETTLEMENT' WHERE kind = 'FILL' "
        f"AND fill_id = {_OUTSTANDING_FILL}",
    },
    "I-23": {
        "a balance that leaves a payment out": "UPDATE trading_brokerevent SET body = jsonb_set(body, '{balance}', "
        f"'\"100000\"') WHERE id = (SELECT broker_event_id FROM trading_fill WHERE id = {_OUTSTANDING_FILL})",
    },
    "I-24": {
        "P&L of a share": f"UPDATE trading_trade SET pnl = pnl + 1 WHERE account_id = {_SHARES}",
    },
    "I-25": {
        "a split by an order": _without("trading_entry", "a_correcting_entry_needs_an_application")
        + f"UPDATE trading_entry SET kind = 'SPLIT' WHERE kind = 'FILL' AND fill_id = {_OUTSTANDING_FILL}",
        "a settlement of what pays nothing": "UPDATE trading_fill SET settles_on = NULL WHERE id = " + _SETTLED_FILL,
    },
    "I-27": {
        "where a lot comes from": "UPDATE trading_lot SET origin_id = (SELECT min(f.id) FROM trading_fill f "
        "WHERE f.account_id <> trading_lot.account_id)",
    },
    "I-45a": {
        "a settlement": "DELETE FROM trading_auditevent WHERE kind = 'fill.settled'",
    },
    "P-03": {
        "equity": f"UPDATE trading_equitypoint SET equity = equity + 1 WHERE account_id = {_SHARES}",
    },
}

FUNCTIONS: dict[str, dict[str, str]] = {
    "I-57": {
        "the posting function of before payments": _earlier("ledger.sql"),
    },
}
