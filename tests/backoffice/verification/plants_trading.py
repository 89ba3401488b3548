"""A planted violation for each way in which orders, books and projections can be wrong: rule → what was done → SQL."""

from __future__ import annotations

import json

_ENTRY = "(SELECT min(id) FROM trading_order WHERE tag = 'ENTRY' AND state = 'FILLED')"
_FILL = "(SELECT min(id) FROM trading_fill)"
_PAPER = "(SELECT mirror_of_id FROM trading_account WHERE broker = 'OANDA')"
_MIRROR = "(SELECT id FROM trading_account WHERE broker = 'OANDA')"
_TRADE = "(SELECT min(id) FROM trading_trade WHERE state = 'CLOSED')"
_OPEN = f"(SELECT min(id) FROM trading_trade WHERE state = 'OPEN' AND account_id = {_PAPER})"
_NEWEST = f"(SELECT id FROM trading_equitypoint WHERE account_id = {_MIRROR} ORDER BY at DESC LIMIT 1)"
_LATER = "interval '1 day'"


def _twice(table: str, where: str, *but: str) -> str:
    """Insert a copy of a row, with other values for some columns (`column=value`), the rules on the table dropped."""
    changes = dict(change.split("=", 1) for change in ("id=900000", *but))
    return f"""
        DO $$ DECLARE columns text; given text; rule record; changes jsonb := '{_as_json(changes)}'; BEGIN
            FOR rule IN SELECT conname FROM pg_constraint
                        WHERE conrelid = '{table}'::regclass AND contype IN ('u', 'c') LOOP
                EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I CASCADE', rule.conname);
            END LOOP;
            FOR rule IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                        WHERE i.indrelid = '{table}'::regclass AND i.indisunique AND NOT i.indisprimary LOOP
                EXECUTE format('DROP INDEX %I', rule.relname);
            END LOOP;
            SELECT string_agg(format('%I', attname), ','),
                   string_agg(coalesce(changes->>attname, format('%I', attname)), ',')
            INTO columns, given FROM pg_attribute
            WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped;
            EXECUTE format('INSERT INTO {table} (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM {table} '
                           'WHERE {_quoted(where)}', columns, given);
        END $$;
        SELECT 1 FROM {table} WHERE id = 900000
    """


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _as_json(changes: dict[str, str]) -> str:
    return _quoted(json.dumps(changes))


def _without(table: str, *rules: str) -> str:
    """Drop rules of a table that would refuse the plant."""
    return "".join(f"ALTER TABLE {table} DROP CONSTRAINT {rule};" for rule in rules)


