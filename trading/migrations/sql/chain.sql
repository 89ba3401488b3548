-- The hash chain. Every statement that inserts rows into an append-only table is sealed by one block, in the same
-- transaction, by a trigger that also holds in replica mode: nothing is ever stored unsealed.
--   row text  the row as PostgreSQL writes a record, without the closing bracket and without trailing commas: columns
--             that are NULL at the end vanish, so a column that is added later (always NULL for old rows) changes no hash
--   leaf      sha256 of the row text
--   root      sha256 of all leaves of the block in the order of their ids; marks: the first four bytes of each leaf
--   hash      sha256 of 'block-1', number, table, first id, last id, rows, root, previous, transaction, time, login,
--             with ':' between them
-- The first block's `previous` is the chain's identity, made at random by the migration.
CREATE FUNCTION chain_append(of_table text, lo bigint, hi bigint, rows bigint, block_root bytea, block_marks bytea)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head trading_chainhead;
    at_moment timestamptz := clock_timestamp();
    in_transaction bigint := pg_current_xact_id()::text::bigint;
    sealed bytea;
BEGIN
    SELECT * INTO STRICT head FROM trading_chainhead WHERE id = 1;
    sealed := sha256(convert_to(concat_ws(':', 'block-1', head.number + 1, of_table, lo, hi, rows,
        encode(block_root, 'hex'), encode(head.hash, 'hex'), in_transaction,
        to_char(at_moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), session_user), 'UTF8'));
    INSERT INTO trading_chainblock (number, table_name, first_id, last_id, row_count, root, marks, previous, hash,
                                    sealed_at, transaction, login)
    VALUES (head.number + 1, of_table, lo, hi, rows, block_root, block_marks, head.hash, sealed, at_moment,
            in_transaction, session_user);
    UPDATE trading_chainhead SET number = head.number + 1, hash = sealed WHERE id = 1;
END $$;

CREATE FUNCTION chain_add() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET bytea_output = 'hex'
    SET extra_float_digits = 1 SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    this_table text := tg_table_name;  -- a name has another collation, and an index of text would not be used
    lo bigint;
    hi bigint;
    rows bigint;
    block_root bytea;
    block_marks bytea;
    sealed bigint;
    issued bigint;
BEGIN
    -- Cut as bytes, which is faster, and ordered inside, so that each leaf is computed once.
    SELECT min(s.id), max(s.id), count(*), sha256(string_agg(s.leaf, ''::bytea ORDER BY s.id)),
           string_agg(substr(s.leaf, 1, 4), ''::bytea ORDER BY s.id),
           coalesce((SELECT max(b.last_id) FROM trading_chainblock b WHERE b.table_name = this_table), 0),
           coalesce(pg_sequence_last_value(tg_argv[0]::regclass), 0)
    INTO lo, hi, rows, block_root, block_marks, sealed, issued
    FROM (SELECT x.id, sha256(rtrim(rtrim(convert_to(x::text, 'UTF8'), ')'), ',')) AS leaf FROM fresh x
          ORDER BY x.id) s;
    IF rows = 0 THEN
        RETURN NULL;
    END IF;
    IF lo <= sealed OR hi > issued THEN
        RAISE EXCEPTION 'rows of % get their numbers from the database, in order; % to % are refused',
            tg_table_name, lo, hi USING errcode = '23001';
    END IF;
    PERFORM chain_append(this_table, lo, hi, rows, block_root, block_marks);
    RETURN NULL;
END $$;

-- chain_table(table): seals the rows that stand, in blocks of up to 5,000, and every later statement by a trigger.
-- Its foreign keys become immediate (a migration that alters a column makes them anew as deferrable ones).
CREATE FUNCTION chain_table(target regclass) RETURNS void LANGUAGE plpgsql
    SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET bytea_output = 'hex'
    SET extra_float_digits = 1 AS $$
DECLARE
    block record;
    key record;
    numbers text := pg_get_serial_sequence(target::text, 'id');
BEGIN
    PERFORM 1 FROM trading_chainhead WHERE id = 1 FOR UPDATE;
    FOR block IN EXECUTE format(
        'SELECT min(s.id) AS lo, max(s.id) AS hi, count(*) AS rows, '
        'sha256(string_agg(s.leaf, %1$L::bytea ORDER BY s.id)) AS root, '
        'string_agg(substr(s.leaf, 1, 4), %1$L::bytea ORDER BY s.id) AS marks FROM ('
        'SELECT x.id, (row_number() OVER (ORDER BY x.id) - 1) / 5000 AS part, '
        'sha256(convert_to(rtrim(rtrim(x::text, %2$L), %3$L), %4$L)) AS leaf FROM %5$s x) s '
        'GROUP BY s.part ORDER BY s.part', '', ')', ',', 'UTF8', target)
    LOOP
        PERFORM chain_append(target::text, block.lo, block.hi, block.rows, block.root, block.marks);
    END LOOP;
    FOR key IN SELECT conname FROM pg_constraint WHERE conrelid = target AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE', target, key.conname);
    END LOOP;
    EXECUTE format('ALTER TABLE %s ALTER COLUMN id SET GENERATED ALWAYS', target);
    EXECUTE format('CREATE TRIGGER z_chain AFTER INSERT ON %s REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT '
                   'EXECUTE FUNCTION chain_add(%L)', target, numbers);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER z_chain', target);
END $$;

-- Only triggers and migrations seal anything.
REVOKE ALL ON FUNCTION chain_append(text, bigint, bigint, bigint, bytea, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION chain_add() FROM PUBLIC;
REVOKE ALL ON FUNCTION chain_table(regclass) FROM PUBLIC;

UPDATE trading_chainhead
SET number = 0, hash = sha256(convert_to(gen_random_uuid()::text || clock_timestamp()::text, 'UTF8')) WHERE id = 1;

CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trading_chainblock
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE trading_chainblock ENABLE ALWAYS TRIGGER a_append_only;
