"""One planted violation for each way in which approvals, cases, audit, evidence and the database can be wrong."""

from __future__ import annotations

from .plants_trading import _twice

_APPLICATION = "(SELECT min(id) FROM trading_application)"
_APPLIED = "(SELECT proposal_id FROM trading_application ORDER BY id LIMIT 1)"
_CLOSED = "(SELECT min(id) FROM reconciliation_discrepancy WHERE state = 'CLOSED')"
_COMPLETE = "(SELECT min(id) FROM reconciliation_run WHERE status = 'COMPLETE')"
_FAILED = "(SELECT min(id) FROM reconciliation_run WHERE status = 'FAILED')"
_LATER = "interval '2 days'"
# The closed case is made one of positions that could not be read, which a run without any positions has closed.
_UNREAD = (
    "WITH a_case AS (UPDATE reconciliation_discrepancy SET kind = 'FETCH_FAILED', key = 'positions' WHERE id = "
    f"{_CLOSED} RETURNING id), its_steps AS (UPDATE reconciliation_discrepancyevent SET details = details || "
    f'\'{{"relies_on": "answer"}}\' WHERE discrepancy_id = {_CLOSED} RETURNING id) UPDATE reconciliation_run SET '
    "status = 'INCOMPLETE', completeness = 'PARTIAL', counts = counts || '{\"complete_parts\": [\"answer\", "
    "\"cash\"]}' WHERE id IN (SELECT run_id FROM reconciliation_discrepancyevent WHERE to_state = 'CLOSED')"
)


def _unaudited(type_: str, kind: str) -> str:
    return f"DELETE FROM trading_auditevent WHERE object_type = '{type_}' AND kind = '{kind}'"


