-- Facts are written once. Every append-only table gets three things from protect_append_only(table):
--   a lock on the chain's head before identity values are drawn, held until commit, so that ids appear in commit order;
--   a refusal of UPDATE, DELETE and TRUNCATE that also holds in replica mode (ENABLE ALWAYS);
--   immediate foreign keys, so that no check locks a parent after the append lock was taken.
CREATE FUNCTION append_lock() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM trading_chainhead WHERE id = 1 FOR UPDATE;
    RETURN NULL;
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: this table is append-only; correct a fact with a new one', tg_op, tg_table_name
        USING errcode = '23001';
END $$;

CREATE FUNCTION protect_append_only(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE fk record;
BEGIN
    EXECUTE format('CREATE TRIGGER a_append_lock BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION append_lock()', target);
    EXECUTE format('CREATE TRIGGER a_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER a_append_lock, ENABLE ALWAYS TRIGGER a_append_only', target);
    FOR fk IN SELECT conname FROM pg_constraint WHERE conrelid = target AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I NOT DEFERRABLE', target, fk.conname);
    END LOOP;
END $$;

INSERT INTO trading_chainhead (id, number) VALUES (1, 0);
