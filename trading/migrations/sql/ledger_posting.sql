-- The ledger's door, for one entry and for many at once.
-- ledger_post_many(array): entries with their transfers, lots and lot closes: all of them, or nothing. Returns the
-- numbers of the entries in the order given. The same key with the same payload is the entry that stands; with another
-- payload it is an error (23505).
-- Rows are inserted first and checked as they stand: what is wrong takes everything back.
-- Plans are made once for a session, for any number of rows, and reach rows by their keys: planning each call anew would
-- cost a single entry more than its posting, and a plan made while a table was small would read all of it ever after.
CREATE FUNCTION ledger_post_many(p jsonb) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET timezone = 'UTC'
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off AS $$
DECLARE
    drafts jsonb[];
    keys text[];
    hashes text[];
    entries bigint[];
    posted text[];
    owners bigint[];
    answer bigint[];
    moved bigint;
    stored bigint;
    has_to_match boolean;
    moves_lots boolean;
    bad text;
BEGIN
    SELECT array_agg(d ORDER BY n), array_agg(d->>'key' ORDER BY n),
           array_agg(encode(sha256(convert_to(d::text, 'UTF8')), 'hex') ORDER BY n)
    INTO drafts, keys, hashes
    FROM jsonb_array_elements(p) WITH ORDINALITY AS a(d, n);

    -- The insert takes the append lock before it looks at any key, and holds it until commit.
    WITH made AS (
        INSERT INTO trading_entry (account_id, idempotency_key, payload_sha256, kind, at, recorded_at, value_date,
                                   trading_day, fill_id, cash_event_id, application_id, reverses_id, replaces_id, memo)
        SELECT (d->>'account_id')::bigint, k, h, d->>'kind', (d->>'at')::timestamptz, clock_timestamp(),
               (d->>'value_date')::date, (d->>'trading_day')::date, (d->>'fill_id')::bigint,
               (d->>'cash_event_id')::bigint, (d->>'application_id')::bigint, (d->>'reverses_id')::bigint,
               (d->>'replaces_id')::bigint, coalesce(d->>'memo', '')
        FROM unnest(drafts, keys, hashes) WITH ORDINALITY AS x(d, k, h, n) ORDER BY n
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING id, idempotency_key, account_id)
    SELECT array_agg(id ORDER BY id), array_agg(idempotency_key ORDER BY id), array_agg(account_id ORDER BY id)
    INTO entries, posted, owners FROM made;
    answer := entries;

    IF cardinality(entries) IS DISTINCT FROM cardinality(keys) THEN
        -- Some keys stood already, or were given twice: those are answered, and only the first of the new ones posted.
        SELECT array_agg(e.id ORDER BY x.n), string_agg(x.k, ', ') FILTER (WHERE e.payload_sha256 <> x.h)
        INTO answer, bad
        FROM unnest(keys, hashes) WITH ORDINALITY AS x(k, h, n) JOIN trading_entry e ON e.idempotency_key = x.k;
        IF bad IS NOT NULL THEN
            RAISE EXCEPTION 'ledger key % was posted before with another payload', bad USING errcode = '23505';
        END IF;
        SELECT array_agg(f.d ORDER BY f.n) INTO drafts
        FROM (SELECT DISTINCT ON (x.k) x.d, x.k, x.n FROM unnest(drafts, keys) WITH ORDINALITY AS x(d, k, n)
              ORDER BY x.k, x.n) f
        WHERE f.k = ANY (posted);
    END IF;
    IF entries IS NULL THEN
        RETURN coalesce(answer, '{}');
    END IF;

    SELECT string_agg(d->>'key', ', ') FILTER (WHERE jsonb_array_length(coalesce(d->'transfers', '[]')) = 0),
           sum(jsonb_array_length(coalesce(d->'transfers', '[]'))),
           bool_or(d->>'kind' IN ('SETTLEMENT', 'REVERSAL', 'ADJUSTMENT') OR d->>'key' LIKE 'restated:%'),
           bool_or(d->'lots' <> '[]' OR d->'lot_closes' <> '[]')
    INTO bad, moved, has_to_match, moves_lots FROM unnest(drafts) d;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry % has no transfer', bad USING errcode = '23514';
    END IF;
    PERFORM ledger_check_entries(entries);

    INSERT INTO trading_transfer (entry_id, debit_id, credit_id, commodity_id, amount)
    SELECT x.entry, r.id, s.id, c.code, t.amount
    FROM unnest(drafts, entries, owners) AS x(d, entry, owner)
    CROSS JOIN LATERAL ROWS FROM (jsonb_to_recordset(x.d->'transfers')
        AS (debit bigint, credit bigint, commodity text, amount numeric)) WITH ORDINALITY
        AS t(debit, credit, commodity, amount, n)
    JOIN trading_commodity c ON c.code = t.commodity AND t.amount = round(t.amount, c.scale)
    JOIN trading_ledgeraccount r ON r.id = t.debit AND r.account_id = x.owner
    JOIN trading_ledgeraccount s ON s.id = t.credit AND s.account_id = x.owner
        AND ('SUSPENSE' NOT IN (r.kind, s.kind) OR x.d->>'application_id' IS NOT NULL)
    ORDER BY x.entry, t.n;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored <> moved THEN
        SELECT string_agg(concat(d->>'key', ': ', t->>'commodity', ' ', t->>'amount'), ', ') INTO bad
        FROM unnest(drafts) d
        CROSS JOIN LATERAL jsonb_array_elements(d->'transfers') t
        LEFT JOIN trading_commodity c ON c.code = t->>'commodity'
        LEFT JOIN trading_ledgeraccount r ON r.id = (t->>'debit')::bigint
        LEFT JOIN trading_ledgeraccount s ON s.id = (t->>'credit')::bigint
        WHERE c.code IS NULL OR (t->>'amount')::numeric = round((t->>'amount')::numeric, c.scale) IS NOT TRUE
           OR r.account_id IS DISTINCT FROM (d->>'account_id')::bigint
           OR s.account_id IS DISTINCT FROM (d->>'account_id')::bigint
           OR 'SUSPENSE' IN (r.kind, s.kind) AND d->>'application_id' IS NULL;
        RAISE EXCEPTION 'entry %: foreign ledger account, unknown commodity, more decimals than it has, or the '
            'suspense account without an approval', bad USING errcode = '23514';
    END IF;
    IF has_to_match THEN
        PERFORM ledger_check_transfers(entries);
    END IF;
    IF moves_lots THEN
        PERFORM ledger_move_lots(drafts, entries);
    END IF;
    RETURN answer;
