"""The OANDA v20 adapter: the port `Broker` for one account, on oandapyV20 for requests and our session for the wire.

What always holds: reads raise `BrokerUnreachable` (or its kinds) and never turn a bad answer into an empty one; writes
return an outcome and never raise (see `oanda_orders.py`). Times are OANDA's own, except a snapshot's `at`: the details
answer carries none, so that is our wall clock when it arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from trading.brokers import fields, oanda_orders, oanda_parse, oanda_replace
from trading.brokers.errors import BadData
from trading.brokers.oanda_client import OandaClient
from trading.brokers.oanda_events import consecutive
from trading.brokers.oanda_lookup import Looking, order_by_client_id
from trading.brokers.oanda_stream import OandaStreams
from trading.domain.broker import (
    AccountIdentity,
    BrokerCandle,
    BrokerEvent,
    BrokerInstrument,
    BrokerOtherAccount,
    BrokerPrice,
    BrokerSnapshot,
    BrokerUnreachable,
    BrokerWentBack,
    Capabilities,
    Completeness,
    EventPage,
    Heartbeat,
    LookupOutcome,
    OrderRequest,
    StreamNews,
    SubmitOutcome,
)

logger = logging.getLogger(__name__)

GRANULARITIES = {60: "M1", 300: "M5", 900: "M15", 1800: "M30", 3600: "H1", 14_400: "H4", 86_400: "D"}
CANDLES_PER_PAGE = 5000
# One call follows the history over this many answers; a longer one goes on from the cursor that it returns.
PAGES_PER_CALL = 20
# OANDA's status for a history after an id that it has not reached.
NOTHING_SO_NEW = 416
# Every OANDA account can ask for this pair's price, whose answer carries the broker's time.
CLOCK_INSTRUMENT = "EUR_USD"


class OandaBroker:
    """One OANDA account. `url` is the API's root without /v3; `token` the personal access token."""

    capabilities = Capabilities(
        native_bracket=True, idempotent_client_id=False, replace_keeps_id=False, hedging=True, fractional=False
    )

    def __init__(self, *, account_id: str, token: str, url: str, name: str = "oanda") -> None:
        self.name = name
        self._account_id = account_id
        self._client = OandaClient(account_id=account_id, token=token, url=url)
        self._streams = OandaStreams(account_id=account_id, token=token, url=url)
        self._currency = ""

    def identity(self) -> AccountIdentity:
        """Who OANDA says we are, which the caller compares with who we should be."""
        from oandapyV20.endpoints.accounts import AccountSummary

        body, _ = self._client.read(AccountSummary(self._account_id), "the identity")
        try:
            account = fields.child(body, "account")
            return AccountIdentity(
                account_id=fields.text(account, "id"),
                currency=fields.currency(account, "currency"),
                hedging=fields.flag(account, "hedgingEnabled"),
                last_event_id=oanda_parse.identifier(body, "lastTransactionID"),
            )
        except BadData as error:
            raise self._unusable("the identity", error) from error

    def now(self) -> datetime:
        """OANDA's time: that of a price answer, or of the price itself where the answer has none."""
        body = self._pricing([CLOCK_INSTRUMENT])
        try:
            if body.get("time") is not None:
                return fields.moment(body, "time")
            return max(fields.moment(row, "time") for row in fields.rows(body, "prices"))
        except ValueError as error:  # BadData, or no price at all
            raise self._unusable("the time", error) from error

    def instruments(self) -> Sequence[BrokerInstrument]:
        """All pairs that this account may trade; one that cannot be read is left out and logged."""
        from oandapyV20.endpoints.accounts import AccountInstruments

        body, _ = self._client.read(AccountInstruments(self._account_id), "the instruments")
        found = []
        try:
            listed = fields.rows(body, "instruments")
        except BadData as error:
            raise self._unusable("the instruments", error) from error
        for row in listed:
            try:
                found.append(oanda_parse.instrument(row))
            except BadData as error:
                logger.warning("OANDA instrument %.40r is left out: %s", row.get("name"), error)
        return found

    def snapshot(self) -> BrokerSnapshot:
        """Positions, pending orders and cash of one moment, from one answer; each part says how complete it is."""
        from oandapyV20.endpoints.accounts import AccountDetails

        body, exchange = self._client.read(AccountDetails(self._account_id), "the state")
        at = exchange.finished_at or datetime.now(UTC)
        self._refuse_others(body.get("account"), "id", "the state")
        return oanda_parse.snapshot(body, account_id=self._account_id, at=at)

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        """Look for an order by @id, in the history after `since`, and by the trade it opened."""
        return order_by_client_id(Looking(self._client), client_id, since)

    def events_since(self, cursor: str) -> EventPage:
        """All transactions after the cursor ("" from the beginning), COMPLETE when they reach OANDA's newest one.

        Pages that were read before OANDA stopped answering are a PARTIAL page. Raises `BrokerWentBack` when OANDA's
        newest transaction is older than the cursor.
        """
        from oandapyV20.endpoints.transactions import TransactionsSinceID

        start = int(cursor or "0")
        events: list[BrokerEvent] = []
        last = start
        for _ in range(PAGES_PER_CALL):
            endpoint = TransactionsSinceID(self._account_id, params={"id": str(last)})
            exchange = self._client.ask(endpoint)
            if exchange.complete and exchange.status == NOTHING_SO_NEW:
                who = self.identity()
                self._refuse_others({"id": who.account_id}, "id", "the identity")
                newest, listed = int(who.last_event_id), []
            else:
                try:
                    body = self._client.good_answer(exchange, "the history")
                except BrokerUnreachable as error:
                    if not events:
                        raise
                    return EventPage(tuple(events), Completeness.PARTIAL, str(last), str(error))
                try:
                    newest = int(oanda_parse.identifier(body, "lastTransactionID"))
                    listed = fields.rows(body, "transactions")
                except BadData as error:
                    raise self._unusable("the history", error) from error
                for row in listed:
                    self._refuse_others(row, "accountID", "the history")
            if newest < last:
                raise BrokerWentBack(
                    f"OANDA's newest transaction of account {self._account_id} is {newest}, but {last} was seen "
                    "before: it shows an older state of the account. Do not trade on it until a person has asked OANDA."
                )
            run = consecutive(listed, after=last, account_id=self._account_id, currency=self._home_currency())
            events.extend(run.events)
            last = run.last_id
            problem = run.problem
            if not problem and not listed and last < newest:
                problem = f"the history ends at {last}, though {newest} is the newest transaction"
            if problem:
                return EventPage(tuple(events), Completeness.PARTIAL, str(last) if last else cursor, problem)
            if last >= newest:
                return EventPage(tuple(events), Completeness.COMPLETE, str(last) if last else cursor)
        return EventPage(tuple(events), Completeness.PARTIAL, str(last), f"more to come after transaction {last}")

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        """Place one order with exactly one POST."""
        return oanda_orders.submit(self._client, request)

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        """Cancel one order; see `oanda_orders.cancel` for the outcomes of an order that is not pending."""
        return oanda_orders.cancel(self._client, broker_order_id=broker_order_id, known_client_id=client_id)

    def replace(
        self, *, broker_order_id: str, client_id: str, quantity: Decimal | None, price: Decimal
    ) -> SubmitOutcome:
        """Put another order in the place of a resting one; see `oanda_replace`."""
        return oanda_replace.replace(
            self._client, broker_order_id=broker_order_id, known_client_id=client_id, quantity=quantity, price=price
        )

    def prices(self, instruments: Sequence[str]) -> Sequence[BrokerPrice]:
        """Prices of these instruments; one that is missing or makes no sense is left out and logged."""
        if not instruments:
            return []
        body = self._pricing(instruments)
        try:
            listed = fields.rows(body, "prices")
        except BadData as error:
            raise self._unusable("the prices", error) from error
        found = []
        for row in listed:
            try:
                found.append(oanda_parse.price(row))
            except BadData as error:
                logger.warning("an OANDA price of %.40r is left out: %s", row.get("instrument"), error)
        return found

    def candles(
        self, instrument: str, *, since: datetime, until: datetime | None = None, interval_seconds: int = 300
    ) -> Sequence[BrokerCandle]:
        """Mid candles that open in [since, until), oldest first; without `until` up to OANDA's present.

        The last one may be incomplete. OANDA counts only candles that exist, so `count` candles from `since` always
        reach over the asked span, and no end in OANDA's future (which it refuses) is ever named.
        """
        if interval_seconds not in GRANULARITIES:
            raise ValueError(f"OANDA is asked for candles of {sorted(GRANULARITIES)} s, not of {interval_seconds} s")
        found: list[BrokerCandle] = []
        start, bar = since, timedelta(seconds=interval_seconds)
        while until is None or start < until:
            count = CANDLES_PER_PAGE
            if until is not None:
                count = min(count, (until - start) // bar + 2)
            page = self._candle_page(instrument, start, count, GRANULARITIES[interval_seconds])
            found.extend(candle for candle in page if candle.start >= start and (until is None or candle.start < until))
            if len(page) < count:
                break
            start = page[-1].start + bar
        return found

    def price_stream(self, instruments: Sequence[str], *, silence_seconds: float) -> Iterator[BrokerPrice | Heartbeat]:
        """Prices as OANDA tells them; see the port."""
        return self._streams.prices(instruments, silence_seconds=silence_seconds)

    def event_stream(self, *, silence_seconds: float) -> Iterator[StreamNews | Heartbeat]:
        """Transactions as OANDA tells them; see the port."""
        return self._streams.transactions(self._home_currency, silence_seconds=silence_seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _candle_page(self, instrument: str, start: datetime, count: int, granularity: str) -> list[BrokerCandle]:
        from oandapyV20.endpoints.instruments import InstrumentsCandles

        begin = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        params = {"granularity": granularity, "price": "M", "from": begin, "count": count}
        body, _ = self._client.read(InstrumentsCandles(instrument, params=params), f"the candles of {instrument}")
        try:
            said = fields.text(body, "instrument"), fields.text(body, "granularity")
            if said != (instrument, granularity):
                raise BadData("the answer is about other candles")
            page = [oanda_parse.candle(row, instrument) for row in fields.rows(body, "candles")]
            if any(later.start <= earlier.start for earlier, later in pairwise(page)):
                raise BadData("the candles are not in the order of time")
            if page and page[-1].start < start:
                raise BadData(f"all candles are older than {begin}, which was asked for")
        except BadData as error:
            raise self._unusable(f"the candles of {instrument}", error) from error
        return page

    def _pricing(self, instruments: Sequence[str]) -> dict[str, Any]:
        from oandapyV20.endpoints.pricing import PricingInfo

        params = {"instruments": ",".join(instruments)}
        body, _ = self._client.read(PricingInfo(self._account_id, params=params), "the prices")
        return body

    def _home_currency(self) -> str:
        """The account's currency, which transactions do not name; asked once, it never changes."""
        if not self._currency:
            self._currency = self.identity().currency
        return self._currency

    def _refuse_others(self, row: object, key: str, question: str) -> None:
        """Raises `BrokerOtherAccount` where an answer names another account than ours, whose history it may be."""
        named = row.get(key) if isinstance(row, dict) else None
        if isinstance(named, str) and named != self._account_id:
            raise BrokerOtherAccount(
                f"OANDA's answer to {question} of account {self._account_id} is about account {named!r:.60}: nothing "
                "of it was used."
            )

    def _unusable(self, question: str, error: Exception) -> BrokerUnreachable:
        return BrokerUnreachable(
            f"OANDA's answer to {question} of account {self._account_id} cannot be used: {error}. "
            "This says nothing about positions or money; ask again."
        )
