"""The rungs of the matching ladder as statements: each matches what it can of what is left, and takes it away.

What always holds: a rung says exactly what `domain.matching` says of its shape; a statement returns one row for each
pair or group it took, in the same columns whatever the shape; every join is by equality.
"""

from __future__ import annotations

from reconciliation.domain.rules import Rule, Shape

SIDES = ("matching_broker", "matching_books")
_CHOICE = "day, at, coalesce(external_id, ''), ref"
_TEXTS = ("external_id", "client_id", "broker_order_id")
_FIELDS = (*_TEXTS, "day", "quantity", "price", "amount")

# Of an id that both sides know once, with equal terms, nothing is left to be asked. One pass over everything finds all
# others: rows of each side in the join (more than the side has when an id stands twice), and where the others lie.
STRIP = """
    SELECT count(b.ref), count(k.ref),
           array_agg(b.ctid) FILTER (WHERE b.ref IS NOT NULL AND ({same}) IS NOT TRUE)::text,
           array_agg(k.ctid) FILTER (WHERE k.ref IS NOT NULL AND ({same}) IS NOT TRUE)::text
    FROM {broker} b FULL JOIN {books} k ON b.external_id = k.external_id AND b.key = k.key"""
PLAIN_PAIRS = """
    SELECT b.ref, k.ref FROM {broker} b JOIN {books} k ON b.external_id = k.external_id AND b.key = k.key
    WHERE {same}"""
SAME = "b.quantity = k.quantity AND b.price = k.price AND b.amount = k.amount"
# A side whose copied ids are left to the rung itself: they are nothing that both sides know once.
_ONCE = """(
    SELECT f.ctid, f.ref, f.key, f.quantity, f.price, f.amount,
           CASE WHEN c.key IS NULL THEN f.external_id END AS external_id
    FROM {side} f LEFT JOIN (
        SELECT key, external_id FROM matching_broker WHERE external_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        UNION
        SELECT key, external_id FROM matching_books WHERE external_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
    ) c USING (key, external_id))"""

_BY_ID = """
    WITH known AS (
        SELECT key, {keys} FROM matching_broker_left WHERE {usable}
        INTERSECT SELECT key, {keys} FROM matching_books_left WHERE {usable}),
    theirs AS (
        SELECT f.*, row_number() OVER (PARTITION BY key, {keys}, quantity, price, amount ORDER BY {choice}) AS place
        FROM matching_broker_left f JOIN known USING (key, {keys})),
    ours AS (
        SELECT f.*, row_number() OVER (PARTITION BY key, {keys}, quantity, price, amount ORDER BY {choice}) AS place
        FROM matching_books_left f JOIN known USING (key, {keys})),
    same AS (
        SELECT b.ref AS broker_ref, k.ref AS books_ref
        FROM theirs b JOIN ours k USING (key, {keys}, quantity, price, amount, place)),
    their_rest AS (
        SELECT f.*, row_number() OVER (PARTITION BY key, {keys} ORDER BY {choice}) AS number FROM theirs f
        WHERE NOT EXISTS (SELECT FROM same s WHERE s.broker_ref = f.ref)),
    our_rest AS (
        SELECT f.*, row_number() OVER (PARTITION BY key, {keys} ORDER BY {choice}) AS number FROM ours f
        WHERE NOT EXISTS (SELECT FROM same s WHERE s.books_ref = f.ref)),
    gone AS (DELETE FROM matching_broker_left f USING theirs t WHERE f.ref = t.ref),
    gone_too AS (DELETE FROM matching_books_left f USING ours t WHERE f.ref = t.ref)
    SELECT ARRAY[broker_ref], ARRAY[books_ref], 0::numeric, 0::numeric, true FROM same
    UNION ALL
    SELECT array_remove(ARRAY[b.ref], NULL), array_remove(ARRAY[k.ref], NULL), b.quantity - k.quantity,
           b.amount - k.amount, false
    FROM their_rest b FULL JOIN our_rest k USING (key, {keys}, number)"""

_PAIRS = """
    WITH {found},
    gone AS (DELETE FROM matching_broker_left f USING pairs p WHERE f.ref = p.broker_ref),
    gone_too AS (DELETE FROM matching_books_left f USING pairs p WHERE f.ref = p.books_ref)
    SELECT ARRAY[p.broker_ref], ARRAY[p.books_ref], b.quantity - k.quantity, b.amount - k.amount, true
    FROM pairs p JOIN matching_broker_left b ON b.ref = p.broker_ref
    JOIN matching_books_left k ON k.ref = p.books_ref"""
