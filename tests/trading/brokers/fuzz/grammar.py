"""The grammar of bad answers: from a real answer one that is wrong in one or several places.

What always holds: the same random generator makes the same answer; every rule is named, so that a run can say how
often each was tried. Rules change values inside the JSON, its text, its bytes, or how it travels.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.trading.brokers.fuzz.serving import Served
from tests.trading.brokers.fuzz.tapes import Answer

FORTY = "1234567890123456789012345678.901234567890"
NUMBERS = (
    "NaN", "nan", "-NaN", "sNaN", "Infinity", "-Infinity", "inf", "1e400", "1e999999", "1E-999999", "1e99999999999",
    "-0", "-0.000", "0", "+5", "5.", ".5", ".", "-", "", " ", " 1", "1 ", "1_000", "1,000.00", "0x10", "1e0005",
    "١٢٣", "٣.٥", "１２", "½", "∞", "1e", "1e5", "1e30", "1e31", "1e-30", "-1", "-1000.5", FORTY, "-" + FORTY,
    "0." + "1" * 40, "1.1234567890123", "9" * 60, "9" * 61, "9" * 60 + "e30", "0.0000000000001", "9" * 400,
    "100000000000000000000000000", "1.10001", "250.25",
)  # fmt: skip
# Written into the JSON as they are, without quotation marks.
LITERALS = (
    "NaN", "Infinity", "-Infinity", "1e400", "1e999999", "-1e999999", "1e-999999", "1e99999999999999999999", "-0",
    "-0.0", "0", "1", "-1", "1E+2", "0.1", "1.10", "1.0000000000001", "0.00000001", FORTY, "9" * 61, "9" * 4301,
    "9" * 20, "1e30", "1e31", "true", "false", "null", "[]", "{}", '[null]', '{"a":null}', "[[[]]]", "3", "1000000001",
    "123456789012345678", "-5", "01", "1.", "+1", "0x1",
)  # fmt: skip
TIMES = (
    "2026-01-05T10:00:00", "2026-01-05 10:00:00Z", "2026-01-05T10:00:00.123456789Z", "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "2026-06-30T23:59:60Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-W01-1",
    "20260105T100000Z", "2026-01-05", "1767607200", "1767607200.5", "now", "2026-01-05T25:00:00Z",
    "2199-01-01T00:00:00Z",
    "2026-01-05T10:00:00+99:99", "2026-01-05T10:00:00 America/New_York", "٢٠٢٦-01-05T10:00:00Z", "2039-01-05T10:00:00Z",
    "20260105100000000::fuzz", "99991231235959999::fuzz", "00010101000000001::fuzz",
)  # fmt: skip
WORDS = (
    "FUZZED", "new_word", "PENDING", "FILLED", "CANCELLED", "TRIGGERED", "filled", "canceled", "replaced", "rejected",
    "expired", "held", "buy", "sell", "long", "short", "BUY", "ORDER_FILL", "ORDER_CANCEL", "MARKET_ORDER",
    "LIMIT_ORDER", "LIMIT_ORDER_REJECT", "DAILY_FINANCING", "TRANSFER_FUNDS", "CREATE", "HEARTBEAT", "PRICE", "FILL",
    "DIV", "CSD", "FEE", "JNLS", "SSP", "correct", "executed", "fill", "partial_fill", "market", "limit",
    "trailing_stop", "USD", "EUR", "usd", "U$D", "BTCUSD", "EUR_USD", "AAPL", "eur_usd", "ORDER_DOESNT_EXIST",
    "NO_SUCH_ORDER",
    "COMPLETE", "OPEN", "OPEN PENDING", "TRIGGER PENDING", "REJECTED", "MIS", "CNC", "NRML", "NSE", "INR", "success",
    "error", "TokenException", "active", "inactive",
)  # fmt: skip
HOSTILE = (
    '=HYPERLINK("http://127.0.0.1","x")', "+cmd|' /C calc'!A0", "@SUM(1)", "a\r\nSet-Cookie: x", "a\nb", "\x1b[31mred",
    "a\x00b", "\x00", "\u202egnp.exe", "\u2066x\u2069", "\ufeffx", "\ud800", "\udc00x", "\ud83d\ude00", "é" * 50,
    "e\u0301", "'; DROP TABLE x; --", "<script>alert(1)</script>", "../../etc/passwd", "%s%n{0}{x!r}", "A" * 65,
    "A" * 81, "A" * 300, "A" * 5000, "\t", "\x7f", "\u2028", "0" * 19, "00000000000000000000001", "²", "-1", "1" * 18,
)  # fmt: skip
STATUSES = (200, 201, 202, 204, 206, 207, 301, 302, 304, 400, 401, 403, 404, 405, 408, 409, 416, 418, 422, 429, 500,
            502, 503, 504, 599, 999)  # fmt: skip
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome to the hotel</h1></body></html>"
_MARK = "\x02raw"
JsonRule = Callable[[random.Random, Any], None]


@dataclass(frozen=True, slots=True)
class Mutated:
    """A bad answer, and the rules that made it."""

    served: Served
    rules: tuple[str, ...]


def as_it_was(answer: Answer) -> Served:
    """The answer without any change."""
    return Served(answer.status, answer.headers, answer.body, None)


def mutate(rng: random.Random, answer: Answer) -> Mutated:
    """One bad answer. Three of four are wrong in their values, the others in their text, bytes or way."""
    served = as_it_was(answer)
    rules: list[str] = []
    if answer.body[:1] in (b"{", b"[") and rng.random() < 0.75:
        document = json.loads(answer.body)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            name, rule = rng.choice(_VALUE_RULES)
            rule(rng, document)
            rules.append(name)
        served = Served(served.status, served.headers, write(document), None)
        if rng.random() < 0.9:
            return Mutated(served, tuple(rules))
    name, change = rng.choice(_WIRE_RULES if rng.random() < 0.995 else _HEAVY_RULES)
    return Mutated(change(rng, served), (*rules, name))


def write(document: Any) -> bytes:
    """JSON text; marked texts become literals. Lone surrogates are written as escapes, as a broken sender would."""
    ascii_only = json.dumps(document)
    parts = ascii_only.split('"\\u0002raw')
    return "".join([parts[0], *(_unmarked(part) for part in parts[1:])]).encode()


def _unmarked(part: str) -> str:
    literal, _, rest = part.partition('"')
    if "\\u0002" in literal:  # a literal with quotation marks of its own travels as hexadecimal
        literal = bytes.fromhex(literal.removeprefix("\\u0002")).decode()
    return literal + rest


def raw(literal: str) -> str:
    """A text that `write` writes without quotation marks."""
    return f"{_MARK}\x02{literal.encode().hex()}" if '"' in literal else _MARK + literal


Place = tuple[Any, Any]


def places(document: Any) -> list[Place]:
    """Every place of the document: what holds it, and its key or index there."""
    found: list[Place] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            found.append((holder, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def _anywhere(rng: random.Random, document: Any) -> Place | None:
    found = places(document)
    return rng.choice(found) if found else None


def _leaf(rng: random.Random, document: Any, like: Callable[[Any], bool]) -> Place | None:
    found = [place for place in places(document) if like(place[0][place[1]])]
    return rng.choice(found) if found else _anywhere(rng, document)


def _looks_like_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and value[:1] in "-+.0123456789" and value != "")


def _looks_like_time(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 10 and value[4:5] == "-" and value[:4].isdigit()


def _looks_like_word(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").replace(" ", "").isalpha()


def _setter(values: tuple[str, ...], like: Callable[[Any], bool], literal: bool = False) -> JsonRule:
    def rule(rng: random.Random, document: Any) -> None:
        place = _leaf(rng, document, like)
        if place is not None:
            value = rng.choice(values)
            place[0][place[1]] = raw(value) if literal else value

    return rule


def _missing(rng: random.Random, document: Any) -> None:
    place = _anywhere(rng, document)
    if place is not None:
        del place[0][place[1]]


def _extra(rng: random.Random, document: Any) -> None:
    holders = [document, *(h[k] for h, k in places(document) if isinstance(h[k], dict | list))]
    holder = rng.choice(holders)
    value = rng.choice((None, "x", 1, [], {"NaN": "NaN"}, raw("1e400"), "\x00", [[None]]))
    if isinstance(holder, dict):
        holder[rng.choice(("fuzzed", "", "__proto__", "units", "price", "a\x00b", "\ud800", "id"))] = value
    else:
        holder.insert(rng.randrange(len(holder) + 1), value)


def _wrong_kind(rng: random.Random, document: Any) -> None:
    place = _anywhere(rng, document)
    if place is None:
        return
    old = place[0][place[1]]
    if isinstance(old, str) and old.startswith(_MARK):
        old = "marked"
    place[0][place[1]] = rng.choice((None, True, False, 0, -1, "", "text", [], {}, [old], {"value": old}, [[None]],
                                     {"a": {"b": None}}, str(old)[:200], 10**18, raw("0.5")))  # fmt: skip


def _swapped(rng: random.Random, document: Any) -> None:
    one, other = _anywhere(rng, document), _anywhere(rng, document)
    if one is not None and other is not None:
        first, second = one[0][one[1]], other[0][other[1]]
        if not isinstance(first, dict | list) and not isinstance(second, dict | list):
            one[0][one[1]], other[0][other[1]] = second, first


def _list_changed(rng: random.Random, document: Any) -> None:
    lists = [h[k] for h, k in places(document) if isinstance(h[k], list) and h[k]]
    if isinstance(document, list) and document:
        lists.append(document)
    if not lists:
        return
    chosen = rng.choice(lists)
    what = rng.randrange(5)
    if what == 0:
        chosen.append(json.loads(json.dumps(chosen[0])))
    elif what == 1:
        del chosen[rng.randrange(len(chosen))]
    elif what == 2:
        rng.shuffle(chosen)
    elif what == 3:
        chosen.clear()
    else:
        chosen.append(rng.choice((None, 5, "x", [], [chosen[0]])))


def _deep_inside(rng: random.Random, document: Any) -> None:
    place = _anywhere(rng, document)
    if place is not None:
        depth = rng.choice((20, 63, 65, 100, 300, 480, 900, 2000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        place[0][place[1]] = raw(opening * depth + "1" + closing * depth)


_VALUE_RULES: tuple[tuple[str, JsonRule], ...] = (
    ("number as text", _setter(NUMBERS, _looks_like_number)),
    ("number as text", _setter(NUMBERS, _looks_like_number)),
    ("number as literal", _setter(LITERALS, _looks_like_number, literal=True)),
    ("time", _setter(TIMES, _looks_like_time)),
    ("word", _setter(WORDS, _looks_like_word)),
    ("hostile text", _setter(HOSTILE, lambda value: isinstance(value, str))),
    ("missing", _missing),
    ("extra", _extra),
    ("wrong kind", _wrong_kind),
    ("wrong kind", _wrong_kind),
    ("swapped", _swapped),
    ("list changed", _list_changed),
    ("deep inside", _deep_inside),
)


def _with(served: Served, wire: bytes, *headers: tuple[str, str], length: int | None = None) -> Served:
    return Served(served.status, (*served.headers, *headers), wire, length)


def _truncated(rng: random.Random, served: Served) -> Served:
    cut = rng.randrange(len(served.wire) + 1)
    return _with(served, served.wire[:cut], length=rng.choice((None, len(served.wire))))


def _bytes_changed(rng: random.Random, served: Served) -> Served:
    wire = bytearray(served.wire or b" ")
    for _ in range(rng.choice((1, 1, 2, 5))):
        wire[rng.randrange(len(wire))] = rng.randrange(256)
    return _with(served, bytes(wire))


def _inserted(rng: random.Random, served: Served) -> Served:
    at = rng.choice((0, rng.randrange(len(served.wire) + 1), len(served.wire)))
    piece = rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"{}", b"]",
                        b"\r\n\r\n", b"\x1b[0m", b"NaN", b"\xf5\x80\x80\x80", b"//x\n", b",", b'"'))  # fmt: skip
    return _with(served, served.wire[:at] + piece + served.wire[at:])


def _other_text(rng: random.Random, served: Served) -> Served:
    return _with(served, rng.choice((b"", b" ", HTML, b"null", b"true", b"[]", b"{}", b'""', b"0", b"NaN", b"OK",
                                     b"[null]", b"[[]]", b"[{}]", b"\xef\xbb\xbf", b"\x1f\x8b")))  # fmt: skip


def _utf16(rng: random.Random, served: Served) -> Served:
    text = served.wire.decode("utf-8", "replace")
    return _with(served, text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig"))))


def _duplicate_key(rng: random.Random, served: Served) -> Served:
    at = [index for index, byte in enumerate(served.wire[:20_000]) if byte == 0x7B]  # after a "{"
    if not at:
        return served
    cut = rng.choice(at) + 1
    key = rng.choice((b"id", b"units", b"price", b"qty", b"status", b"type", b"accountID", b"lastTransactionID", b"bp"))
    piece = b'"%s":"1","%s":"2",' % (key, key)
    return _with(served, served.wire[:cut] + piece + served.wire[cut:])


def _other_status(rng: random.Random, served: Served) -> Served:
    return Served(rng.choice(STATUSES), served.headers, served.wire, None)


def _other_type(rng: random.Random, served: Served) -> Served:
    others = tuple(pair for pair in served.headers if pair[0].lower() != "content-type")
    kinds = (None, "text/html", "text/plain; charset=utf-16", "application/json; charset=x-fuzz", "image/png", "", ";;")
    kind = rng.choice(kinds)
    return Served(served.status, others if kind is None else (*others, ("Content-Type", kind)), served.wire, None)


def _compressed(rng: random.Random, served: Served) -> Served:
    wire, encoding = gzip.compress(served.wire, 1, mtime=0), "gzip"
    what = rng.randrange(7)
    if what == 1:
        wire = wire[: rng.randrange(len(wire))]
    elif what == 2:
        wire += rng.choice((b"x", b"\x00" * 100, wire))
    elif what == 3:
        wire, encoding = zlib.compress(served.wire), "deflate"
    elif what == 4:
        encoding = rng.choice(("br", "zstd", "gzip, gzip", "identity", "GZIP", "x-gzip", "\x7f"))
    elif what == 5:
        damaged = bytearray(wire)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        wire = bytes(damaged)
    return _with(served, wire, ("Content-Encoding", encoding))


def _deep(rng: random.Random, served: Served) -> Served:
    depth = rng.choice((70, 500, 1000, 20_000, 100_000))
    return _with(
        served, rng.choice((b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth))
    )


def _cut_off(rng: random.Random, served: Served) -> Served:
    return Served(served.status, served.headers, served.wire, None, fault=rng.choice(("reset", "refused")))


@cache
def bomb() -> bytes:
    """Fifty megabytes of one JSON text, compressed to some kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"0" * (1 << 20)
    packed = [packer.compress(b'{"a":"'), *(packer.compress(zeros) for _ in range(50)), packer.compress(b'"}')]
    return b"".join([*packed, packer.flush()])