ORDERS: dict[str, dict[str, str]] = {
    "I-01": {
        "the id is not the derived one": f"UPDATE trading_order SET client_order_id = 'x' WHERE id = {_ENTRY}",
        "the id of an exit is not the derived one": "UPDATE trading_order SET client_order_id = 'x' || id WHERE tag = "
        "'CLOSE'",
        "the id of an approved order is not the derived one": "UPDATE trading_order SET client_order_id = 'x' "
        "WHERE tag = 'FLATTEN'",
        "an order without an intent": _without("trading_order", "an_order_has_exactly_one_intent")
        + f"UPDATE trading_order SET decision_id = NULL WHERE id = {_ENTRY}",
        "two orders for one leg": _twice(
            "trading_order", f"id = {_ENTRY}", "client_order_id='other'", "broker_order_id='o'"
        ),
    },
    "I-03": {
        "two orders are one broker order": _twice("trading_order", f"id = {_ENTRY}", "client_order_id='other'"),
        "one order's earlier id is another order's": "INSERT INTO trading_orderalias (at, recorded_at, account_id, "
        "order_id, broker_order_id) SELECT o.at, now(), o.account_id, (SELECT max(x.id) FROM trading_order x WHERE "
        f"x.account_id = o.account_id AND x.id <> o.id), o.broker_order_id FROM trading_order o WHERE o.id = {_ENTRY}",
        "two orders carry one client id": _twice("trading_order", f"id = {_ENTRY}", "broker_order_id='other'"),
        "one client id filled as two broker orders": "UPDATE trading_brokerevent SET facts = jsonb_set(facts, "
        "'{fills}', "
        "facts->'fills' || jsonb_set(facts->'fills'->0, '{broker_order_id}', '\"second\"')) WHERE id = "
        "(SELECT min(id) FROM trading_brokerevent WHERE facts->'fills'->0->>'client_id' <> '')",
    },
    "R-01": {
        "sent before it was recorded": f"UPDATE trading_order SET recorded_at = recorded_at + {_LATER} WHERE id = "
        "(SELECT min(order_id) FROM trading_brokermessage WHERE purpose = 'submit')",
        "submitted more often than claimed": _twice(
            "trading_brokermessage", "id = (SELECT min(id) FROM trading_brokermessage WHERE purpose = 'submit')"
        ),
        "attempts that were never claimed": f"UPDATE trading_order SET attempt = 7 WHERE id = {_ENTRY}",
        "never claimed at all": f"DELETE FROM trading_orderevent WHERE to_state = 'SENDING' AND order_id = {_ENTRY}",
    },
    "I-14": {
        "a second body": _twice(
            "trading_brokermessage",
            "id = (SELECT min(id) FROM trading_brokermessage WHERE purpose = 'submit')",
            "request_body=request_body || ' '",
        ),
        "a body without the id": "UPDATE trading_brokermessage SET request_body = '{}' WHERE purpose = 'submit'",
    },
    "R-13": {
        "a signal without a decision": "DELETE FROM trading_decision WHERE verdict = 'REJECTED'",
        "another size": f"UPDATE trading_order SET quantity = quantity + 1 WHERE id = {_ENTRY}",
        "an order of a rejected decision": "UPDATE trading_decision SET verdict = 'REJECTED' WHERE id = "
        f"(SELECT decision_id FROM trading_order WHERE id = {_ENTRY})",
        "the other side": f"UPDATE trading_order SET side = 'SELL' WHERE id = {_ENTRY} AND side = 'BUY'",
    },
    "R-15": {
        "a gate failed": "UPDATE trading_decision SET gates = jsonb_set(gates, '{0,passed}', 'false') "
        "WHERE verdict = 'APPROVED'",
        "no gate at all": "UPDATE trading_decision SET gates = '[]' WHERE verdict = 'APPROVED'",
        "rejected without a failed gate": 'UPDATE trading_decision SET gates = \'[{"name": "x", "passed": true}]\' '
        "WHERE verdict = 'REJECTED'",
        "beyond the policy": "UPDATE trading_decision SET risk_pct = 99 WHERE verdict = 'APPROVED'",
    },
    "I-07": {
        "filled more than its fills": "UPDATE trading_order SET filled_quantity = filled_quantity - 1 WHERE id = "
        f"{_ENTRY}",
        "another average": f"UPDATE trading_order SET average_price = average_price + 1 WHERE id = {_ENTRY}",
        "filled beyond its quantity": f"UPDATE trading_order SET quantity = quantity - 1 WHERE id = {_ENTRY}",
    },
    "I-08": {
        "a move that the table does not have": "UPDATE trading_orderevent SET to_state = 'REJECTED' WHERE id = "
        f"(SELECT id FROM trading_orderevent WHERE order_id = {_ENTRY} AND from_state = 'PLANNED')",
        "a chain that does not join": "UPDATE trading_orderevent SET from_state = 'UNKNOWN' WHERE id = "
        f"(SELECT max(id) FROM trading_orderevent WHERE order_id = {_ENTRY})",
        "a beginning other than PLANNED": "UPDATE trading_orderevent SET to_state = 'WORKING' WHERE order_id = "
        f"{_ENTRY} "
        "AND sequence = 1",
        "a late fill that nobody heard of": "INSERT INTO trading_orderevent (at, recorded_at, order_id, sequence, "
        "from_state, "
        "to_state, attempt, reason) SELECT at, now(), id, 99, 'FILLED', 'FILLED', 1, '' FROM trading_order "
        f"WHERE id = {_ENTRY}",
        "a state that no event made": f"UPDATE trading_order SET state = 'WORKING' WHERE id = {_ENTRY}",
    },
    "I-09": {
        "the other side": "UPDATE trading_fill SET side = CASE side WHEN 'BUY' THEN 'SELL' ELSE 'BUY' END WHERE id = "
        f"{_FILL}",
        "another account": f"UPDATE trading_fill SET account_id = {_MIRROR} WHERE id = {_FILL}",
    },
    "R-03": {
        "a fill without an event": "UPDATE trading_orderevent SET broker_event_id = NULL WHERE to_state = 'FILLED'",
        "an end without evidence": "UPDATE trading_orderevent SET broker_event_id = NULL, message_id = NULL "
        "WHERE from_state = 'SENDING' AND to_state = 'WORKING'",
        "called not sent without saying why": "UPDATE trading_orderevent SET broker_event_id = NULL, "
        "message_id = NULL, to_state = 'PLANNED' WHERE from_state = 'SENDING' AND to_state = 'WORKING'",
    },
    "I-16b": {
        "closed more than opened": "UPDATE trading_fill SET quantity = quantity * 2 WHERE order_id IN "
        "(SELECT id FROM trading_order WHERE tag <> 'ENTRY')"
    },
    "I-21": {
        "an order's event is gone": f"DELETE FROM trading_orderevent WHERE sequence = 2 AND order_id = {_ENTRY}",
        "a case's event is gone": "DELETE FROM reconciliation_discrepancyevent WHERE sequence = 1",
    },
    "R-08": {
        "no stop": f"UPDATE trading_order SET state = 'CANCELLED' WHERE tag = 'STOP' AND account_id = {_PAPER}",
        "a stop for less": f"UPDATE trading_order SET quantity = 1 WHERE tag = 'STOP' AND account_id = {_PAPER}",
        "a stop that outlived its trade": "UPDATE trading_order SET state = 'WORKING' WHERE tag = 'TP1' AND "
        f"account_id = {_PAPER}",
        "a group that hides an open trade": "UPDATE trading_ordergroup SET state = 'CLOSED' WHERE account_id = "
        f"{_PAPER}",
        "no stop at the broker, long ago": f"UPDATE trading_fill SET recorded_at = recorded_at - {_LATER}; "
        f"UPDATE trading_order SET state = 'CANCELLED' WHERE tag = 'STOP' AND account_id = {_MIRROR}",
    },
}

