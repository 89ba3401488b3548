"""Events of the broker that are stored and not in the books.

What always holds: an event counts as the broker says it now, so that one that was busted before it was booked is not
waited for; what was reversed is not in the books; what was booked again stands under the broker's id with `~` and a
number behind it.
"""

from __future__ import annotations

from django.db import connection

from trading.models import Account, BrokerEvent

# What was booked and whose every entry was reversed, of one account.
REVERSED = """
    SELECT o.{0} FROM trading_entry r JOIN trading_entry o ON o.id = r.reverses_id
    WHERE r.account_id = %(account)s AND r.reverses_id IS NOT NULL AND o.{0} IS NOT NULL AND o.kind <> 'SETTLEMENT'
      AND NOT EXISTS (SELECT 1 FROM trading_entry s WHERE s.{0} = o.{0} AND s.kind NOT IN ('SETTLEMENT', 'REVERSAL')
                      AND NOT EXISTS (SELECT 1 FROM trading_entry t WHERE t.reverses_id = s.id))
"""
_LACKS = """
    EXISTS (SELECT 1 FROM jsonb_array_elements(coalesce(said.facts, e.facts)->'{part}') p
            WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE t.account_id = e.account_id
                              AND t.external_id = p->>'external_id' AND t.id <> ALL (%({part}_gone)s))
              AND NOT EXISTS (SELECT 1 FROM {table} t WHERE t.broker_event_id = e.id
                              AND t.external_id LIKE (p->>'external_id') || '~%%' AND t.id <> ALL (%({part}_gone)s)))
"""
UNPOSTED = f"""
    WITH said AS (
        SELECT DISTINCT ON (numbers->>'event') numbers->>'event' AS event, nullif(numbers->'facts', 'null') AS facts
        FROM trading_riskevent WHERE account_id = %(account)s AND kind = 'EVENT_BODY_CHANGED'
        ORDER BY numbers->>'event', id DESC)
    SELECT e.id FROM trading_brokerevent e LEFT JOIN said ON said.event = e.external_id
    WHERE e.account_id = %(account)s
      AND ({_LACKS.format(part="fills", table="trading_fill")}
           OR {_LACKS.format(part="cash", table="trading_cashevent")})
"""


def reversed_fills(account: Account) -> list[int]:
    """The account's fills that were booked and taken back, by number."""
    return _reversed(account, "fill_id")


def reversed_cash(account: Account) -> list[int]:
    """The account's movements of cash that were booked and taken back, by number."""
    return _reversed(account, "cash_event_id")


def _reversed(account: Account, column: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(REVERSED.format(column), {"account": account.pk})
        return [row[0] for row in cursor.fetchall()]


def unposted(account: Account) -> list[BrokerEvent]:
    """Stored events with a fill or cash movement that is not in the books, in the broker's order."""
    named = {
        "account": account.pk,
        "fills_gone": reversed_fills(account),
        "cash_gone": reversed_cash(account),
    }
    ids = [row.pk for row in BrokerEvent.objects.raw(UNPOSTED, named)]
    return list(BrokerEvent.objects.filter(pk__in=ids).order_by("sequence", "id"))
