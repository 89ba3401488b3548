"""Which strategies there are, and with which parameters one runs.

What always holds here: a strategy is named by its short name or by the dotted path of a class of the user's own
(`package.module:Class`); its parameters are the class's defaults, under the tuned ones for (symbol, interval), under
those of the session file; a parameter that the class does not have is refused.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trading.domain.settings_text import BadSettings, join_path, unknown_key, validate
from trading.strategies.base import Strategy
from trading.strategies.lsg import LiquiditySweepGrab
from trading.strategies.orb import OpeningRangeBreakout
from trading.strategies.trend_pullback import TrendPullback

BUILT_IN: Mapping[str, type[Strategy]] = MappingProxyType(
    {strategy.name: strategy for strategy in (LiquiditySweepGrab, OpeningRangeBreakout, TrendPullback)}
)


class UnknownStrategy(ValueError):
    """A strategy that does not exist or cannot be loaded. The message says why."""


def strategy_class(name: str) -> type[Strategy]:
    """The class behind a short name or a dotted path. Raises `UnknownStrategy`.

    A dotted path imports and so runs the user's module: session files are as trusted as code.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    module_name, separator, class_name = name.partition(":")
    if not separator:
        known = ", ".join(sorted(BUILT_IN))
        raise UnknownStrategy(f"there is no strategy {name!r} (there are {known}, or your own as package.module:Class)")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises, the person gets a sentence
        raise UnknownStrategy(f"the module of {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise UnknownStrategy(f"the module {module_name!r} has no class {class_name!r}")
    if not isinstance(found, type) or not issubclass(found, Strategy):
        raise UnknownStrategy(f"{name!r} is not a subclass of trading.strategies.base.Strategy")
    return _complete(found, name)


def effective_params(name: str, symbol: str, interval: str, overrides: Mapping[str, Any], path: str = "params") -> Any:
    """An instance of the strategy's `Params`: defaults, tuned values, then `overrides` from the session file.

    Raises `UnknownStrategy`, and `BadSettings` with the key's path for unknown or unfit parameters.
    """
    chosen = strategy_class(name)
    known = {field.name for field in dataclasses.fields(chosen.Params)}
    for key in overrides:
        if key not in known:
            raise unknown_key(join_path(path, key), known)
    merged = {**chosen.TUNED.get((symbol, interval), {}), **overrides}
    return validate(chosen.Params, merged, path)


def _complete(found: type[Strategy], name: str) -> type[Strategy]:
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise UnknownStrategy(f"{name!r} does not implement {', '.join(missing)}")
    if not isinstance(getattr(found, "name", None), str):
        raise UnknownStrategy(f"{name!r} has no name: set `name` on the class")
    if not dataclasses.is_dataclass(getattr(found, "Params", None)):
        raise UnknownStrategy(f"{name!r} has no parameters: set `Params` on the class to a dataclass")
    return found


__all__ = ["BUILT_IN", "BadSettings", "UnknownStrategy", "effective_params", "strategy_class"]