BOOKS: dict[str, dict[str, str]] = {
    "I-05": {
        "another price": f"UPDATE trading_fill SET price = price + 1 WHERE id = {_FILL}",
        "another realised profit": "UPDATE trading_fill SET realised = realised + 1 WHERE realised <> 0",
        "another amount": "UPDATE trading_cashevent SET amount = amount + 1 WHERE broker_event_id IS NOT NULL",
        "an entry that moves other cash": "UPDATE trading_transfer SET amount = amount + 1 WHERE commodity_id = 'USD' "
        "AND "
        "entry_id IN (SELECT id FROM trading_entry WHERE kind = 'FILL')",
        "an entry that moves other units": "UPDATE trading_transfer SET amount = amount + 1 WHERE commodity_id <> "
        "'USD'",
        "an entry that moves another deposit": "UPDATE trading_transfer SET amount = amount + 1 WHERE entry_id IN "
        "(SELECT id FROM trading_entry WHERE kind = 'TRANSFER')",
    },
    "I-06": {
        "a fill without an entry": f"UPDATE trading_entry SET fill_id = NULL WHERE fill_id = {_FILL}",
        "a fill with two entries": _twice("trading_entry", f"fill_id = {_FILL}", "idempotency_key='other'"),
        "a cash movement without an entry": "UPDATE trading_entry SET cash_event_id = NULL WHERE kind = 'TRANSFER'",
        "an execution twice": _twice("trading_fill", f"id = {_FILL}"),
        "a cash movement twice": _twice("trading_cashevent", "id = (SELECT min(id) FROM trading_cashevent)"),
        "an event twice": _twice("trading_brokerevent", "id = (SELECT min(id) FROM trading_brokerevent)"),
    },
    "R-07": {
        "a fill of ours is not booked": f"DELETE FROM trading_fill WHERE id = {_FILL}",
        "a deposit is not booked": "DELETE FROM trading_cashevent WHERE kind = 'TRANSFER'",
        "a fill linked by the broker's id alone is not booked": "UPDATE trading_brokerevent SET facts = "
        "jsonb_set(facts, "
        "'{fills,0,client_id}', '\"\"') WHERE facts->'fills' <> '[]'; "
        f"DELETE FROM trading_fill WHERE id = {_FILL}",
    },
    "I-20": {
        "booked before what came earlier": "UPDATE trading_brokerevent SET sequence = 0 WHERE id = "
        f"(SELECT max(broker_event_id) FROM trading_fill WHERE account_id = {_PAPER})"
    },
    "I-23": {
        "an event's balance": "UPDATE trading_brokerevent SET body = jsonb_set(body, '{balance}', '\"5\"') WHERE id = "
        f"(SELECT min(id) FROM trading_brokerevent WHERE account_id = {_PAPER})",
        "cash that no event knows": "UPDATE trading_transfer SET amount = amount + 1 WHERE entry_id = "
        f"(SELECT min(id) FROM trading_entry WHERE account_id = {_PAPER} AND kind = 'TRANSFER')",
        "a realised profit that its prices do not give": "UPDATE trading_fill SET realised = realised + 1 "
        f"WHERE account_id = {_PAPER} AND realised <> 0 AND instrument_id IN "
        "(SELECT id FROM trading_instrument WHERE quote = 'USD')",
    },
    "I-10": {
        "a side in another commodity": "UPDATE trading_transfer t SET debit_id = (SELECT l.id FROM "
        "trading_ledgeraccount l "
        "WHERE l.commodity_id <> t.commodity_id LIMIT 1) WHERE id = (SELECT min(id) FROM trading_transfer)",
        "an entry without transfers": "DELETE FROM trading_transfer WHERE entry_id = (SELECT min(id) FROM "
        "trading_entry)",
        "an amount below zero": _without("trading_transfer", "transfer_amount_is_positive")
        + "UPDATE trading_transfer SET amount = -amount",
    },
    "I-12": {
        "NaN in the ledger": "ALTER TABLE trading_transfer DROP CONSTRAINT trading_transfer_amount_check; "
        "UPDATE trading_transfer SET amount = 'NaN' WHERE id = (SELECT min(id) FROM trading_transfer)",
        "a number beyond all money": "UPDATE trading_order SET price = 1e20 WHERE tag = 'STOP'",
        "below all money": "UPDATE trading_dayState SET pnl = -1e20",
    },
    "I-25": {
        "no source": f"UPDATE trading_entry SET fill_id = NULL WHERE fill_id = {_FILL}",
        "two sources": "UPDATE trading_entry SET cash_event_id = (SELECT min(id) FROM trading_cashevent) WHERE kind = "
        "'FILL'",
        "the same source twice": _twice("trading_entry", f"fill_id = {_FILL}", "idempotency_key='other'"),
        "a kind that does not fit": f"UPDATE trading_entry SET kind = 'FINANCING' WHERE fill_id = {_FILL}",
        "another application than its fill": "UPDATE trading_fill SET application_id = (SELECT min(id) FROM "
        f"trading_application) WHERE id = {_FILL}",
        "a reversal that is not exact": _twice(
            "trading_entry",
            "kind = 'EXTERNAL_FILL' LIMIT 1",
            "kind='REVERSAL'",
            "idempotency_key='other'",
            "reverses_id=id",
            "fill_id=NULL",
        ),
    },
    "I-27": {
        "an order": f"UPDATE trading_order SET account_id = {_PAPER} WHERE tag = 'FLATTEN'",
        "a decision": f"UPDATE trading_decision SET account_id = {_MIRROR} WHERE verdict = 'APPROVED'",
        "a fill": f"UPDATE trading_fill SET account_id = {_MIRROR} WHERE id = {_FILL}",
        "a cash movement": f"UPDATE trading_cashevent SET account_id = {_PAPER} WHERE account_id = {_MIRROR}",
        "a ledger account": f"UPDATE trading_ledgeraccount SET account_id = {_PAPER} "
        f"WHERE account_id = {_MIRROR} AND kind = 'MARKET' AND commodity_id = 'GBPUSD'",
        "a lot": f"UPDATE trading_lot SET account_id = {_MIRROR} WHERE account_id = {_PAPER}",
        "a trade": f"UPDATE trading_decision SET account_id = {_MIRROR} WHERE id = (SELECT decision_id FROM "
        "trading_trade "
        f"WHERE id = {_OPEN})",
        "a message": f"UPDATE trading_brokermessage SET account_id = {_PAPER}",
        "a practice account that is live": _without("trading_account", "live_mode_only_on_a_live_account")
        + f"UPDATE trading_account SET mode = 'LIVE' WHERE id = {_MIRROR}",
    },
    "I-33": {
        "an entry": _without("trading_entry", "a_correcting_entry_needs_an_application")
        + "UPDATE trading_entry SET application_id = NULL WHERE kind = 'EXTERNAL_FILL'",
        "a fill": _without(
            "trading_fill",
            "a_fill_without_our_order_needs_an_approval",
            "a_fill_without_the_brokers_event_needs_an_approval",
        )
        + "UPDATE trading_fill SET application_id = NULL WHERE order_id IS NULL",
        "cash": _without("trading_cashevent", "cash_without_the_brokers_event_needs_an_approval")
        + "UPDATE trading_cashevent SET broker_event_id = NULL, application_id = NULL",
    },
    "I-22": {
        "the position row": "UPDATE trading_position SET quantity = quantity + 1",
        "no position row": "DELETE FROM trading_position WHERE quantity <> 0",
        "the fills": f"UPDATE trading_fill SET quantity = quantity + 1 WHERE id = {_FILL}",
        "the contracts": "UPDATE trading_transfer SET amount = amount + 1 WHERE commodity_id <> 'USD'",
        "the lots": "UPDATE trading_lot SET quantity = quantity + 1",
    },
    "P-01": {
        "external units": "UPDATE trading_position SET external_quantity = external_quantity + 1",
        "average": "UPDATE trading_position SET average_price = average_price + 1 WHERE quantity <> 0",
        "an average of nothing": "UPDATE trading_position SET average_price = 1 WHERE quantity = 0",
    },
    "R-06": {
        "a close without a fill": "UPDATE trading_lotclose SET fill_id = NULL",
        "closed beyond its size": "UPDATE trading_lotclose SET quantity = quantity * 2",
        "closed out of order": "UPDATE trading_lotclose SET lot_id = (SELECT max(l.id) FROM trading_lot l JOIN "
        "trading_lot o "
        "ON o.account_id = l.account_id AND o.instrument_id = l.instrument_id WHERE o.id = trading_lotclose.lot_id) "
        "WHERE id = (SELECT min(id) FROM trading_lotclose)",
        "a fill that opened too little": "UPDATE trading_lot SET quantity = quantity - 1",
        "a profit that its prices do not give": "UPDATE trading_lotclose SET profit_quote = profit_quote + 1",
    },
    "I-24": {
        "P&L": f"UPDATE trading_trade SET pnl = pnl + 1 WHERE id = {_TRADE}",
        "R": f"UPDATE trading_trade SET r = r + 0.000001 WHERE id = {_TRADE}",
        "risk": f"UPDATE trading_trade SET risk_amount = risk_amount + 1 WHERE id = {_TRADE}",
        "still open": f"UPDATE trading_trade SET state = 'OPEN' WHERE id = {_TRADE}",
        "the day": f"UPDATE trading_trade SET trading_day = trading_day + 1 WHERE id = {_TRADE}",
        "the stop": f"UPDATE trading_trade SET initial_stop = initial_stop + 1 WHERE id = {_TRADE}",
        "no trade": f"DELETE FROM trading_trade WHERE id = {_TRADE}",
        "no fill behind it": "DELETE FROM trading_fill WHERE order_id IN (SELECT o.id FROM trading_order o "
        f"JOIN trading_trade t USING (account_id, decision_id) WHERE t.id = {_TRADE})",
        "no rate behind it": "DELETE FROM trading_rate",
        "how far it went for us": "UPDATE trading_trade SET mfe_r = mfe_r + 0.000001",
        "how far it went against us": "UPDATE trading_trade SET mae_r = NULL",
        "a mark further away": "UPDATE trading_mark SET price = price * 2",
        "the target": f"UPDATE trading_trade SET target = target + 1 WHERE id = {_TRADE}",
    },
    "P-02": {
        "P&L": "UPDATE trading_daystate SET pnl = pnl + 1",
        "a day that is missing": "DELETE FROM trading_daystate",
        "a day without trades": "UPDATE trading_daystate SET trading_day = trading_day + 1000",
    },
    "P-03": {
        "a balance": "UPDATE trading_equitypoint SET balance = balance + 1 WHERE id = (SELECT min(id) FROM "
        "trading_equitypoint)",
        "a point that is missing": "DELETE FROM trading_equitypoint",
        "the newest point of an account that is missing": f"DELETE FROM trading_equitypoint WHERE id = {_NEWEST}",
        "the point of a deposit that is missing": "DELETE FROM trading_equitypoint WHERE (account_id, at) IN "
        "(SELECT account_id, at FROM trading_entry WHERE kind = 'TRANSFER')",
        "a point of nothing": "UPDATE trading_equitypoint SET at = at + interval '1 second' WHERE id = (SELECT max(id) "
        "FROM trading_equitypoint)",
        "a posting that came in before it": f"UPDATE trading_entry SET at = at - {_LATER} WHERE kind = 'FILL'",
    },
    "P-04": {
        "a balance": "UPDATE trading_balancesnapshot SET balance = balance + 0.000000000001",
        "the transfer that it names": "UPDATE trading_balancesnapshot SET last_transfer = 0 WHERE balance <> 0",
        "a transfer that is gone": "DELETE FROM trading_transfer WHERE id = (SELECT min(id) FROM trading_transfer)",
    },
}

