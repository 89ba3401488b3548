"""The session file: what runs, when, with which limits. Its canonical JSON is the body of the config version.

What always holds here: every key of the file reaches a field of `SessionConfig`, and with it the canonical JSON and
its sha256; a key that no field takes is refused with its path; the effective parameters of each strategy on each
symbol (defaults, tuned values, the file's own) are part of that body, so a decision can name exactly what made it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any

from trading.domain.bars import DAY_SECONDS
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.instruments import BUILT_IN as INSTRUMENTS
from trading.domain.money import ZERO, plain
from trading.domain.session_fields import (
    INTERVALS,
    Budget,
    DrawdownLock,
    NewsGuard,
    Portfolio,
    RiskLimits,
    RiskParity,
    StrategyEntry,
)
from trading.domain.settings_text import BadSettings, join_path, read_settings, validate
from trading.domain.windows import (
    EXCHANGES,
    MIDNIGHT,
    Window,
    in_any_window,
    is_trading_bar,
    trading_day,
    window_end_after,
)
from trading.strategies.base import Strategy
from trading.strategies.registry import UnknownStrategy, effective_params, strategy_class

_TOP_LEVEL = re.compile(r"(?P<kind>portfolio|strategies)(?P<suffix>_[a-z0-9_]+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One strategy of the profile: the parameters as the file gives them, and its windows.

    `name` is the strategy's own short name, by which signals, limits and reports know it; `path` is what the file
    says and `strategy_class` loads: the same for a built-in one, `package.module:Class` for the user's own.
    """

    name: str
    path: str
    params: Mapping[str, Any]
    windows: tuple[Window, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class EffectiveParams:
    """What a strategy really runs with on one symbol: an instance of its `Params`."""

    strategy: str
    symbol: str
    params: Any


@dataclasses.dataclass(frozen=True)
class SessionConfig:
    """One profile of a session file, complete."""

    profile: str
    portfolio: Portfolio
    strategies: tuple[StrategyConfig, ...]
    effective: tuple[EffectiveParams, ...]

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON text: the body of the config version."""
        return canonical_json(self)

    @cached_property
    def sha256(self) -> str:
        """The identity of this configuration."""
        return sha256_hex(self.canonical)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the profile, in the file's order."""
        return self.portfolio.symbols

    @property
    def interval_seconds(self) -> int:
        """The length of a bar."""
        return INTERVALS[self.portfolio.interval]

    @property
    def currency(self) -> str:
        """The currency of a paper account that runs this: the dollar, or the one that the profile's shares cost."""
        return _currencies(self.portfolio)[0]

    def is_trading(self, start: datetime) -> bool:
        """Whether a bar that starts then counts: neither a weekend's nor, at an exchange, outside its hours."""
        exchange = EXCHANGES.get(self.portfolio.venue)
        if exchange is None:
            return is_trading_bar(start)
        daily = self.interval_seconds == DAY_SECONDS
        return exchange.is_trading(start, daily=daily, holidays=self.portfolio.holidays)

    def params_for(self, strategy: str, symbol: str) -> Any:
        """The effective parameters. Raises `KeyError` for a pair that the profile does not run."""
        for item in self.effective:
            if (item.strategy, item.symbol) == (strategy, symbol):
                return item.params
        raise KeyError((strategy, symbol))

    def windows(self) -> tuple[Window, ...]:
        """The windows of all strategies."""
        return tuple(window for strategy in self.strategies for window in strategy.windows)

    def spread_pips(self, symbol: str) -> Decimal:
        """The whole spread that the paper book charges on a symbol, in pips."""
        portfolio = self.portfolio
        spread = portfolio.spreads.get(symbol, portfolio.spread_pips)
        if spread is None:
            raise KeyError(symbol)
        return spread

    def daily_risk_pct(self, strategy: str) -> Decimal:
        """The share of equity, in percent, that a strategy may put at risk in a day.

        What `budget.per_strategy` does not give out is split evenly over the strategies that it does not name.
        """
        budget = self.portfolio.budget
        if strategy in budget.per_strategy:
            return budget.per_strategy[strategy]
        unnamed = [item.name for item in self.strategies if item.name not in budget.per_strategy]
        return (budget.daily_risk_pct - sum(budget.per_strategy.values(), ZERO)) / len(unnamed)

    def with_spread(self, pips: Decimal) -> SessionConfig:
        """The same configuration with one spread for all symbols: another configuration, with another sha256."""
        if not pips.is_finite() or pips < 0:
            raise BadSettings(f"spread_pips: must be zero or above, not {pips}")
        return dataclasses.replace(self, portfolio=dataclasses.replace(self.portfolio, spreads={}, spread_pips=pips))


def load_session(text: str, profile: str = "portfolio") -> SessionConfig:
    """One profile of the session file `text`; the other profiles are validated too.

    Raises `BadSettings` with the path of everything that is wrong, and for a profile that the file does not have.
    """
    data = read_settings(text)
    suffixes, wrong = _profiles(data)
    sections = _sections(data, suffixes, wrong)
    if wrong:
        raise BadSettings("; ".join(wrong))
    configs = {f"portfolio{suffix}": _config(sections, suffix) for suffix in suffixes}
    if profile not in configs:
        known = ", ".join(sorted(configs)) or "none"
        raise BadSettings(f"the session file has no profile {profile!r}; it has {known}")
    return configs[profile]


def choose_symbols(config: SessionConfig, given: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """With bars from files: which symbols of the profile run, and which do not because no file was given.

    Raises `BadSettings` when a file is for a symbol outside the profile, or none was given.
    """
    wanted = tuple(given)
    known = ", ".join(config.symbols)
    for symbol in wanted:
        if symbol not in config.symbols:
            raise BadSettings(
                f"bars were given for {symbol}, which the profile {config.profile!r} does not trade ({known}). "
                f"Leave that file out or add the symbol to the session file."
            )
    if not wanted:
        raise BadSettings(f"no bars were given; give a file for at least one of {known}")
    run = tuple(symbol for symbol in config.symbols if symbol in wanted)
    return run, tuple(symbol for symbol in config.symbols if symbol not in wanted)


def _profiles(data: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The suffixes of the profiles ("" for `portfolio` itself), and which keys are unknown or missing."""
    found: dict[str, set[str]] = {}
    wrong: list[str] = []
    for key in data:
        match = _TOP_LEVEL.fullmatch(key)
        if match is None:
            wrong.append(f"{key}: unknown key (known are portfolio, strategies, and both with one suffix)")
            continue
        found.setdefault(match["suffix"] or "", set()).add(match["kind"])
    for suffix, kinds in found.items():
        for kind in sorted({"portfolio", "strategies"} - kinds):
            wrong.append(f"{kind}{suffix}: missing (a profile is portfolio{suffix} and strategies{suffix})")
    return list(found), wrong


def _sections(data: Mapping[str, Any], suffixes: Iterable[str], wrong: list[str]) -> dict[str, Any]:
    """The sections that are there, each by itself; what is wrong in one of them joins `wrong`."""
    sections: dict[str, Any] = {}
    for suffix in suffixes:
        kinds: tuple[tuple[str, type[Any]], ...] = (
            (f"portfolio{suffix}", Portfolio),
            (f"strategies{suffix}", tuple[StrategyEntry, ...]),
        )
        for key, kind in kinds:
            if key not in data:
                continue
            try:
                sections[key] = validate(kind, data[key], key)
            except BadSettings as error:
                wrong.append(str(error))
    return sections


def _config(sections: Mapping[str, Any], suffix: str) -> SessionConfig:
    portfolio_path, strategies_path = f"portfolio{suffix}", f"strategies{suffix}"
    portfolio: Portfolio = sections[portfolio_path]
    entries: tuple[StrategyEntry, ...] = sections[strategies_path]
    _check_portfolio(portfolio, portfolio_path)
    if not entries:
        raise BadSettings(f"{strategies_path}: must name at least one strategy")
    strategies: list[StrategyConfig] = []
    effective: list[EffectiveParams] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        path = join_path(strategies_path, index)
        short_name = _strategy(entry, path).name
        if short_name in names:
            raise BadSettings(f"{path}.name: {short_name!r} is there already; a strategy runs once per symbol")
        names.add(short_name)
        strategies.append(StrategyConfig(short_name, entry.name, entry.params, _windows(entry, portfolio, path)))
        for symbol in portfolio.symbols:
            params = effective_params(entry.name, symbol, portfolio.interval, entry.params, join_path(path, "params"))
            effective.append(EffectiveParams(short_name, symbol, params))
    _check_budget(portfolio.budget, {item.name for item in strategies}, join_path(portfolio_path, "budget"))
    return SessionConfig(portfolio_path, portfolio, tuple(strategies), tuple(effective))


def _strategy(entry: StrategyEntry, path: str) -> type[Strategy]:
    try:
        return strategy_class(entry.name)
    except UnknownStrategy as error:
        raise BadSettings(f"{path}.name: {error}") from error


def _windows(entry: StrategyEntry, portfolio: Portfolio, path: str) -> tuple[Window, ...]:
    if not entry.windows:
        raise BadSettings(f"{path}.windows: must have at least one window")
    windows = []
    for index, item in enumerate(entry.windows):
        if item.start == item.end != MIDNIGHT:
            raise BadSettings(f"{path}.windows[{index}]: starts and ends at the same time")
        weekdays = tuple(sorted(item.weekday_numbers))
        windows.append(Window(item.start, item.end, item.tz or portfolio.tz, weekdays, portfolio.holidays))
    return tuple(windows)


def _check_portfolio(portfolio: Portfolio, path: str) -> None:
    for index, symbol in enumerate(portfolio.symbols):
        if symbol not in INSTRUMENTS:
            known = ", ".join(sorted(INSTRUMENTS))
            raise BadSettings(f"{path}.symbols[{index}]: {symbol!r} is not a known symbol (known are {known})")
        if portfolio.symbols.index(symbol) != index:
            raise BadSettings(f"{path}.symbols[{index}]: {symbol!r} is there twice")
        if symbol not in portfolio.spreads and portfolio.spread_pips is None:
            raise BadSettings(f"{path}.spreads.{symbol}: missing (or give one spread_pips for all)")
    for symbol in portfolio.spreads:
        if symbol not in portfolio.symbols:
            raise BadSettings(f"{path}.spreads.{symbol}: unknown key (the profile does not trade it)")
    currencies = _currencies(portfolio)
    if len(currencies) > 1:
        raise BadSettings(
            f"{path}.symbols: shares that cost {' and '.join(currencies)}; an account pays in one currency, so give "
            "each currency a profile of its own"
        )
    if not _on_grid(portfolio.session_start, INTERVALS[portfolio.interval]):
        raise BadSettings(f"{path}.session_start: no {portfolio.interval} bar starts at that time")


def _currencies(portfolio: Portfolio) -> list[str]:
    """In which currencies the profile's shares are paid; margin instruments are kept in dollars."""
    paid = {INSTRUMENTS[symbol].quote for symbol in portfolio.symbols if not INSTRUMENTS[symbol].margin}
    return sorted(paid) or ["USD"]


def _check_budget(budget: Budget, strategies: set[str], path: str) -> None:
    for name in budget.per_strategy:
        if name not in strategies:
            raise BadSettings(f"{path}.per_strategy.{name}: unknown key (the profile does not run it)")
    given = sum(budget.per_strategy.values(), ZERO)
    if given > budget.daily_risk_pct:
        limit = f"daily_risk_pct of {plain(budget.daily_risk_pct)}"
        raise BadSettings(f"{path}.per_strategy: adds up to {plain(given)}, more than the {limit}")
    if strategies - set(budget.per_strategy) and given == budget.daily_risk_pct:
        raise BadSettings(f"{path}.per_strategy: leaves nothing for the strategies that it does not name")


def _on_grid(moment: time, interval_seconds: int) -> bool:
    return (moment.hour * 3600 + moment.minute * 60) % interval_seconds == 0


__all__ = [
    "BadSettings",
    "Budget",
    "DrawdownLock",
    "EffectiveParams",
    "NewsGuard",
    "Portfolio",
    "RiskLimits",
    "RiskParity",
    "SessionConfig",
    "StrategyConfig",
    "Window",
    "choose_symbols",
    "in_any_window",
    "is_trading_bar",
    "load_session",
    "trading_day",
    "window_end_after",
]
