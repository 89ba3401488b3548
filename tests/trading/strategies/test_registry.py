"""Finding strategies and their parameters."""

from decimal import Decimal

import pytest

from tests.trading.strategies.own import Always
from trading.domain.session import load_session
from trading.domain.settings_text import BadSettings
from trading.strategies.orb import OpeningRangeBreakout
from trading.strategies.registry import UnknownStrategy, effective_params, strategy_class

OWN = "tests.trading.strategies.own"
SESSION = """
portfolio:
  symbols: [EURUSD, GBPUSD]
  interval: 5m
  source: csv
  venue: OANDA
  spread_pips: 1
  session_start: "07:00"
  risk: {global_daily_stop_r: -5, max_open_positions: 2, max_open_per_symbol: 1, per_strategy_daily_trades: 3,
         per_strategy_daily_stop_r: -2, per_strategy_daily_win_r: 6}
  budget: {equity: 100000, daily_risk_pct: 2, per_trade_risk_pct: 0.5}
strategies:
  - {name: "NAME", params: {other: 2}, windows: [{start: "07:05", end: "10:00"}]}
"""


def test_a_short_name_finds_the_built_in_strategy_and_a_dotted_path_the_user_s_own() -> None:
    assert strategy_class("orb") is OpeningRangeBreakout
    assert strategy_class(f"{OWN}:Always") is Always


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "orbit",
            "there is no strategy 'orbit' (there are lsg, orb, trend_pullback, or your own as package.module:Class)",
        ),
        ("nowhere.at.all:Thing", "the module of 'nowhere.at.all:Thing' cannot be loaded: ModuleNotFoundError"),
        ("tests.trading.strategies.broken:Thing", "cannot be loaded: RuntimeError: the model file is missing"),
        (":Thing", "cannot be loaded"),
        (f"{OWN}:Nothing", f"the module '{OWN}' has no class 'Nothing'"),
        (f"{OWN}:NoStrategy", "is not a subclass of"),
        (f"{OWN}:STRICT", "is not a subclass of"),
        (f"{OWN}:Unfinished", "does not implement _configure, begin_day, evaluate, ready, restart_indicators"),
        (f"{OWN}:Nameless", "has no name"),
        (f"{OWN}:WithoutParams", "has no parameters"),
    ],
)
def test_a_strategy_that_cannot_be_loaded_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UnknownStrategy) as caught:
        strategy_class(name)
    assert reason in str(caught.value)
    with pytest.raises(BadSettings) as in_file:
        load_session(SESSION.replace("NAME", name))
    assert "strategies[0].name: " in str(in_file.value)


def test_parameters_are_the_defaults_under_the_tuned_ones_under_those_of_the_file() -> None:
    name = f"{OWN}:Always"
    assert effective_params(name, "GBPUSD", "5m", {}).distance_pips == 10
    assert effective_params(name, "EURUSD", "5m", {}).distance_pips == 7
    assert effective_params(name, "EURUSD", "15m", {}).distance_pips == 10
    assert effective_params(name, "EURUSD", "5m", {"distance_pips": Decimal("2.5")}).distance_pips == Decimal("2.5")


def test_effective_parameters_are_part_of_the_configuration_s_identity() -> None:
    config = load_session(SESSION.replace("NAME", f"{OWN}:Always"))
    assert config.params_for("always", "EURUSD").distance_pips == 7
    assert config.params_for("always", "EURUSD").other == 2
    assert '"distance_pips":"7"' in config.canonical
    with pytest.raises(KeyError):
        config.params_for("orb", "EURUSD")


def test_a_user_s_strategy_is_known_by_its_own_name_as_in_its_signals_and_loaded_by_its_path() -> None:
    config = load_session(SESSION.replace("NAME", f"{OWN}:Always"))
    (entry,) = config.strategies
    assert (entry.name, entry.path) == ("always", f"{OWN}:Always")
    assert strategy_class(entry.path).name == entry.name
    assert config.daily_risk_pct("always") == 2


def test_an_unknown_parameter_is_refused_with_its_path() -> None:
    with pytest.raises(BadSettings, match=r"params\.distance: unknown key"):
        effective_params(f"{OWN}:Always", "EURUSD", "5m", {"distance": 1})


def test_two_paths_to_the_same_strategy_are_refused_because_it_runs_once_per_symbol() -> None:
    twice = SESSION.replace("NAME", "orb").replace("{other: 2}", "{}")
    twice += (
        """  - {name: "trading.strategies.orb:OpeningRangeBreakout", windows: [{start: "07:05", end: "10:00"}]}\n"""
    )
    with pytest.raises(BadSettings, match=r"strategies\[1\]\.name: 'orb' is there already"):
        load_session(twice)
