-- Where the sides of a matching lie while it goes on. Unlogged and permanent: rows are never committed (each matching
-- takes its own back when it ends, so that none sees another's), PostgreSQL joins such tables in parallel, which it
-- never does with temporary ones, and the application's login may make no tables. No part of the books.
--   key         stands for (instrument, side, product, currency), numbered by each matching anew
--   price_step  of the instrument, zero where it is not known, NULL for a movement of cash
--   ids         NULL where the side does not know them; text by its code points
CREATE UNLOGGED TABLE matching_broker (
    ref bigint NOT NULL,
    external_id text COLLATE "C",
    client_id text COLLATE "C",
    broker_order_id text COLLATE "C",
    key integer NOT NULL,
    price_step numeric,
    quantity numeric NOT NULL,
    price numeric NOT NULL,
    amount numeric NOT NULL,
    at timestamptz NOT NULL,
    day date NOT NULL
);
CREATE UNLOGGED TABLE matching_books (LIKE matching_broker);
-- What the rungs climbed so far have left of each.
CREATE UNLOGGED TABLE matching_broker_left (LIKE matching_broker);
CREATE UNLOGGED TABLE matching_books_left (LIKE matching_broker);

-- Pairs of one group whose prices are at most `within` apart: as many as there can be, from the lowest price up. Both
-- sides come in the order of their prices.
CREATE FUNCTION matching_near(their_refs bigint[], their_prices numeric[], our_refs bigint[], our_prices numeric[],
                              within numeric)
    RETURNS TABLE (broker_ref bigint, books_ref bigint) LANGUAGE plpgsql IMMUTABLE SET search_path = public, pg_temp AS $$
DECLARE
    at integer := 1;
    against integer := 1;
    apart numeric;
BEGIN
    WHILE at <= cardinality(their_refs) AND against <= cardinality(our_refs) LOOP
        apart := their_prices[at] - our_prices[against];
        IF abs(apart) <= within THEN
            broker_ref := their_refs[at];
            books_ref := our_refs[against];
            RETURN NEXT;
            at := at + 1;
            against := against + 1;
        ELSIF apart < 0 THEN
            at := at + 1;
        ELSE
            against := against + 1;
        END IF;
    END LOOP;
END $$;
