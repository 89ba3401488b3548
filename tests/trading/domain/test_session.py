"""The session file: every key arrives, every wrong key is named."""

import copy
from collections.abc import Iterator
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

import trading
from tests.trading.domain.making import at
from trading.domain.session import BadSettings, SessionConfig, choose_symbols, load_session, window_end_after

SHIPPED = (Path(trading.__file__).parent / "config" / "sessions.yaml").read_text(encoding="utf-8")


def changed(path: str, value: Any, text: str = SHIPPED) -> str:
    """The shipped file with one key set (or, for `...`, taken out)."""
    data = yaml.load(text, Loader=yaml.BaseLoader)
    place = data
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    key = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return unquoted(data)


def unquoted(data: Any) -> str:
    """YAML with scalars as bare words, so that numbers stay numbers."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{key}: {unquoted(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(unquoted(value) for value in data) + "]"
    if isinstance(data, bool):
        return "true" if data else "false"
    return f'"{data}"' if ":" in str(data) or data == "" else str(data)


def test_the_shipped_file_is_read_with_exact_numbers() -> None:
    config = load_session(SHIPPED)
    assert config.profile == "portfolio"
    assert config.symbols == ("EURUSD", "GBPUSD", "XAUUSD")
    assert config.interval_seconds == 300
    assert config.spread_pips("EURUSD") == Decimal("0.6")
    assert config.portfolio.session_start == time(7)
    assert config.portfolio.risk.global_daily_stop_r == -5
    assert config.portfolio.budget.equity == 100000
    assert [strategy.name for strategy in config.strategies] == ["lsg", "orb"]
    assert config.params_for("lsg", "EURUSD").bos_buffer_pips == Decimal("0.3")
    assert config.params_for("lsg", "EURUSD").sweep_pips == 3
    assert config.params_for("orb", "EURUSD").retest is False
    assert config.params_for("orb", "EURUSD").filter_min_or_pips == 2
    assert config.params_for("orb", "EURUSD").thr_break_pips == 3
    for_lsg, for_orb = config.windows()
    assert for_lsg.contains(at("2014-05-01 07:00")) and not for_orb.contains(at("2014-05-01 07:00"))
    assert for_orb.contains(at("2014-05-01 07:05")) and not for_orb.contains(at("2014-05-01 10:00"))


def test_another_profile_of_the_file_has_its_own_strategies() -> None:
    config = load_session(SHIPPED, "portfolio_ny")
    assert config.portfolio.session_start == time(12, 30)
    assert config.params_for("orb", "EURUSD").filter_min_or_pips == 3
    assert config.sha256 != load_session(SHIPPED).sha256


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadSettings, match="no profile 'portfolio_asia'; it has portfolio, portfolio_ny"):
        load_session(SHIPPED, "portfolio_asia")


def test_the_identity_is_that_of_the_meaning_not_of_the_formatting() -> None:
    assert load_session(SHIPPED).sha256 == load_session(unquoted(yaml.load(SHIPPED, Loader=yaml.BaseLoader))).sha256


OTHER_VALUES = {
    "EURUSD": "0.7",
    "GBPUSD": "0.8",
    "XAUUSD": "2.6",
    "interval": "1m",
    "source": "csv",
    "venue": "ALPACA",
    "warmup_days": 4,
    "session_start": "07:05",
    "status_every_s": 181,
    "global_daily_stop_r": "-5.5",
    "max_open_positions": 3,
    "max_open_per_symbol": 2,
    "per_strategy_daily_trades": 4,
    "per_strategy_daily_stop_r": "-2.5",
    "per_strategy_daily_win_r": "6.5",
    "enabled": None,
    "lookback_d": 21,
    "floor": "0.16",
    "cap": "0.61",
    "trailing_pct": "5.5",
    "cooloff_min": 121,
    "csv_path": "other.csv",
    "pad_before_m": 31,
    "pad_after_m": 32,
    "equity": 100001,
    "daily_risk_pct": "2.1",
    "per_trade_risk_pct": "0.4",
    "per_strategy": {"orb": "1.5"},
    "symbols": ["EURUSD", "XAUUSD", "GBPUSD"],
    "retest": True,
    "filter_min_or_pips": "2.5",
    "bos_buffer_pips": "0.4",
    "reentry_window_m": 50,
    "start": "07:10",
    "end": "09:55",
}


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}.{index}")
    else:
        yield path, value


def shipped_leaves() -> list[tuple[str, Any]]:
    data = yaml.load(SHIPPED, Loader=yaml.BaseLoader)
    mine = {key: value for key, value in data.items() if not key.endswith("_ny")}
    return [(path, value) for path, value in leaves(mine, "") if not path.endswith(".name")]


@pytest.mark.parametrize(("path", "value"), shipped_leaves(), ids=lambda item: item if isinstance(item, str) else "")
def test_trap_every_key_of_the_file_reaches_the_configuration(path: str, value: Any) -> None:
    other = OTHER_VALUES[path.rpartition(".")[2]]
    if other is None:
        other = value != "true"
    assert load_session(changed(path, other)).sha256 != load_session(SHIPPED).sha256


@pytest.mark.parametrize("path", [path for path, _ in shipped_leaves()])
def test_a_misspelt_key_is_refused_with_its_path_wherever_it_stands(path: str) -> None:
    parent, _, last = path.rpartition(".")
    text = changed(f"{parent}.{last}x" if not last.isdigit() else path, 1)
    with pytest.raises(BadSettings) as caught:
        load_session(text)
    shown = ".".join(parent.split("."))
    for index in range(3):
        shown = shown.replace(f".{index}", f"[{index}]")
    assert f"{shown}.{last}x: unknown key" in str(caught.value)


def test_an_unknown_key_is_named_in_the_words_of_the_file() -> None:
    with pytest.raises(BadSettings) as caught:
        load_session(changed("portfolio.risk.max_positions", 3))
    assert str(caught.value) == "portfolio.risk.max_positions: unknown key"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("portfolio.interval", "7m", "portfolio.interval: must be"),
        ("portfolio.risk.max_open_positions", "2.5", "portfolio.risk.max_open_positions: must be a valid integer"),
        ("portfolio.risk.max_open_positions", 0, "portfolio.risk.max_open_positions: must be greater than"),
        ("portfolio.risk.global_daily_stop_r", "5", "portfolio.risk.global_daily_stop_r: must be less than 0"),
        ("portfolio.risk.global_daily_stop_r", ".nan", "portfolio.risk.global_daily_stop_r: must be a number"),
        ("portfolio.risk", "none", "portfolio.risk: must be keys with values"),
        ("portfolio.dd_lock.enabled", 1, "portfolio.dd_lock.enabled: must be a valid boolean"),
        ("portfolio.session_start", "7", 'portfolio.session_start: must be a time of day like "07:05", not 7'),
        ("portfolio.session_start", "25:00", "portfolio.session_start: must be a time of day"),
        ("portfolio.session_start", "07:02", "portfolio.session_start: no 5m bar starts at that time"),
        ("portfolio.tz", "Mars/Olympus", "portfolio.tz: must be a time zone"),
        ("portfolio.tz", "../../etc/passwd", "portfolio.tz: must be a time zone"),
        ("portfolio.holidays", ["2014-02-30"], "portfolio.holidays[0]: must be a day"),
        ("portfolio.symbols", ["EURUSD", "EURUSDX"], "portfolio.symbols[1]: 'EURUSDX' is not a known symbol"),
        ("portfolio.symbols", ["EURUSD", "EURUSD"], "portfolio.symbols[1]: 'EURUSD' is there twice"),
        ("portfolio.symbols", [], "portfolio.symbols: "),
        ("portfolio.spreads.XAUUSD", ..., "portfolio.spreads.XAUUSD: missing"),
        ("portfolio.spreads.USDJPY", 1, "portfolio.spreads.USDJPY: unknown key (the profile does not trade it)"),
        ("portfolio.budget.equity", ..., "portfolio.budget.equity: missing"),
        ("portfolio.budget.per_trade_risk_pct", 3, "per_trade_risk_pct must not be above daily_risk_pct"),
        ("portfolio.budget.per_strategy", {"arls": 1}, "portfolio.budget.per_strategy.arls: unknown key"),
        ("portfolio.budget.per_strategy", {"orb": 3}, "portfolio.budget.per_strategy: adds up to 3, more than"),
        ("portfolio.news_guard", {"enabled": True}, "csv_path must name the calendar"),
        ("portfolio.risk_parity.floor", "0.7", "floor must not be above cap"),
        ("strategies.0.name", "orbit", "strategies[0].name: there is no strategy 'orbit'"),
        ("strategies.1.params.retesst", True, "strategies[1].params.retesst: unknown key"),
        ("strategies.1.params.retest", 1, "strategies[1].params.retest: must be a valid boolean"),
        ("strategies.0.params.buffer_pips", -1, "strategies[0].params: buffer_pips must not be below zero"),
        ("strategies.0.windows", [], "strategies[0].windows: must have at least one window"),
        ("strategies.1.windows.0.end", "07:05", "strategies[1].windows[0]: starts and ends at the same time"),
        ("strategies.0.windows.0.weekdays", ["monday"], "strategies[0].windows[0].weekdays[0]: must be"),
        ("strategies", [], "strategies: must name at least one strategy"),
        ("strategies_ny", ..., "strategies_ny: missing"),
        ("portfolio_ny.risk.max_positions", 1, "portfolio_ny.risk.max_positions: unknown key"),
        ("session", 1, "session: unknown key"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_path(path: str, value: Any, complaint: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load_session(changed(path, value))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2", "the key 'a' is twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: [1", "cannot be read"),
        ("1: 2", "the key 1 is no text"),
        ("- 1", "keys with values at the top level"),
        ("", "keys with values at the top level"),
        ("a: !!python/object/apply:os.system [ls]", "cannot be read"),
        ("a: " + "[" * 5000, "cannot be read"),
        ("a: 1e99", "exponent"),
    ],
)
def test_text_that_is_no_settings_file_is_refused_in_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(BadSettings, match=complaint.replace("(", r"\(")):
        load_session(text)


def test_a_time_of_day_means_the_same_with_and_without_quotes() -> None:
    text = SHIPPED.replace('end: "10:00"', "end: 10:00").replace('start: "07:05"', "start: 07:05")
    assert load_session(text).sha256 == load_session(SHIPPED).sha256


def test_a_strategy_that_runs_twice_is_refused() -> None:
    data = yaml.load(SHIPPED, Loader=yaml.BaseLoader)
    data["strategies"].append(copy.deepcopy(data["strategies"][0]))
    with pytest.raises(BadSettings, match=r"strategies\[2\].name: 'lsg' is there already"):
        load_session(unquoted(data))


def test_windows_take_the_profile_s_zone_and_holidays_unless_they_name_their_own() -> None:
    london = load_session(changed("portfolio.tz", "Europe/London"))
    assert london.windows()[0].contains(at("2014-05-01 06:05"))
    assert not london.windows()[0].contains(at("2014-05-01 09:00"))
    own = load_session(
        changed("strategies.0.windows.0.tz", "America/New_York", changed("portfolio.tz", "Europe/London"))
    )
    assert own.windows()[0].contains(at("2014-05-01 11:05"))
    closed = load_session(changed("portfolio.holidays", ["2014-05-01"]))
    assert not closed.windows()[0].contains(at("2014-05-01 08:00"))
    assert closed.windows()[0].contains(at("2014-05-02 08:00"))
    mondays = load_session(changed("strategies.0.windows.0.weekdays", ["mon"]))
    assert mondays.windows()[0].contains(at("2014-05-05 08:00"))
    assert not mondays.windows()[0].contains(at("2014-05-06 08:00"))


def test_one_spread_can_stand_for_all_symbols_and_makes_another_configuration() -> None:
    config = load_session(SHIPPED)
    wide = config.with_spread(Decimal("1.5"))
    assert {wide.spread_pips(symbol) for symbol in wide.symbols} == {Decimal("1.5")}
    assert wide.sha256 != config.sha256
    with pytest.raises(BadSettings):
        config.with_spread(Decimal(-1))
    text = changed("portfolio.spreads", ..., changed("portfolio.spread_pips", "0.9"))
    assert load_session(text).spread_pips("XAUUSD") == Decimal("0.9")


def test_what_no_strategy_was_given_of_the_daily_risk_is_split_evenly() -> None:
    config = load_session(SHIPPED)
    assert config.daily_risk_pct("orb") == config.daily_risk_pct("lsg") == 1
    given = load_session(changed("portfolio.budget.per_strategy", {"orb": "1.25"}))
    assert (given.daily_risk_pct("orb"), given.daily_risk_pct("lsg")) == (Decimal("1.25"), Decimal("0.75"))


US = (Path(trading.__file__).parent / "config" / "us_swing.yaml").read_text(encoding="utf-8")
NEW_YORK_MIDNIGHT = at("2014-05-01 04:00")


def test_the_shipped_swing_session_watches_all_day_in_new_york_so_nothing_is_left_over_night() -> None:
    config = load_session(US)
    (window,) = config.windows()
    assert (config.interval_seconds, config.currency, window.ends_at) == (86400, "USD", "24:00")
    for hour in range(24 * 7):
        moment = NEW_YORK_MIDNIGHT + timedelta(hours=hour)
        assert window.contains(moment) and window_end_after((window,), moment) is not None
    assert window_end_after((window,), NEW_YORK_MIDNIGHT) == at("2014-05-02 04:00")


def test_a_window_may_end_with_its_day() -> None:
    config = load_session(changed("strategies.0.windows.0.end", "24:00"))
    window = config.windows()[0]
    assert window.contains(at("2014-05-01 23:55")) and not window.contains(at("2014-05-01 06:55"))
    with pytest.raises(BadSettings, match="must be a time of day"):
        load_session(changed("strategies.0.windows.0.start", "24:00"))


@pytest.mark.parametrize(
    ("interval", "moment", "counts"),
    [
        ("1d", "2014-05-01 04:00", True),
        ("1d", "2014-05-03 04:00", False),
        ("1d", "2014-05-26 04:00", False),
        ("1m", "2014-05-01 13:29", False),
        ("1m", "2014-05-01 13:30", True),
        ("1m", "2014-05-02 19:59", True),
        ("1m", "2014-05-02 20:00", False),
        ("1m", "2014-05-04 22:00", False),
    ],
    ids=["a day", "Saturday", "a holiday", "early", "the bell", "last minute", "late", "only currencies"],
)
def test_at_an_exchange_bars_outside_its_sessions_do_not_count(interval: str, moment: str, counts: bool) -> None:
    text = US.replace("interval: 1d", f"interval: {interval}\n  holidays: [2014-05-26]")
    assert load_session(text).is_trading(at(moment)) is counts


def test_the_currency_market_s_week_is_another() -> None:
    config = load_session(SHIPPED)
    assert config.is_trading(at("2014-05-04 22:00")) and not config.is_trading(at("2014-05-03 12:00"))


def test_an_account_pays_shares_in_one_currency_and_that_is_the_paper_account_s() -> None:
    indian = US.replace("[AAPL, SPY]", "[YESBANK]").replace("{AAPL: 2, SPY: 1}", "{YESBANK: 5}")
    assert load_session(indian.replace("ALPACA", "KITE")).currency == "INR"
    assert load_session(SHIPPED).currency == "USD"
    mixed = US.replace("[AAPL, SPY]", "[AAPL, YESBANK]").replace("SPY: 1", "YESBANK: 5")
    with pytest.raises(BadSettings, match="portfolio.symbols: shares that cost INR and USD"):
        load_session(mixed)


def chosen(*symbols: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    config: SessionConfig = load_session(SHIPPED)
    return choose_symbols(config, symbols)


def test_with_files_the_given_symbols_run_in_the_profile_s_order_and_the_others_are_named() -> None:
    assert chosen("XAUUSD", "EURUSD") == (("EURUSD", "XAUUSD"), ("GBPUSD",))
    assert chosen("EURUSD", "GBPUSD", "XAUUSD") == (("EURUSD", "GBPUSD", "XAUUSD"), ())


def test_a_file_for_a_symbol_outside_the_profile_is_an_error_and_so_is_none_at_all() -> None:
    with pytest.raises(BadSettings, match="USDJPY, which the profile 'portfolio' does not trade"):
        chosen("EURUSD", "USDJPY")
    with pytest.raises(BadSettings, match="no bars were given"):
        chosen()
