-- What an account's books rest on is fixed once they have begun. With another way of counting lots its past profits would
-- be other ones; with another time zone its entries would be of other trading days, signed-off ones among them.
CREATE FUNCTION keep_account_basis() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.lot_method <> OLD.lot_method AND EXISTS (SELECT 1 FROM trading_lot l WHERE l.account_id = OLD.id) THEN
        RAISE EXCEPTION 'account % has lots: the method by which they are counted stays', OLD.name
            USING errcode = '23514';
    END IF;
    IF NEW.time_zone <> OLD.time_zone AND EXISTS (SELECT 1 FROM trading_entry e WHERE e.account_id = OLD.id) THEN
        RAISE EXCEPTION 'account % has entries: its time zone stays', OLD.name USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_account_basis BEFORE UPDATE ON trading_account FOR EACH ROW EXECUTE FUNCTION keep_account_basis();
ALTER TABLE trading_account ENABLE ALWAYS TRIGGER keep_account_basis;