END $$;

-- What entries must name: what happened, on their own account; approval where a person decided, or the day is closed.
CREATE FUNCTION ledger_check_entries(entries bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    wrong record;
BEGIN
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
              OR e.reverses_id IS NOT NULL AND r.account_id <> e.account_id
              OR e.replaces_id IS NOT NULL AND i.account_id <> e.account_id
                THEN 'books what happened on another account'
            WHEN e.kind IN ('FILL', 'EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE')
              AND e.idempotency_key NOT LIKE 'restated:%' AND EXISTS (
                    SELECT 1 FROM trading_entry o
                    WHERE o.fill_id = e.fill_id AND o.id < e.id AND o.kind NOT IN ('SETTLEMENT', 'REVERSAL')
                      AND o.idempotency_key NOT LIKE 'restated:%')
                THEN 'books a fill that is booked already'
            WHEN NOT isfinite(e.at) OR NOT isfinite(e.value_date)
              OR e.trading_day <> (e.at AT TIME ZONE a.time_zone)::date
                THEN 'is not dated by its own moment on its account''s clock'
            WHEN r.kind = 'REVERSAL' OR i.kind = 'REVERSAL' OR e.reverses_id >= e.id OR e.replaces_id >= e.id
                THEN 'reverses or replaces an entry that is a reversal itself, or is not there yet'
            WHEN e.application_id IS NULL AND e.kind IN ('EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE',
                                                         'SPLIT', 'SYMBOL_CHANGE', 'ADJUSTMENT', 'REVERSAL')
                THEN NULL  -- the table's own rule says so
            WHEN e.application_id IS NULL AND EXISTS (
                    SELECT 1 FROM trading_closedday z
                    WHERE z.account_id = e.account_id AND z.trading_day = e.trading_day)
                THEN concat('falls into ', e.trading_day, ', which was signed off: only an approved entry may be added')
            WHEN e.application_id IS NOT NULL AND NOT ledger_may_cite(e)
                THEN 'cites an approval that is not for it: one of the same transaction, which says this, is needed'
            WHEN e.replaces_id IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM trading_entry v WHERE v.reverses_id = e.replaces_id)
                THEN 'replaces an entry that was not reversed'
            WHEN e.kind = 'SETTLEMENT' AND (f.settles_on IS NULL OR f.settles_on <> e.value_date
                    OR f.settles_on > (e.at AT TIME ZONE a.time_zone)::date)
                THEN 'settles a fill before, or not on, its value date'
            END AS problem
        FROM trading_entry e JOIN trading_account a ON a.id = e.account_id
        LEFT JOIN trading_fill f ON f.id = e.fill_id LEFT JOIN trading_cashevent c ON c.id = e.cash_event_id
        LEFT JOIN trading_entry r ON r.id = e.reverses_id LEFT JOIN trading_entry i ON i.id = e.replaces_id
        WHERE e.id = ANY (entries)) x
    WHERE x.problem IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % %', wrong.key, wrong.problem USING errcode = '23514';
    END IF;
END $$;

-- Whether an entry's approval was applied in this very transaction, for this account, and says what is posted:
-- a reversal names its entry, an adjustment its currency and amount. An old approval can never be used again.
CREATE FUNCTION ledger_may_cite(e trading_entry) RETURNS boolean LANGUAGE sql STABLE
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
              WHERE x->>'entry' = e.kind AND (e.kind <> 'REVERSAL' OR (x->>'reverses')::bigint = e.reverses_id)))
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
CREATE FUNCTION ledger_check_transfers(entries bigint[]) RETURNS void LANGUAGE plpgsql
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