_EXACT = """
    theirs AS (SELECT f.*, row_number() OVER (PARTITION BY key, {keys} ORDER BY {choice}) AS place
               FROM matching_broker_left f WHERE {usable}),
    ours AS (SELECT f.*, row_number() OVER (PARTITION BY key, {keys} ORDER BY {choice}) AS place
             FROM matching_books_left f WHERE {usable}),
    pairs AS (SELECT b.ref AS broker_ref, k.ref AS books_ref FROM theirs b JOIN ours k USING (key, {keys}, place))"""
_NEAR = """
    theirs AS (SELECT key, {keys}, min(price_step) AS step, array_agg(ref ORDER BY price, {choice}) AS refs,
                      array_agg(price ORDER BY price, {choice}) AS prices
               FROM matching_broker_left WHERE {usable} GROUP BY key, {keys}),
    ours AS (SELECT key, {keys}, array_agg(ref ORDER BY price, {choice}) AS refs,
                    array_agg(price ORDER BY price, {choice}) AS prices
             FROM matching_books_left WHERE {usable} GROUP BY key, {keys}),
    pairs AS (SELECT n.broker_ref, n.books_ref FROM theirs b JOIN ours k USING (key, {keys})
              CROSS JOIN LATERAL matching_near(b.refs, b.prices, k.refs, k.prices, {steps} * b.step) n)"""

_SUMS = """
    WITH theirs AS (
        SELECT key, {keys}, array_agg(ref ORDER BY ref) AS refs, sum(quantity) AS quantity, sum(amount) AS amount,
               sum(quantity * price) AS notional, coalesce(min(price_step), 0) AS step
        FROM matching_broker_left WHERE {usable} GROUP BY key, {keys}),
    ours AS (
        SELECT key, {keys}, array_agg(ref ORDER BY ref) AS refs, sum(quantity) AS quantity, sum(amount) AS amount,
               sum(quantity * price) AS notional
        FROM matching_books_left WHERE {usable} GROUP BY key, {keys}),
    found AS (
        SELECT b.refs AS broker_refs, k.refs AS books_refs, b.quantity - k.quantity AS quantity,
               b.amount - k.amount AS amount
        FROM theirs b JOIN ours k USING (key, {keys})
        WHERE b.quantity = k.quantity AND abs(b.notional - k.notional) <= {steps} * b.step * b.quantity AND {more}),
    gone AS (DELETE FROM matching_broker_left f USING (SELECT unnest(broker_refs) AS ref FROM found) t
             WHERE f.ref = t.ref),
    gone_too AS (DELETE FROM matching_books_left f USING (SELECT unnest(books_refs) AS ref FROM found) t
                 WHERE f.ref = t.ref)
    SELECT broker_refs, books_refs, quantity, amount, true FROM found"""


def strips(rule: Rule) -> bool:
    """Whether `STRIP` does most of the rule's work."""
    return rule.by_id and rule.keys == ("external_id",)


def over(statement: str, *, copies: bool) -> str:
    """`STRIP` or `PLAIN_PAIRS` over both sides; `copies` when an id stands twice in one of them."""
    broker, books = (_ONCE.format(side=side) if copies else side for side in SIDES)
    return statement.format(broker=broker, books=books, same=SAME)


def statement(rule: Rule) -> str:
    """The rung of a rule. Its rows: refs of the broker, refs of the books, quantity, amount, whether they match.

    Raises ValueError for a rule with keys that no rung compares.
    """
    unknown = [name for name in rule.keys if name not in _FIELDS]
    if unknown or not rule.keys:
        raise ValueError(f"rule {rule.number} compares {', '.join(unknown) or 'nothing'}: matching has no such columns")
    asked = [f"{name} IS NOT NULL" for name in rule.keys if name in _TEXTS]
    asked += [] if rule.amounts else ["price_step IS NOT NULL"]
    words = {
        "keys": ", ".join(rule.keys),
        "usable": " AND ".join(asked) or "true",
        "choice": _CHOICE,
        "steps": f"{rule.price_steps:f}",
    }
    if rule.by_id:
        return _BY_ID.format(**words)
    if rule.shape is not Shape.ONE_TO_ONE:
        one = ["(cardinality(b.refs) = 1 OR cardinality(k.refs) = 1)"] if rule.shape is Shape.ONE_TO_MANY else []
        equal = ["b.amount = k.amount"] if rule.amounts else []
        return _SUMS.format(more=" AND ".join(one + equal) or "true", **words)
    return _PAIRS.format(found=(_NEAR if rule.price_steps else _EXACT).format(**words))
