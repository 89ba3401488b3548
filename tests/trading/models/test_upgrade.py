"""A database that was in use before the chain: its facts are sealed as they stand, and posting goes on."""

from __future__ import annotations

from typing import Any

import psycopg
from django.core.management import call_command

from backoffice.desk import logins
from tests.servers import DatabaseServer
from tests.trading.models.test_chain import recomputed

BEFORE = """
INSERT INTO trading_configversion (at, recorded_at, kind, name, sha256, body)
    SELECT now(), now(), 'POLICY', 'p', encode(sha256('{}'), 'hex'), '{}';
INSERT INTO trading_account (name, broker, environment, mode, external_id, scope, currency, time_zone, hedging,
                             policy_id, mirror_scale, endpoint, is_active, opened_at)
    SELECT 'old', 'OANDA', 'SIMULATOR', 'PAPER', '1', '', 'USD', 'UTC', false, 1, 1, '', true, now();
INSERT INTO trading_brokerevent (at, recorded_at, account_id, external_id, sequence, kind, body, body_sha256, facts)
    SELECT now(), now(), 1, n::text, n, 'TRANSFER', '{}', 'x', '{}' FROM generate_series(1, 6001) n;
INSERT INTO trading_cashevent (at, recorded_at, account_id, external_id, broker_event_id, kind, currency, amount)
    SELECT now(), now(), 1, '1', 1, 'TRANSFER', 'USD', 5;
INSERT INTO trading_commodity VALUES ('USD', 'CURRENCY', 12);
INSERT INTO trading_ledgeraccount (account_id, kind, commodity_id) VALUES (1, 'CASH', 'USD'), (1, 'CAPITAL', 'USD');
"""
ENTRY = """
SELECT ledger_post(jsonb_build_object('key', %s::text, 'kind', 'TRANSFER', 'account_id', 1,
    'at', '2026-03-02T08:00:00Z', 'trading_day', '2026-03-02', 'value_date', '2026-03-02',
    'cash_event_id', 1, 'memo', '', 'lots', '[]'::jsonb,
    'lot_closes', '[]'::jsonb, 'transfers', jsonb_build_array(jsonb_build_object('debit', '1', 'credit', '2',
    'commodity', 'USD', 'amount', '5'))))
"""


def test_a_database_from_before_the_chain_is_sealed_by_the_upgrade(
    database_server: DatabaseServer, django_db_setup: None, django_db_blocker: Any
) -> None:
    name = database_server.next_name()
    with django_db_blocker.unblock():
        now = database_server.current
        database_server.point_django_at(database_server.provision(name), name)
        try:
            call_command("migrate", "reconciliation", "0003", verbosity=0)
            call_command("migrate", "trading", "0004", verbosity=0)
            root = psycopg.connect(logins.superuser_url(database_server.server, name), autocommit=True)
            root.execute(BEFORE)
            root.execute(ENTRY, ["from before"])
            call_command("migrate", verbosity=0)
            with root, root.cursor() as cursor:
                assert list(recomputed(cursor)) == []
                cursor.execute("SELECT row_count FROM trading_chainblock WHERE table_name = 'trading_brokerevent'")
                assert cursor.fetchall() == [(5000,), (1001,)]
                first = cursor.execute(ENTRY, ["from before"]).fetchone()
                assert first == (1,), "the same payload is still the same entry"
                (new,) = cursor.execute(ENTRY, ["new"]).fetchone() or (0,)
                assert new > 1
                assert list(recomputed(cursor)) == []
        finally:
            database_server.point_django_at(*now)
            database_server.drop(name)
