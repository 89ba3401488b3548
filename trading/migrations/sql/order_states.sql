-- An order's life in the database, whoever writes: its moves are those of the table in `trading/domain/orders.py`
-- (a test compares the two), each has its event, and an end that the broker made names its evidence.
CREATE OR REPLACE FUNCTION order_may_move(source text, target text) RETURNS boolean LANGUAGE sql IMMUTABLE
    SET search_path = public, pg_temp AS $$
    SELECT (source, target) IN (
        ('CANCELLED', 'FILLED'), ('CANCELLED', 'PARTIAL'), ('CANCELLING', 'CANCELLED'), ('CANCELLING', 'CANCELLING'),
        ('CANCELLING', 'EXPIRED'), ('CANCELLING', 'FILLED'), ('CANCELLING', 'PARTIAL'), ('CANCELLING', 'REJECTED'),
        ('CANCELLING', 'UNKNOWN'), ('CANCELLING', 'WORKING'), ('EXPIRED', 'FILLED'), ('EXPIRED', 'PARTIAL'),
        ('FILLED', 'FILLED'), ('PARTIAL', 'CANCELLED'), ('PARTIAL', 'CANCELLING'), ('PARTIAL', 'EXPIRED'),
        ('PARTIAL', 'FILLED'), ('PARTIAL', 'PARTIAL'), ('PLANNED', 'CANCELLED'), ('PLANNED', 'EXPIRED'),
        ('PLANNED', 'FILLED'), ('PLANNED', 'PARTIAL'), ('PLANNED', 'SENDING'), ('PLANNED', 'WORKING'),
        ('REJECTED', 'FILLED'), ('REJECTED', 'PARTIAL'), ('SENDING', 'CANCELLED'), ('SENDING', 'EXPIRED'),
        ('SENDING', 'FILLED'), ('SENDING', 'PARTIAL'), ('SENDING', 'PLANNED'), ('SENDING', 'REJECTED'),
        ('SENDING', 'UNKNOWN'), ('SENDING', 'WORKING'), ('UNKNOWN', 'CANCELLED'), ('UNKNOWN', 'EXPIRED'), ('UNKNOWN', 'FILLED'),
        ('UNKNOWN', 'PARTIAL'), ('UNKNOWN', 'PLANNED'), ('UNKNOWN', 'REJECTED'), ('UNKNOWN', 'WORKING'),
        ('WORKING', 'CANCELLED'), ('WORKING', 'CANCELLING'), ('WORKING', 'EXPIRED'), ('WORKING', 'FILLED'),
        ('WORKING', 'PARTIAL'), ('WORKING', 'REJECTED'))
$$;

CREATE FUNCTION order_keeps_to_its_states() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
BEGIN
    IF tg_op = 'INSERT' AND NEW.state <> 'PLANNED' THEN
        RAISE EXCEPTION 'order % begins %, not PLANNED', NEW.client_order_id, NEW.state USING errcode = '23514';
    ELSIF tg_op = 'UPDATE' AND NEW.state <> OLD.state AND NOT order_may_move(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'order % cannot go from % to %', NEW.client_order_id, OLD.state, NEW.state
            USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;

-- At the commit the last event says what the row says: no state changes without one.
CREATE FUNCTION order_state_has_its_event() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    stands text;
    told text;
BEGIN
    SELECT o.state INTO stands FROM trading_order o WHERE o.id = NEW.id;
    SELECT e.to_state INTO told FROM trading_orderevent e WHERE e.order_id = NEW.id ORDER BY e.sequence DESC LIMIT 1;
    IF stands IS DISTINCT FROM told THEN
        RAISE EXCEPTION 'order % is %, and no event says so', NEW.client_order_id, stands USING errcode = '23514';
    END IF;
    RETURN NULL;
END $$;

-- What the broker did is never guessed. A paper book has no wire, and what our own adapter refused never reached one;
-- where the broker cannot say, two people may have decided about this very order.
CREATE FUNCTION order_event_has_evidence() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.from_state <> '' AND NOT order_may_move(NEW.from_state, NEW.to_state) THEN
        RAISE EXCEPTION 'no order goes from % to %', NEW.from_state, NEW.to_state USING errcode = '23514';
    END IF;
    IF NEW.to_state IN ('FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED') AND NEW.from_state <> 'PLANNED'
       AND NEW.message_id IS NULL AND NEW.broker_event_id IS NULL AND NEW.application_id IS NULL AND NEW.reason NOT LIKE 'INVALID_REQUEST:%'
       AND EXISTS (SELECT 1 FROM trading_order o JOIN trading_account a ON a.id = o.account_id
                   WHERE o.id = NEW.order_id AND a.broker <> 'PAPER') THEN
        RAISE EXCEPTION 'an order event to % names no evidence of the broker', NEW.to_state USING errcode = '23514';
    END IF;
    IF NEW.application_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id
        JOIN trading_order o ON o.id = NEW.order_id
        WHERE a.id = NEW.application_id AND p.account_id = o.account_id AND NEW.from_state = 'UNKNOWN'
          AND p.payload::jsonb->'ends' ? o.client_order_id) THEN
        RAISE EXCEPTION 'an order event cites an approval that does not name its order' USING errcode = '23514';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER order_keeps_to_its_states BEFORE INSERT OR UPDATE OF state ON trading_order
    FOR EACH ROW EXECUTE FUNCTION order_keeps_to_its_states();
CREATE CONSTRAINT TRIGGER order_state_has_its_event AFTER INSERT OR UPDATE OF state ON trading_order
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION order_state_has_its_event();
CREATE TRIGGER order_event_has_evidence BEFORE INSERT ON trading_orderevent
    FOR EACH ROW EXECUTE FUNCTION order_event_has_evidence();
