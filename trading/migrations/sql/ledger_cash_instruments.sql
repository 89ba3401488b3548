-- Cash instruments: their fills leave a receivable or payable, which a SETTLEMENT pays on its value date, once.
-- Splits: an approved entry closes all lots of an instrument at their own cost, another opens them scaled; each of
-- the new ones remembers the fill that opened its units first.
-- ledger_post: one entry with its transfers, lots and lot closes, or nothing.
-- The same key with the same payload returns the entry that stands; with another payload it is an error (23505).
CREATE OR REPLACE FUNCTION ledger_post(p jsonb) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    entry bigint;
    stored text;
    wanted text := encode(sha256(convert_to(p::text, 'UTF8')), 'hex');
    owner_account bigint := (p->>'account_id')::bigint;
    lots jsonb := coalesce(p->'lots', '[]');
    closes jsonb := coalesce(p->'lot_closes', '[]');
    bad text;
    due date;
    zone text;
BEGIN
    PERFORM 1 FROM trading_chainhead WHERE id = 1 FOR UPDATE;
    SELECT e.id, e.payload_sha256 INTO entry, stored FROM trading_entry e WHERE e.idempotency_key = p->>'key';
    IF FOUND THEN
        IF stored <> wanted THEN
            RAISE EXCEPTION 'ledger key % was posted before with another payload', p->>'key' USING errcode = '23505';
        END IF;
        RETURN entry;
    END IF;
    IF jsonb_array_length(coalesce(p->'transfers', '[]')) = 0 THEN
        RAISE EXCEPTION 'entry % has no transfer', p->>'key' USING errcode = '23514';
    END IF;
    IF (CASE WHEN p->>'kind' IN ('FILL', 'SETTLEMENT', 'EXTERNAL_FILL', 'ADOPTION', 'ESTIMATE', 'SPLIT')
             THEN p->>'fill_id'
             WHEN p->>'kind' IN ('TRANSFER', 'FINANCING', 'DIVIDEND', 'FEE', 'ADJUSTMENT') THEN p->>'cash_event_id'
             WHEN p->>'kind' = 'REVERSAL' THEN p->>'reverses_id' END) IS NULL THEN
        RAISE EXCEPTION 'entry % of kind % names nothing that happened', p->>'key', p->>'kind' USING errcode = '23514';
    END IF;
    IF EXISTS (SELECT 1 FROM trading_fill f WHERE f.id = (p->>'fill_id')::bigint AND f.account_id <> owner_account)
       OR EXISTS (SELECT 1 FROM trading_cashevent c
                  WHERE c.id = (p->>'cash_event_id')::bigint AND c.account_id <> owner_account) THEN
        RAISE EXCEPTION 'entry % books what happened on another account', p->>'key' USING errcode = '23514';
    END IF;
    IF p->>'kind' = 'SETTLEMENT' THEN
        SELECT f.settles_on, a.time_zone INTO STRICT due, zone
        FROM trading_fill f JOIN trading_account a ON a.id = f.account_id WHERE f.id = (p->>'fill_id')::bigint;
        IF due IS NULL OR due <> (p->>'value_date')::date OR due > ((p->>'at')::timestamptz AT TIME ZONE zone)::date THEN
            RAISE EXCEPTION 'entry % settles a fill before, or not on, its value date', p->>'key' USING errcode = '23514';
        END IF;
        IF jsonb_array_length(lots || closes) > 0 THEN
            RAISE EXCEPTION 'entry % settles a fill and moves lots', p->>'key' USING errcode = '23514';
        END IF;
    END IF;
    IF p->>'kind' <> 'SPLIT' AND EXISTS (SELECT 1 FROM jsonb_array_elements(lots) t WHERE t->>'origin_id' IS NOT NULL)
       OR EXISTS (SELECT 1 FROM jsonb_array_elements(lots) t JOIN trading_fill f ON f.id = (t->>'origin_id')::bigint
                  WHERE f.account_id <> owner_account OR f.instrument_id <> (t->>'instrument_id')::bigint) THEN
        RAISE EXCEPTION 'entry % gives a lot an origin that it cannot have', p->>'key' USING errcode = '23514';
    END IF;
    IF p->>'fill_id' IS NULL AND p->>'kind' <> 'REVERSAL' AND jsonb_array_length(lots || closes) > 0 THEN
        RAISE EXCEPTION 'entry % opens or closes lots without a fill', p->>'key' USING errcode = '23514';
    END IF;
    SELECT string_agg(n.key || ' ' || n.value, ', ') INTO bad
    FROM jsonb_array_elements(lots || closes) t, jsonb_each_text(t) n
    WHERE n.key IN ('quantity', 'unit_cost', 'unit_price', 'profit_quote')
      AND n.value::numeric <> round(n.value::numeric, 12);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry %: lots with more decimals than are stored: %', p->>'key', bad USING errcode = '23514';
    END IF;

    INSERT INTO trading_entry (account_id, idempotency_key, payload_sha256, kind, at, recorded_at, value_date, trading_day,
                               fill_id, cash_event_id, application_id, reverses_id, memo)
    VALUES (owner_account, p->>'key', wanted, p->>'kind', (p->>'at')::timestamptz, clock_timestamp(),
            (p->>'value_date')::date, (p->>'trading_day')::date, (p->>'fill_id')::bigint, (p->>'cash_event_id')::bigint,
            (p->>'application_id')::bigint, (p->>'reverses_id')::bigint, coalesce(p->>'memo', ''))
    RETURNING id INTO entry;

    SELECT string_agg(t->>'commodity' || ' ' || (t->>'amount'), ', ') INTO bad
    FROM jsonb_array_elements(p->'transfers') t
    LEFT JOIN trading_commodity c ON c.code = t->>'commodity'
    LEFT JOIN trading_ledgeraccount d ON d.id = (t->>'debit')::bigint
    LEFT JOIN trading_ledgeraccount k ON k.id = (t->>'credit')::bigint
    WHERE c.code IS NULL OR d.account_id IS DISTINCT FROM owner_account OR k.account_id IS DISTINCT FROM owner_account
       OR (t->>'amount')::numeric <> round((t->>'amount')::numeric, c.scale);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry %: foreign ledger account, unknown commodity, or more decimals than it has: %', p->>'key', bad
            USING errcode = '23514';
    END IF;

    INSERT INTO trading_transfer (entry_id, debit_id, credit_id, commodity_id, amount)
    SELECT entry, (t->>'debit')::bigint, (t->>'credit')::bigint, t->>'commodity', (t->>'amount')::numeric
    FROM jsonb_array_elements(p->'transfers') WITH ORDINALITY AS x(t, n) ORDER BY n;

    IF p->>'kind' = 'SETTLEMENT' THEN
        SELECT string_agg(x.commodity || ' ' || x.amount, ', ') INTO bad FROM (
            SELECT s.commodity_id AS commodity, sum(s.amount) AS amount
            FROM trading_entry e JOIN ledger_posting s ON s.entry_id = e.id
            JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id AND l.kind = 'UNSETTLED'
            WHERE e.fill_id = (p->>'fill_id')::bigint GROUP BY 1 HAVING sum(s.amount) <> 0
            UNION ALL
            SELECT s.commodity_id, s.amount
            FROM ledger_posting s JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id
            WHERE s.entry_id = entry AND l.kind NOT IN ('CASH', 'UNSETTLED')) x;
        IF bad IS NOT NULL THEN
            RAISE EXCEPTION 'entry % settles another amount than is outstanding: % is left', p->>'key', bad
                USING errcode = '23514';
        END IF;
    END IF;

    INSERT INTO trading_lot (entry_id, account_id, instrument_id, fill_id, origin_id, side, quantity, unit_cost,
                             opened_at)
    SELECT entry, owner_account, (t->>'instrument_id')::bigint, (p->>'fill_id')::bigint,
           (t->>'origin_id')::bigint, (t->>'side')::smallint,
           (t->>'quantity')::numeric, (t->>'unit_cost')::numeric, (p->>'at')::timestamptz
    FROM jsonb_array_elements(lots) WITH ORDINALITY AS x(t, n) ORDER BY n;

    INSERT INTO trading_lotclose (entry_id, lot_id, fill_id, quantity, unit_price, profit_quote, closed_at)
    SELECT entry, (t->>'lot_id')::bigint, (p->>'fill_id')::bigint, (t->>'quantity')::numeric,
           (t->>'unit_price')::numeric, (t->>'profit_quote')::numeric, (p->>'at')::timestamptz
    FROM jsonb_array_elements(closes) WITH ORDINALITY AS x(t, n) ORDER BY n;

    SELECT string_agg(l.id::text, ', ') INTO bad
    FROM trading_lot l
    WHERE l.id IN (SELECT (t->>'lot_id')::bigint FROM jsonb_array_elements(closes) t)
      AND (l.account_id <> owner_account
           OR l.quantity < (SELECT sum(c.quantity) FROM trading_lotclose c WHERE c.lot_id = l.id));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'entry % would close more of lot % than it holds', p->>'key', bad USING errcode = '23514';
    END IF;
    RETURN entry;
END $$;

-- Keys of append-only tables are checked at once, so that no check locks a parent after the append lock.
DO $$
DECLARE fk record;
BEGIN
    FOR fk IN SELECT conname FROM pg_constraint
              WHERE conrelid = 'trading_lot'::regclass AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE trading_lot ALTER CONSTRAINT %I NOT DEFERRABLE', fk.conname);
    END LOOP;
END $$;
