-- The ledger's door, for one entry and for many at once.
-- ledger_post_many(array): entries with their transfers, lots and lot closes: all of them, or nothing. Returns the
-- numbers of the entries in the order given. The same key with the same payload is the entry that stands; with another
-- payload it is an error (23505).
-- Rows are inserted first and checked as they stand: what is wrong takes everything back.
-- Plans are made once for a session, for any number of rows, and reach rows by their keys: planning each call anew would
-- cost a single entry more than its posting, and a plan made while a table was small would read all of it ever after.
CREATE OR REPLACE FUNCTION ledger_post_many(p jsonb) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER
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
    is_decided boolean;
    empty text;
    bad text;
BEGIN
    SELECT array_agg(d ORDER BY n), array_agg(d->>'key' ORDER BY n),
           array_agg(encode(sha256(convert_to(d::text, 'UTF8')), 'hex') ORDER BY n),
           string_agg(d->>'key', ', ') FILTER (WHERE jsonb_array_length(coalesce(d->'transfers', '[]')) = 0),
           sum(jsonb_array_length(coalesce(d->'transfers', '[]'))),
           bool_or(d->>'kind' IN ('SETTLEMENT', 'REVERSAL', 'ADJUSTMENT') OR d->>'key' LIKE 'restated:%'),
           bool_or(d->'lots' <> '[]' OR d->'lot_closes' <> '[]'),
           bool_or(coalesce(d->>'application_id', d->>'reverses_id', d->>'replaces_id') IS NOT NULL)
    INTO drafts, keys, hashes, empty, moved, has_to_match, moves_lots, is_decided
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
        SELECT array_agg(f.d ORDER BY f.n), sum(jsonb_array_length(f.d->'transfers')) INTO drafts, moved
        FROM (SELECT DISTINCT ON (x.k) x.d, x.k, x.n FROM unnest(drafts, keys) WITH ORDINALITY AS x(d, k, n)
              ORDER BY x.k, x.n) f
        WHERE f.k = ANY (posted);
    END IF;
    IF entries IS NULL THEN
        RETURN coalesce(answer, '{}');
    END IF;

    IF empty IS NOT NULL THEN
        RAISE EXCEPTION 'entry % has no transfer', empty USING errcode = '23514';
    END IF;
    PERFORM ledger_check_entries(entries);
    IF is_decided THEN
        PERFORM ledger_check_decided(entries);
    END IF;

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

-- Lots that entries open and close. Those that stood are closed first; none may be closed beyond what it holds.
CREATE OR REPLACE FUNCTION ledger_move_lots(drafts jsonb[], entries bigint[]) RETURNS void LANGUAGE plpgsql
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
REVOKE ALL ON FUNCTION ledger_move_lots(jsonb[], bigint[]) FROM PUBLIC;
