-- How an account counts its lots is fixed once it has one: with another method its past profits would be other ones.
CREATE FUNCTION keep_lot_method() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.lot_method <> OLD.lot_method AND EXISTS (SELECT 1 FROM trading_lot l WHERE l.account_id = OLD.id) THEN
        RAISE EXCEPTION 'account % has lots: the method by which they are counted stays', OLD.name
            USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_lot_method BEFORE UPDATE ON trading_account FOR EACH ROW EXECUTE FUNCTION keep_lot_method();
ALTER TABLE trading_account ENABLE ALWAYS TRIGGER keep_lot_method;