-- Lots that entries open and close. Those that stood are closed first; none may be closed beyond what it holds.
CREATE FUNCTION ledger_move_lots(drafts jsonb[], entries bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    SELECT string_agg(concat(d->>'key', ': ', n.key, ' ', n.value), ', ') INTO bad
    FROM unnest(drafts) d
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(d->'lots', '[]') || coalesce(d->'lot_closes', '[]')) t
    CROSS JOIN LATERAL jsonb_each_text(t) n
    WHERE n.key IN ('quantity', 'unit_cost', 'unit_price', 'profit_quote')
      AND n.value::numeric <> round(n.value::numeric, 12);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry %: lots with more decimals than are stored', bad USING errcode = '23514';
    END IF;

    INSERT INTO trading_lot (entry_id, account_id, instrument_id, fill_id, origin_id, side, quantity, unit_cost,
                             opened_at)
    SELECT e.id, e.account_id, (t->>'instrument_id')::bigint, e.fill_id, (t->>'origin_id')::bigint,
           (t->>'side')::smallint, (t->>'quantity')::numeric, (t->>'unit_cost')::numeric,
           coalesce((t->>'opened_at')::timestamptz, e.at)
    FROM unnest(drafts, entries) AS x(d, entry) JOIN trading_entry e ON e.id = x.entry
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(d->'lots', '[]')) WITH ORDINALITY AS y(t, n)
    ORDER BY e.id, y.n;

    INSERT INTO trading_lotclose (entry_id, lot_id, fill_id, quantity, unit_price, profit_quote, closed_at)
    SELECT e.id, (t->>'lot_id')::bigint, e.fill_id, (t->>'quantity')::numeric, (t->>'unit_price')::numeric,
           (t->>'profit_quote')::numeric, e.at
    FROM unnest(drafts, entries) AS x(d, entry) JOIN trading_entry e ON e.id = x.entry
    CROSS JOIN LATERAL jsonb_array_elements(coalesce(d->'lot_closes', '[]')) WITH ORDINALITY AS y(t, n)
    ORDER BY e.id, y.n;

    SELECT string_agg(x.told, ', ') INTO bad FROM (
        SELECT concat(e.idempotency_key, ' opens or closes lots without a fill') AS told
        FROM trading_entry e
        WHERE e.id = ANY (entries)
          AND (e.fill_id IS NULL AND e.kind <> 'REVERSAL' OR e.kind = 'SETTLEMENT'
               OR e.idempotency_key LIKE 'restated:%')
          AND (EXISTS (SELECT 1 FROM trading_lot l WHERE l.entry_id = e.id)
               OR EXISTS (SELECT 1 FROM trading_lotclose c WHERE c.entry_id = e.id))
        UNION ALL
        SELECT concat(e.idempotency_key, ' gives a lot an origin that it cannot have')
        FROM trading_entry e JOIN trading_lot l ON l.entry_id = e.id JOIN trading_fill f ON f.id = l.origin_id
        WHERE e.id = ANY (entries) AND f.account_id <> e.account_id
        UNION ALL
        SELECT concat(e.idempotency_key, ' moves other units of ', i.symbol, ' in lots than in positions')
        FROM trading_entry e CROSS JOIN trading_instrument i
        WHERE e.id = ANY (entries) AND e.application_id IS NOT NULL
          AND (EXISTS (SELECT 1 FROM trading_lot l WHERE l.entry_id = e.id AND l.instrument_id = i.id)
               OR EXISTS (SELECT 1 FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id
                          WHERE c.entry_id = e.id AND l.instrument_id = i.id))
          AND (SELECT coalesce(sum(l.side * l.quantity), 0) FROM trading_lot l
               WHERE l.entry_id = e.id AND l.instrument_id = i.id)
            - (SELECT coalesce(sum(l.side * c.quantity), 0) FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id
               WHERE c.entry_id = e.id AND l.instrument_id = i.id)
           <> (SELECT coalesce(sum(s.amount), 0) FROM ledger_posting s
               JOIN trading_ledgeraccount p ON p.id = s.ledger_account_id AND p.kind = 'POSITION'
               WHERE s.entry_id = e.id AND s.commodity_id = i.symbol)
        UNION ALL
        SELECT concat(e.idempotency_key, ' would close more of lot ', l.id, ' than it holds')
        FROM trading_entry e JOIN trading_lotclose c ON c.entry_id = e.id JOIN trading_lot l ON l.id = c.lot_id
        WHERE e.id = ANY (entries)
          AND (l.account_id <> e.account_id
               OR l.quantity < (SELECT sum(z.quantity) FROM trading_lotclose z WHERE z.lot_id = l.id))) x;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry %', bad USING errcode = '23514';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger_post(p jsonb) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$ BEGIN RETURN (ledger_post_many(jsonb_build_array(p)))[1]; END $$;

-- Only the two doors are open, and only to the application's login.
REVOKE ALL ON FUNCTION ledger_post_many(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_check_entries(bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_check_transfers(bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_move_lots(jsonb[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger_may_cite(trading_entry) FROM PUBLIC;