@cache
def _huge() -> bytes:
    return b'{"a":"' + b"0" * (9 << 20) + b'"}'


def _bomb(rng: random.Random, served: Served) -> Served:
    return _with(served, bomb(), ("Content-Encoding", "gzip"))


def _too_long(rng: random.Random, served: Served) -> Served:
    return _with(served, _huge())


def _cell(rng: random.Random, served: Served) -> Served:
    """One cell of a table of comma-separated values; of anything else, one piece between commas."""
    text = served.wire.decode("utf-8", "replace")
    cells = text.split(",")
    at = rng.randrange(len(cells))
    cells[at] = rng.choice((*NUMBERS, *HOSTILE, *TIMES, '"', "", '"a,b', "a,b"))
    return _with(served, ",".join(cells).encode("utf-8", "surrogatepass"))


def _long(rng: random.Random, served: Served) -> Served:
    filler = rng.choice((b" ", b"\n", b"[],")) * (100_000)
    return _with(served, filler + served.wire)


_WIRE_RULES: tuple[tuple[str, Callable[[random.Random, Served], Served]], ...] = (
    ("cell", _cell),
    ("truncated", _truncated),
    ("bytes changed", _bytes_changed),
    ("bytes inserted", _inserted),
    ("another text", _other_text),
    ("another encoding", _utf16),
    ("duplicate key", _duplicate_key),
    ("another status", _other_status),
    ("another status", _other_status),
    ("another content type", _other_type),
    ("compressed", _compressed),
    ("deep", _deep),
    ("cut off", _cut_off),
)
_HEAVY_RULES: tuple[tuple[str, Callable[[random.Random, Served], Served]], ...] = (
    ("gzip bomb", _bomb),
    ("too long", _too_long),
    ("long", _long),
)
