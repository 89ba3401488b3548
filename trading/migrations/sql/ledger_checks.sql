-- What the ledger's door refuses. Rows are checked as they stand in their tables, inserted by this very call: a check
-- raises 23514 and takes everything back. Each reaches the new entries first, by their keys, and all else from them.

-- What every entry must name: what happened, on its own account, once; by its moment on the account's clock; and not on a
-- day that was signed off, unless a person decided it.
CREATE OR REPLACE FUNCTION ledger_check_entries(entries bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    WITH e AS MATERIALIZED (SELECT * FROM trading_entry WHERE id = ANY (entries))
    SELECT * INTO wrong FROM (
        SELECT e.idempotency_key AS key, CASE
            WHEN (CASE
                    WHEN e.kind IN ('FILL', 'SETTLEMENT', 'EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE',
                                    'SPLIT', 'SYMBOL_CHANGE') THEN e.fill_id
                    WHEN e.kind IN ('TRANSFER', 'FINANCING', 'DIVIDEND', 'FEE', 'TAX', 'CONVERSION', 'ADJUSTMENT')
                        THEN e.cash_event_id
                    WHEN e.kind = 'REVERSAL' THEN e.reverses_id END) IS NULL
                THEN concat('of kind ', e.kind, ' names nothing that happened')
            WHEN e.fill_id IS NOT NULL AND f.account_id <> e.account_id
              OR e.cash_event_id IS NOT NULL AND c.account_id <> e.account_id
                THEN 'books what happened on another account'
            WHEN e.kind IN ('FILL', 'EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE')
              AND e.idempotency_key NOT LIKE 'restated:%' AND EXISTS (
                    SELECT 1 FROM trading_entry o
                    WHERE o.fill_id = e.fill_id AND o.id <> e.id AND o.kind NOT IN ('SETTLEMENT', 'REVERSAL')
                      AND o.idempotency_key NOT LIKE 'restated:%')
                THEN 'books a fill that is booked already'
            WHEN NOT isfinite(e.at) OR NOT isfinite(e.value_date)
              OR e.trading_day <> (e.at AT TIME ZONE a.time_zone)::date
                THEN 'is not dated by its own moment on its account''s clock'
            WHEN e.application_id IS NULL AND EXISTS (
                    SELECT 1 FROM trading_closedday z
                    WHERE z.account_id = e.account_id AND z.trading_day = e.trading_day)
                THEN concat('falls into ', e.trading_day, ', which was signed off: only an approved entry may be added')
            WHEN e.kind = 'SETTLEMENT' AND (f.settles_on IS NULL OR f.settles_on <> e.value_date
                    OR f.settles_on > (e.at AT TIME ZONE a.time_zone)::date)
                THEN 'settles a fill before, or not on, its value date'
            END AS problem
        FROM e JOIN trading_account a ON a.id = e.account_id
        LEFT JOIN trading_fill f ON f.id = e.fill_id LEFT JOIN trading_cashevent c ON c.id = e.cash_event_id) x
    WHERE x.problem IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % %', wrong.key, wrong.problem USING errcode = '23514';
    END IF;
END $$;

-- What entries must name that a person decided: an approval that is for them, and an entry of the same account which can
-- be reversed or replaced.
CREATE OR REPLACE FUNCTION ledger_check_decided(entries bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    WITH e AS MATERIALIZED (SELECT * FROM trading_entry WHERE id = ANY (entries))
    SELECT * INTO wrong FROM (
        SELECT e.idempotency_key AS key, CASE
            WHEN e.reverses_id IS NOT NULL AND r.account_id <> e.account_id
              OR e.replaces_id IS NOT NULL AND i.account_id <> e.account_id
                THEN 'books what happened on another account'
            WHEN r.kind = 'REVERSAL' OR i.kind = 'REVERSAL' OR e.reverses_id >= e.id OR e.replaces_id >= e.id
                THEN 'reverses or replaces an entry that is a reversal itself, or is not there yet'
            WHEN e.application_id IS NOT NULL AND NOT ledger_may_cite(t)
                THEN 'cites an approval that is not for it: one of the same transaction, which says this, is needed'
            WHEN e.replaces_id IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM trading_entry v WHERE v.reverses_id = e.replaces_id)
                THEN 'replaces an entry that was not reversed'
            END AS problem
        FROM e JOIN trading_entry t ON t.id = e.id
        LEFT JOIN trading_entry r ON r.id = e.reverses_id LEFT JOIN trading_entry i ON i.id = e.replaces_id) x
    WHERE x.problem IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % %', wrong.key, wrong.problem USING errcode = '23514';
    END IF;
END $$;

-- Whether an entry's approval was applied in this very transaction, for this account, and says what is posted:
-- a reversal names its entry, an adjustment its currency and amount, a fill itself, its units and its price. An old
-- approval can never be used again.
CREATE OR REPLACE FUNCTION ledger_may_cite(e trading_entry) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT 1 FROM trading_application a JOIN trading_proposal q ON q.id = a.proposal_id
        WHERE a.id = e.application_id AND q.account_id = e.account_id
          AND EXISTS (SELECT 1 FROM (
                  SELECT b.transaction, b.sealed_at FROM trading_chainblock b
                  WHERE b.table_name = 'trading_application' AND b.last_id >= a.id ORDER BY b.last_id LIMIT 1) z
              -- the moment, too: after a restore into a new server transactions are numbered anew
              WHERE z.transaction = pg_current_xact_id()::text::bigint AND z.sealed_at >= transaction_timestamp())
          AND (e.kind NOT IN ('EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE', 'SPLIT', 'SYMBOL_CHANGE',
                              'REVERSAL')
               OR EXISTS (
              SELECT 1 FROM jsonb_array_elements(q.payload::jsonb->'entries') x
              LEFT JOIN trading_fill f ON f.id = e.fill_id LEFT JOIN trading_instrument i ON i.id = f.instrument_id
              WHERE x->>'entry' = e.kind AND (e.kind <> 'REVERSAL' OR (x->>'reverses')::bigint = e.reverses_id)
                -- the broker's fill by its number, which a later version of it begins with; our own by its instrument
                AND (x->>'quantity' IS NULL
                     OR f.quantity = abs((x->>'quantity')::numeric) AND f.price = (x->>'price')::numeric
                     AND coalesce(starts_with(f.external_id, x->>'external_id'), i.symbol = x->>'instrument'))))
          -- as many entries of an amount as the approval names, no more
          AND (e.kind <> 'ADJUSTMENT' OR (
              SELECT count(*) FROM trading_entry o JOIN trading_cashevent k ON k.id = o.cash_event_id
              WHERE o.application_id = a.id AND o.kind = 'ADJUSTMENT' AND (k.currency, k.amount) = (
                  SELECT c.currency, c.amount FROM trading_cashevent c WHERE c.id = e.cash_event_id)) <= (
              SELECT count(*) FROM jsonb_array_elements(q.payload::jsonb->'entries') x
              JOIN trading_cashevent c ON c.id = e.cash_event_id
              WHERE x->>'entry' = 'ADJUSTMENT' AND x->>'currency' = c.currency
                AND (x->>'amount')::numeric = c.amount)));
