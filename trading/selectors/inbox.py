"""Events of the broker that are stored and not in the books."""

from __future__ import annotations

from trading.models import Account, BrokerEvent

UNPOSTED = """
    SELECT e.id FROM trading_brokerevent e
    WHERE e.account_id = %s AND (
        EXISTS (SELECT 1 FROM jsonb_array_elements(e.facts->'fills') f WHERE NOT EXISTS (
            SELECT 1 FROM trading_fill t WHERE t.account_id = e.account_id AND t.external_id = f->>'external_id'))
        OR EXISTS (SELECT 1 FROM jsonb_array_elements(e.facts->'cash') c WHERE NOT EXISTS (
            SELECT 1 FROM trading_cashevent t WHERE t.account_id = e.account_id AND t.external_id = c->>'external_id')))
"""


def unposted(account: Account) -> list[BrokerEvent]:
    """Stored events with a fill or cash movement that is not booked, in the broker's order."""
    ids = [row.pk for row in BrokerEvent.objects.raw(UNPOSTED, [account.pk])]
    return list(BrokerEvent.objects.filter(pk__in=ids).order_by("sequence", "id"))