PEOPLE: dict[str, dict[str, str]] = {
    "I-39": {
        "the proposer approved": "UPDATE trading_approval a SET approver_id = p.proposer_id FROM trading_proposal p "
        "WHERE p.id = a.proposal_id AND a.verdict = 'APPROVE'",
        "a second user of the proposer": "UPDATE trading_user SET person_id = (SELECT person_id FROM trading_user "
        "WHERE username = 'ada') WHERE username = 'bob'",
        "somebody else withdrew": "UPDATE trading_approval SET verdict = 'WITHDRAW' WHERE verdict = 'REJECT'",
    },
    "I-40": {
        "no approval": f"DELETE FROM trading_approval WHERE proposal_id = {_APPLIED}",
        "one where two were asked": f"UPDATE trading_proposal SET approvals_required = 2 WHERE id = {_APPLIED}",
        "one where the payload asks for two": "UPDATE trading_proposal SET payload = replace(payload, "
        f'\'"difference":\', \'"approvals":2,"difference":\') WHERE id = {_APPLIED}',
        "for another payload": f"UPDATE trading_approval SET payload_sha256 = 'x' WHERE proposal_id = {_APPLIED}",
        "for another version": f"UPDATE trading_approval SET subject_version = 99 WHERE proposal_id = {_APPLIED}",
        "after it was applied": f"UPDATE trading_approval SET recorded_at = recorded_at + interval '1 hour' "
        f"WHERE proposal_id = {_APPLIED}",
        "after the expiry": f"UPDATE trading_application SET recorded_at = recorded_at + {_LATER} WHERE id = "
        f"{_APPLICATION}",
        "in spite of a rejection": "INSERT INTO trading_approval (at, recorded_at, proposal_id, approver_id, verdict, "
        "payload_sha256, subject_version, reason) SELECT at, recorded_at, proposal_id, (SELECT id FROM trading_user "
        "WHERE username = 'charlie'), 'REJECT', payload_sha256, subject_version, '' FROM trading_approval "
        f"WHERE proposal_id = {_APPLIED}",
        "twice": _twice("trading_application", f"id = {_APPLICATION}"),
        "a proposal that lives too long": f"UPDATE trading_proposal SET expires_at = expires_at + {_LATER}",
        "a case that says so without an application": f"DELETE FROM trading_application WHERE id = {_APPLICATION}",
        "a case that says approved without an approval": f"DELETE FROM trading_approval WHERE proposal_id = {_APPLIED}",
    },
    "I-41": {
        "another price": "UPDATE trading_fill SET price = price + 1 WHERE application_id IS NOT NULL",
        "another amount": "UPDATE trading_fill SET quantity = quantity + 1 WHERE broker_event_id IS NULL",
        "an entry too few": "DELETE FROM trading_entry WHERE kind = 'ADOPTION'",
        "an order too many": "UPDATE trading_order SET application_id = "
        f"{_APPLICATION}, decision_id = NULL WHERE id = (SELECT min(id) FROM trading_order)",
        "another order": "UPDATE trading_order SET quantity = quantity + 1 WHERE tag = 'FLATTEN'",
        "an order ended that nobody named": f"UPDATE trading_orderevent SET application_id = {_APPLICATION} "
        "WHERE id = (SELECT max(id) FROM trading_orderevent)",
        "an order that was not ended": "UPDATE trading_proposal SET payload = replace(payload, '\"orders\":', "
        f'\'"ends":["x"],"orders":\') WHERE id = {_APPLIED}',
        "a stop resized that there is not": "UPDATE trading_proposal SET payload = replace(payload, '\"orders\":', "
        '\'"stops":[{"client_id":"x","do":"resize","instrument":"EURUSD","side":"SELL",'
        f'"tag":"STOP"}}],"orders":\') WHERE id = {_APPLIED}',
    },
    "I-43": {
        "another policy": "UPDATE trading_account SET policy_id = (SELECT id FROM trading_configversion c "
        "WHERE c.id <> trading_account.policy_id ORDER BY id LIMIT 1)",
        "another than was decided": "INSERT INTO trading_proposal (at, recorded_at, kind, account_id, subject_type, "
        "subject_id, subject_version, payload, payload_sha256, reason, proposer_id, approvals_required, expires_at) "
        "SELECT at, recorded_at, 'POLICY', account_id, 'trading.Account', account_id, 1, '{\"to\":\"other\"}', 'x', "
        f"reason, proposer_id, 1, expires_at FROM trading_proposal WHERE id = {_APPLIED}; "
        "INSERT INTO trading_application (at, recorded_at, proposal_id, applied_by_id, result) SELECT at, recorded_at, "
        f"(SELECT max(id) FROM trading_proposal), applied_by_id, '{{}}' FROM trading_application WHERE id = "
        f"{_APPLICATION}",
    },
    "I-31": {
        "a failed run with findings": "UPDATE reconciliation_run SET findings = '[{}]' WHERE status = 'FAILED'",
        "a failed run without an error": "UPDATE reconciliation_run SET error = '' WHERE status = 'FAILED'",
        "complete and yet not": f"UPDATE reconciliation_run SET completeness = 'PARTIAL' WHERE id = {_COMPLETE}",
        "complete without a snapshot": f"UPDATE reconciliation_run SET books_snapshot_id = NULL WHERE id = {_COMPLETE}",
        "a case moved by a failed run": f"UPDATE reconciliation_discrepancyevent SET run_id = {_FAILED} WHERE run_id "
        "IS NOT NULL",
        "a case opened by an incomplete run": "UPDATE reconciliation_run SET status = 'INCOMPLETE', completeness = "
        "'PARTIAL' "
        "WHERE id IN (SELECT run_id FROM reconciliation_discrepancyevent WHERE kind = 'OPENED')",
        "a case seen by a failed run": f"UPDATE reconciliation_discrepancy SET last_run_id = {_FAILED}",
        "a failed run that has read something": 'UPDATE reconciliation_run SET counts = \'{"complete_parts": '
        '["answer", "cash"]}\' WHERE status = \'FAILED\'',
        "a difference that needs no answer": "UPDATE reconciliation_discrepancyevent SET details = details || "
        '\'{"relies_on": "answer"}\'',
    },
    "I-32": {
        "read again by a run that has not read it": _UNREAD,
        "closed by nobody": "UPDATE reconciliation_discrepancyevent SET run_id = NULL WHERE to_state = 'CLOSED'",
        "closed by an earlier run": "UPDATE reconciliation_discrepancyevent SET recorded_at = recorded_at + interval "
        "'1 hour' "
        "WHERE kind = 'APPLIED'",
    },
    "I-38": {
        "another fingerprint": f"UPDATE reconciliation_discrepancy SET fingerprint = 'x' WHERE id = {_CLOSED}",
        "two cases of one difference": _twice("reconciliation_discrepancy", f"id = {_CLOSED}", "fingerprint='other'"),
        "an unknown kind": f"UPDATE reconciliation_discrepancy SET kind = 'WEATHER' WHERE id = {_CLOSED}",
    },
    "P-05": {
        "another state": f"UPDATE reconciliation_discrepancy SET state = 'OPEN' WHERE id = {_CLOSED}",
        "another count": f"UPDATE reconciliation_discrepancy SET times_reopened = 9 WHERE id = {_CLOSED}",
        "an owner out of nowhere": "UPDATE reconciliation_discrepancy SET owner_id = "
        f"(SELECT min(id) FROM trading_user) WHERE id = {_CLOSED}",
        "a label out of nowhere": f"UPDATE reconciliation_discrepancy SET labels = '[\"fine\"]' WHERE id = {_CLOSED}",
        "a comment that moves": "UPDATE reconciliation_discrepancyevent SET kind = 'COMMENTED' WHERE kind = 'OPENED'",
        "a step from nowhere": "UPDATE reconciliation_discrepancyevent SET from_state = 'CLEARED' WHERE kind = "
        "'PROPOSED'",
        "no proposal": "UPDATE reconciliation_discrepancy SET proposal_id = NULL WHERE state = 'PROPOSED'",
        "a proposal for an old version": "UPDATE reconciliation_discrepancy SET version = version + 1 WHERE state = "
        "'PROPOSED'",
    },
    "R-11": {
        "nothing blocks entries": "DELETE FROM trading_restriction",
        "lifted without a reason": "UPDATE trading_restriction SET lift_reason = '' WHERE lifted_at IS NOT NULL",
    },
    "I-45a": {
        "a fill": _unaudited("trading.Fill", "fill.booked"),
        "cash": _unaudited("trading.CashEvent", "cash.booked"),
    },
    "I-45b": {
        "a proposal": _unaudited("trading.Proposal", "proposal.made"),
        "an approval": _unaudited("trading.Proposal", "proposal.approve"),
        "an approval by another": "UPDATE trading_auditevent SET actor_id = (SELECT id FROM trading_user "
        "WHERE username = 'charlie') WHERE kind = 'proposal.approve'",
        "an application": _unaudited("trading.Proposal", "proposal.applied"),
        "a restriction": _unaudited("trading.Restriction", "restriction.put"),
        "a lift": _unaudited("trading.Restriction", "restriction.lifted"),
        "a lift by another": "UPDATE trading_restriction SET lifted_by_id = (SELECT min(id) FROM trading_user) "
        "WHERE lifted_at IS NOT NULL",
    },
    "I-45c": {
        "one step of many": "DELETE FROM trading_auditevent WHERE id = (SELECT min(id) FROM trading_auditevent "
        "WHERE kind = 'discrepancy.opened')",
        "a run": _unaudited("reconciliation.Run", "reconciliation.run"),
        "a failed run": _unaudited("reconciliation.Run", "reconciliation.failed"),
    },
    "I-45d": {
        "an order": _unaudited("trading.Order", "order.planned"),
        "an order's end": _unaudited("trading.Order", "order.moved"),
        "a decision": _unaudited("trading.Decision", "decision.made"),
        "an exit": _unaudited("trading.ExitIntent", "exit.planned"),
        "an account": _unaudited("trading.Account", "account.opened"),
    },
    "I-45e": {
        **{
            f"a row of {table}": "UPDATE trading_chainblock SET transaction = -1 WHERE number = (SELECT max(number) "
            f"FROM trading_chainblock WHERE table_name = '{table}')"
            for table in (
                "trading_signal",
                "trading_decision",
                "trading_orderevent",
                "trading_fill",
                "trading_cashevent",
                "trading_entry",
                "trading_proposal",
                "trading_approval",
                "trading_application",
                "trading_configversion",
                "reconciliation_run",
                "reconciliation_discrepancyevent",
            )
        },
        "an event that is gone": "DELETE FROM trading_auditevent WHERE kind = 'order.moved'",
        "an event of another transaction": "UPDATE trading_chainblock SET transaction = -1 WHERE table_name = "
        "'trading_auditevent'",
    },
    "I-45f": {
        "a group given": "INSERT INTO trading_user_groups (user_id, group_id) SELECT u.id, g.id FROM trading_user u, "
        "auth_group g WHERE u.username = 'charlie' AND g.name = 'approver'",
        "a group taken": "DELETE FROM trading_user_groups",
        "a superuser made": "UPDATE trading_user SET is_superuser = true WHERE username = 'ada'",
        "a user switched on": "UPDATE trading_user SET is_active = NOT is_active WHERE username = 'bob'",
        "another person": "UPDATE trading_user SET person_id = (SELECT person_id FROM trading_user WHERE username = "
        "'ada') WHERE username = 'bob'",
        "somebody new": "INSERT INTO trading_user (password, is_superuser, username, first_name, last_name, email, "
        "is_staff, is_active, date_joined, person_id) SELECT '', false, 'eve', '', '', '', true, true, now(), "
        "person_id FROM trading_user WHERE username = 'bob'",
    },
    "I-46": {
        "an unknown kind": "UPDATE trading_auditevent SET kind = 'weather.changed' WHERE kind = 'fill.booked'",
        "nobody": "UPDATE trading_auditevent SET actor_name = '' WHERE kind = 'fill.booked'",
        "no door": "UPDATE trading_auditevent SET via = '' WHERE kind = 'fill.booked'",
        "a person's door without a user": "UPDATE trading_auditevent SET actor_id = NULL WHERE via = 'admin'",
        "no reason": "UPDATE trading_auditevent SET reason = '' WHERE kind = 'proposal.reject'",
        "a fill that is not there": "UPDATE trading_auditevent SET object_id = '77777' WHERE kind = 'fill.booked'",
        "a case that is not there": "UPDATE trading_auditevent SET object_id = '77777' WHERE kind = "
        "'discrepancy.opened'",
    },
    "I-11b": {
        "a payload": "UPDATE trading_proposal SET payload = payload || ' '",
        "a policy": "UPDATE trading_configversion SET body = body || ' '",
        "a snapshot": "UPDATE reconciliation_snapshot SET body = body || ' '",
        "a broker event": 'UPDATE trading_brokerevent SET body = body || \'{"more": "1"}\'',
        "a broker message": "UPDATE trading_brokermessage SET response_body = response_body || ' '",
    },
}