_JPY_TRADES = (
    "SELECT t.id, t.account_id, t.decision_id FROM trading_trade t JOIN trading_instrument i ON i.id = t.instrument_id "
    "WHERE i.quote = 'JPY'"
)
_TOLD = (
    "INSERT INTO trading_riskevent (at, recorded_at, account_id, kind, reason, numbers) SELECT at, now(), account_id, "
    "'{kind}', 'told', {numbers} FROM {table} WHERE {where}"
)

# What looks like a breach and is none, because it was raised as it must be, or says that nothing was sent.
RAISED: dict[str, dict[str, str]] = {
    "R-03": {
        "surely not sent": "UPDATE trading_orderevent SET broker_event_id = NULL, message_id = NULL, "
        "to_state = 'PLANNED', reason = 'NOT_SENT: our own budget of requests is spent' "
        "WHERE from_state = 'SENDING' AND to_state = 'WORKING'",
    },
    "I-24": {
        "no rate was known": "DELETE FROM trading_rate; UPDATE trading_trade SET risk_amount = 0, r = 0 "
        f"WHERE id IN (SELECT id FROM ({_JPY_TRADES}) jpy); "
        + _TOLD.format(
            kind="RATE_MISSING",
            numbers="jsonb_build_object('fill', external_id)",
            table="trading_fill",
            where="order_id IN (SELECT o.id FROM trading_order o "
            f"JOIN ({_JPY_TRADES}) jpy USING (account_id, decision_id) WHERE o.tag = 'ENTRY')",
        )
    },
    "I-07": {
        "an overfill": f"UPDATE trading_order SET quantity = quantity - 1 WHERE id = {_ENTRY}; "
        + _TOLD.format(
            kind="LATE_FILL",
            numbers="jsonb_build_object('order', id)",
            table="trading_order",
            where=f"id = {_ENTRY}",
        )
    },
    "I-08": {
        "a late fill": ORDERS["I-08"]["a late fill that nobody heard of"]
        + "; "
        + _TOLD.format(
            kind="LATE_FILL",
            numbers="jsonb_build_object('order', id)",
            table="trading_order",
            where=f"id = {_ENTRY}",
        )
    },
    "R-07": {
        "a live case names the event": "UPDATE reconciliation_discrepancy SET evidence = jsonb_set(evidence, "
        f"'{{events}}', "
        f"(SELECT to_jsonb(array_agg(broker_event_id)) FROM trading_fill WHERE id = {_FILL})), account_id = {_PAPER} "
        f"WHERE state = 'PROPOSED'; DELETE FROM trading_fill WHERE id = {_FILL}",
    },
    "R-08": {
        "its stop has ended a moment ago": f"UPDATE trading_fill SET recorded_at = recorded_at - {_LATER}; "
        f"UPDATE trading_order SET state = 'CANCELLED' WHERE tag = 'STOP' AND account_id = {_MIRROR}; "
        "INSERT INTO trading_orderevent (at, recorded_at, order_id, sequence, from_state, to_state, attempt, reason) "
        "SELECT now(), now(), id, 99, 'WORKING', 'CANCELLED', 1, 'ended' FROM trading_order "
        f"WHERE tag = 'STOP' AND account_id = {_MIRROR}",
        "the group says unsafe": "UPDATE trading_order SET state = 'CANCELLED' WHERE tag = 'STOP'; "
        "UPDATE trading_ordergroup SET state = 'UNSAFE'",
        "the exit is on its way": "UPDATE trading_order SET state = 'CANCELLED' WHERE tag = 'STOP'; "
        "INSERT INTO trading_exitintent (account_id, decision_id, exit_type, exit_reason, urgency, state, at, "
        "recorded_at) "
        "SELECT account_id, decision_id, 'TIME', '', 'immediate', 'SUBMITTED', opened_at, now() FROM trading_trade "
        "WHERE state = 'OPEN'",
    },
}
