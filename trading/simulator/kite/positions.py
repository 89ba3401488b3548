"""Portfolio endpoints: positions, their conversion between products, holdings.

What always holds here: positions are of the present day, one row per exchange, symbol and product, also when flat by
now; shares for delivery are positions on the day they are traded and holdings from the next day on, first on their
way (`t1_quantity`), then delivered.
"""

from __future__ import annotations

from decimal import Decimal

from ..core.calls import Answer, Call
from ..core.model import Account
from ..core.nse import EXCHANGE
from ..core.numbers import ZERO
from ..core.world import World
from .answers import HOLDING, MARGIN, Refusal, bad_input, success
from .books import average_of, pays_in_full, trade_on
from .contracts import CONTRACTS, EQUITY, Contract
from .facts import CNC, MIS, NRML, Line, held, holding, line_key
from .parse import PRODUCTS, SIDES, choice, contract_of, form, text_in, whole
from .power import funds, margin_on
from .render import Wire, average, figure
from .routes import Route
from .venue import KiteVenue

_POSITION_TYPES = ("day", "overnight")


class PositionCalls:
    """The portfolio endpoints of one simulator."""

    def __init__(self, world: World, venue: KiteVenue) -> None:
        self.world, self.venue = world, venue

    def routes(self) -> list[Route]:
        """The doors."""
        return [
            ("GET", "/portfolio/positions", self.listed),
            ("PUT", "/portfolio/positions", self.convert),
            ("GET", "/portfolio/holdings", self.holdings),
            ("GET", "/portfolio/holdings/auctions", self.auctions),
        ]

    def _last(self, contract: Contract) -> Decimal:
        quote = self.world.quote(contract.item.name)
        return contract.item.price(quote.mid) if quote is not None else ZERO

    def _close(self, contract: Contract) -> Decimal:
        """The last price of the session before today's."""
        hours = self.world.market.indian_hours
        if hours.always_open:
            return self._last(contract)
        today = EXCHANGE.midnight(EXCHANGE.day_of(self.world.now))
        name = contract.item.name
        found = self.world.market.candles(name, "H1", self.world.now, None, today, 1)
        return found[-1].close if found else self._last(contract)

    # positions

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /portfolio/positions."""
        lines = self.venue.book(account).lines
        net, day = [], []
        for key, line in lines.items():
            name, _, product = key.rpartition("/")
            net.append(self._row(account, CONTRACTS[name], product, line, line.overnight))
            if line.bought or line.sold:
                day.append(self._row(account, CONTRACTS[name], product, line, ZERO))
        return success({"net": net, "day": day})

    def _row(self, account: Account, contract: Contract, product: str, line: Line, overnight: Decimal) -> Wire:
        quantity = overnight + line.day
        carried = abs(overnight) * line.overnight_price
        bought, bought_value = line.bought + max(overnight, ZERO), line.bought_value + (carried if overnight > 0 else 0)
        sold, sold_value = line.sold + max(-overnight, ZERO), line.sold_value + (carried if overnight < 0 else 0)
        last, close = self._last(contract), self._close(contract) if overnight else ZERO
        buy_price, sell_price = average(bought_value, bought), average(sold_value, sold)
        price = buy_price if quantity > 0 else sell_price if quantity < 0 else ZERO
        trade = holding(account, contract.item.name, product)
        if trade is not None and trade.units == quantity:
            price = average_of(trade)
        value = sold_value - bought_value
        pnl = value + quantity * last
        unrealised = (last - price) * quantity
        m2m = line.sold_value - line.bought_value - overnight * close + quantity * last
        return {
            "tradingsymbol": contract.symbol,
            "exchange": contract.exchange,
            "instrument_token": contract.token,
            "product": product,
            "quantity": int(quantity),
            "overnight_quantity": int(overnight),
            "multiplier": 1,
            "average_price": figure(price),
            "close_price": figure(close),
            "last_price": figure(last),
            "value": figure(value),
            "pnl": figure(pnl),
            "m2m": figure(m2m),
            "unrealised": figure(unrealised),
            "realised": figure(pnl - unrealised),
            "buy_quantity": int(bought),
            "buy_price": figure(buy_price),
            "buy_value": figure(bought_value),
            "buy_m2m": figure(bought_value),
            "sell_quantity": int(sold),
            "sell_price": figure(sell_price),
            "sell_value": figure(sold_value),
            "sell_m2m": figure(sold_value),
            "day_buy_quantity": int(line.bought),
            "day_buy_price": figure(average(line.bought_value, line.bought)),
            "day_buy_value": figure(line.bought_value),
            "day_sell_quantity": int(line.sold),
            "day_sell_price": figure(average(line.sold_value, line.sold)),
            "day_sell_value": figure(line.sold_value),
        }

    def convert(self, account: Account, call: Call) -> Answer:
        """PUT /portfolio/positions: a part of a position gets another product, at its average price."""
        given = form(call)
        contract = contract_of(text_in(given, "exchange"), text_in(given, "tradingsymbol"))
        side = choice(given, "transaction_type", SIDES)
        choice(given, "position_type", _POSITION_TYPES)
        old, new = choice(given, "old_product", PRODUCTS), choice(given, "new_product", PRODUCTS)
        quantity, name = Decimal(whole(given, "quantity", 1)), contract.item.name
        allowed = (CNC, MIS) if contract.kind == EQUITY else (NRML, MIS)
        if old == new or old not in allowed or new not in allowed:
            raise bad_input("Invalid `new_product`.")
        units = quantity if side == "BUY" else -quantity
        there = held(account, name, old)
        if there * units <= 0 or quantity > abs(there) or quantity % contract.item.minimum_units:
            raise Refusal(400, HOLDING, "Insufficient open position to convert.")
        if new == CNC and units < 0 and held(account, name, CNC) < quantity:
            raise Refusal(400, HOLDING, "Insufficient stock holding.")
        trade = holding(account, name, old)
        assert trade is not None
        price = trade.price
        paid = units * price * (pays_in_full(name, new) - pays_in_full(name, old))
        need = max(ZERO, paid) + margin_on(name, new, units, price) - margin_on(name, old, units, price)
        free = funds(self.world, account).available
        if need > 0 and need > free:
            raise Refusal(400, MARGIN, f"Insufficient funds. Required margin is {need:.2f}.")
        self._move(account, name, old, -units, price)
        realised = self._move(account, name, new, units, price)
        change = (ZERO if pays_in_full(name, new) else realised) - paid
        if change:
            self.venue.move(account, "conversion", change)
        for product in (old, new):
            self.venue.journal_position(account, name, product)
        return success(True, "changed")

    def _move(self, account: Account, name: str, product: str, units: Decimal, price: Decimal) -> Decimal:
        """One side of a conversion; what it realises, which is nothing unless a position ends by it."""
        trade_on(self.venue.line(account, name, product), units, price)
        return self.venue.shift(account, name, product, units, price, f"P{self.world.next_number():08d}")

    # holdings

    def holdings(self, account: Account, call: Call) -> Answer:
        """GET /portfolio/holdings: shares for delivery that were held when the day began."""
        rows = []
        for contract in CONTRACTS.values():
            if contract.kind == EQUITY and self.venue.owned_at_opening(account, contract.item.name) > 0:
                rows.append(self._holding(account, contract))
        return success(rows)

    def _holding(self, account: Account, contract: Contract) -> Wire:
        name, book = contract.item.name, self.venue.book(account)
        opening = self.venue.owned_at_opening(account, name)
        line = book.lines.get(line_key(name, CNC), Line())
        used = min(opening, max(ZERO, -line.day))
        waiting = min(opening, sum((lot[1] for lot in book.lots.get(name, [])), ZERO))
        delivered = opening - waiting
        waiting -= max(ZERO, used - delivered)
        quantity = max(ZERO, delivered - used)
        trade = holding(account, name, CNC)
        last, close = self._last(contract), self._close(contract)
        price = average_of(trade) if trade is not None else average(line.sold_value, line.sold)
        change = last - close
        return {
            "tradingsymbol": contract.symbol,
            "exchange": contract.exchange,
            "instrument_token": contract.token,
            "isin": contract.isin,
            "product": CNC,
            "price": 0,
            "quantity": int(quantity),
            "used_quantity": int(used),
            "t1_quantity": int(waiting),
            "realised_quantity": int(delivered),
            "authorised_quantity": 0,
            "authorised_date": f"{book.day} 00:00:00",
            "authorisation": {},
            "opening_quantity": int(opening),
            "short_quantity": 0,
            "collateral_quantity": 0,
            "collateral_type": "",
            "discrepancy": False,
            "average_price": figure(price),
            "last_price": figure(last),
            "close_price": figure(close),
            "pnl": figure((last - price) * (quantity + waiting)),
            "day_change": figure(change),
            "day_change_percentage": figure((change / close * 100).quantize(Decimal("0.000001")) if close else ZERO),
        }

    def auctions(self, account: Account, call: Call) -> Answer:
        """GET /portfolio/holdings/auctions: none are held here."""
        return success([])