DATABASE: dict[str, dict[str, str]] = {
    "I-11": {
        "a trigger is gone": "DROP TRIGGER a_append_only ON trading_fill",
        "a trigger is off": "ALTER TABLE trading_entry DISABLE TRIGGER a_append_only",
        "rows are not sealed": "ALTER TABLE trading_fill DISABLE TRIGGER z_chain",
        "rows are not sealed in replica mode": "ALTER TABLE trading_transfer ENABLE TRIGGER z_chain",
        "the seal is gone": "DROP TRIGGER z_chain ON trading_auditevent",
        "a trigger sleeps in replica mode": "ALTER TABLE trading_entry ENABLE TRIGGER a_append_only",
        "the guard of approvals is gone": "DROP TRIGGER guard_approval ON trading_approval",
        "a trigger refuses less": "DROP TRIGGER a_append_only ON trading_lot; CREATE TRIGGER a_append_only BEFORE "
        "DELETE "
        "ON trading_lot FOR EACH STATEMENT EXECUTE FUNCTION refuse_change(); "
        "ALTER TABLE trading_lot ENABLE ALWAYS TRIGGER a_append_only",
        "a trigger that looks away sometimes": "DROP TRIGGER guard_approval ON trading_approval; CREATE TRIGGER "
        "guard_approval "
        "BEFORE INSERT ON trading_approval FOR EACH ROW WHEN (NEW.reason <> 'x') EXECUTE FUNCTION guard_approval(); "
        "ALTER TABLE trading_approval ENABLE ALWAYS TRIGGER guard_approval",
        "persons can be changed": "DROP TRIGGER keep_person ON trading_user",
        "foreign keys are off": "ALTER TABLE trading_ordergroup DISABLE TRIGGER ALL",
    },
    "I-56": {
        "update": "GRANT UPDATE ON trading_fill TO backoffice_app",
        "update of one column": "GRANT UPDATE (memo) ON trading_entry TO backoffice_app",
        "truncate for everybody": "GRANT TRUNCATE ON trading_auditevent TO PUBLIC",
        "insert into the ledger": "GRANT INSERT ON trading_transfer TO backoffice_app",
        "the right to make tables": "GRANT CREATE ON SCHEMA public TO backoffice_app",
        "ownership": "ALTER TABLE trading_lot OWNER TO backoffice_app",
        "the way to the owner": "GRANT backoffice_owner TO backoffice_app",
        "the way from the owner": "GRANT backoffice_app TO backoffice_owner",
        "all power": "ALTER ROLE backoffice_app SUPERUSER",
        "the power to make logins": "ALTER ROLE backoffice_app CREATEROLE",
    },
    "I-57": {
        "a rule is gone": "ALTER TABLE trading_fill DROP CONSTRAINT one_fill_per_external_id",
        "a partial unique index is gone": "DROP INDEX one_order_per_decision_leg",
        "a rule is not checked": "ALTER TABLE trading_order DROP CONSTRAINT order_quantity_is_positive; "
        "ALTER TABLE trading_order ADD CONSTRAINT order_quantity_is_positive CHECK (quantity > 0) NOT VALID",
        "a key is checked at commit": "ALTER TABLE trading_fill ADD FOREIGN KEY (order_id) REFERENCES trading_order "
        "DEFERRABLE INITIALLY DEFERRED",
        "a key is gone": "DO $$ DECLARE key text; BEGIN SELECT conname INTO key FROM pg_constraint WHERE contype = 'f' "
        "AND conrelid = 'trading_fill'::regclass AND confrelid = 'trading_order'::regclass; "
        "EXECUTE format('ALTER TABLE trading_fill DROP CONSTRAINT %I', key); END $$",
        "a float": "ALTER TABLE trading_trade ALTER COLUMN pnl TYPE double precision",
        "NaN is let in": "ALTER TABLE trading_transfer DROP CONSTRAINT trading_transfer_amount_check",
        "a function that agrees to all": "CREATE OR REPLACE FUNCTION guard_approval() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NEW; END'",
        "a function that is gone": "DROP FUNCTION append_lock() CASCADE",
        "a search path of the caller's": "ALTER FUNCTION ledger_post(jsonb) RESET search_path",
        "a posting function for everybody": "GRANT EXECUTE ON FUNCTION ledger_post(jsonb) TO PUBLIC",
        "somebody else's function": "ALTER FUNCTION refuse_change() OWNER TO CURRENT_USER",
    },
    "I-26": {
        "two instruments of one name": "INSERT INTO trading_instrumentalias (instrument_id, broker, symbol, "
        "valid_from, "
        "valid_until) SELECT (SELECT max(id) FROM trading_instrument), broker, symbol, valid_from, now() + interval "
        "'1 day' "
        "FROM trading_instrumentalias ORDER BY id LIMIT 1",
        "two names of one instrument": "INSERT INTO trading_instrumentalias (instrument_id, broker, symbol, "
        "valid_from) "
        "SELECT instrument_id, broker, 'OTHER', valid_from FROM trading_instrumentalias ORDER BY id LIMIT 1",
        "an end before the beginning": "UPDATE trading_instrumentalias SET valid_until = valid_from - interval '1 day'",
    },
}