$$;

-- What transfers must come to: a settlement pays exactly what is outstanding, a reversal is the exact mirror.
CREATE OR REPLACE FUNCTION ledger_check_transfers(entries bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
    FOR wrong IN SELECT e.id, e.idempotency_key AS key, e.kind, e.fill_id, e.reverses_id FROM trading_entry e
                 WHERE e.id = ANY (entries) AND e.kind IN ('SETTLEMENT', 'REVERSAL') LOOP
        IF wrong.kind = 'REVERSAL' THEN
            IF EXISTS (
                (SELECT debit_id, credit_id, amount FROM trading_transfer WHERE entry_id = wrong.id
                 EXCEPT ALL
                 SELECT credit_id, debit_id, amount FROM trading_transfer WHERE entry_id = wrong.reverses_id)
                UNION ALL
                (SELECT credit_id, debit_id, amount FROM trading_transfer WHERE entry_id = wrong.reverses_id
                 EXCEPT ALL
                 SELECT debit_id, credit_id, amount FROM trading_transfer WHERE entry_id = wrong.id)) THEN
                RAISE EXCEPTION 'entry % is not the exact mirror of entry %', wrong.key, wrong.reverses_id
                    USING errcode = '23514';
            END IF;
        ELSIF EXISTS (
            SELECT 1 FROM trading_entry e JOIN ledger_posting s ON s.entry_id = e.id
            JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id AND l.kind = 'UNSETTLED'
            WHERE e.fill_id = wrong.fill_id GROUP BY s.commodity_id HAVING sum(s.amount) <> 0)
           OR EXISTS (
            SELECT 1 FROM ledger_posting s JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id
            WHERE s.entry_id = wrong.id AND l.kind NOT IN ('CASH', 'UNSETTLED')) THEN
            RAISE EXCEPTION 'entry % settles another amount than is outstanding', wrong.key USING errcode = '23514';
        END IF;
    END LOOP;
    -- What restates the profit of a fill that is booked moves cost and profit, never cash, units or lots.
    SELECT e.idempotency_key AS key INTO wrong FROM trading_entry e
    WHERE e.id = ANY (entries) AND e.idempotency_key LIKE 'restated:%' AND EXISTS (
        SELECT 1 FROM ledger_posting s JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id
        WHERE s.entry_id = e.id AND l.kind NOT IN ('MARKET', 'REALISED', 'ROUNDING')) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % restates a profit and moves something else', wrong.key USING errcode = '23514';
    END IF;
    -- An adjustment moves cash by the amount that was approved, against the suspense account, and nothing else.
    SELECT e.idempotency_key AS key INTO wrong FROM trading_entry e JOIN trading_cashevent c ON c.id = e.cash_event_id
    WHERE e.id = ANY (entries) AND e.kind = 'ADJUSTMENT' AND EXISTS (
        SELECT 1 FROM ledger_posting s JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id
        WHERE s.entry_id = e.id
        GROUP BY l.kind, s.commodity_id
        HAVING sum(s.amount) IS DISTINCT FROM (CASE WHEN s.commodity_id <> c.currency THEN NULL
            WHEN l.kind = 'CASH' THEN c.amount WHEN l.kind = 'SUSPENSE' THEN -c.amount END)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % moves another amount than was approved', wrong.key USING errcode = '23514';
    END IF;
END $$;

REVOKE ALL ON FUNCTION ledger_check_entries(bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_check_decided(bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_check_transfers(bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_may_cite(trading_entry) FROM PUBLIC;
