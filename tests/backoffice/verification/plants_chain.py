"""One planted violation for each way in which the hash chain can be broken; named rows: tests/backoffice/proof."""

from __future__ import annotations

CHAIN: dict[str, dict[str, str]] = {
    "I-58": {
        "a fact was changed": "UPDATE trading_fill SET price = price + 0.01 WHERE id = 1",
        "a fact was removed": "DELETE FROM trading_orderevent WHERE id = 2",
        "a fact was added unseen": "INSERT INTO trading_rate (at, recorded_at, base, quote, value, source)"
        " VALUES (now(), now(), 'EUR', 'USD', 1, 'nobody')",
        "a block was removed": "DELETE FROM trading_chainblock WHERE number = 5",
        "a block was changed": "UPDATE trading_chainblock SET login = 'nobody' WHERE number = 5",
        "the end was cut off": "DELETE FROM trading_chainblock WHERE number = (SELECT max(number) FROM"
        " trading_chainblock)",
        "the head was set back": "UPDATE trading_chainhead SET number = number - 1",
    }
}
