"""Market data: what is refused, and what counts as a hole."""

from datetime import time, timedelta
from decimal import Decimal

import pytest

from tests.trading.domain.making import FIVE_MINUTES, at, bar
from trading.domain.bars import (
    DAY_SECONDS,
    BadBars,
    Bar,
    BarFile,
    Gap,
    GapKind,
    bars_sha256,
    find_gaps,
    follows,
    jumps,
    read_bars,
    validate_bars,
)
from trading.domain.windows import Window

HEADER = "ts,open,high,low,close,volume"
MORNING = (Window(time(7), time(10)),)


def read(*rows: str, header: str = HEADER) -> BarFile:
    return read_bars([header + "\n", *(row + "\n" for row in rows)], "EURUSD", FIVE_MINUTES)


GOOD = "2014-05-01T00:00:00Z,1.1,1.2,1.0,1.15,0"
NEXT = "2014-05-01T00:05:00Z,1.1,1.2,1.0,1.15,0"


def test_good_rows_become_bars_with_exact_numbers_and_their_lines() -> None:
    file = read(GOOD, "", "2014-05-01T02:05:00+02:00,1.386885,1.386885,1.386885,1.386885,12.5")
    assert file.lines == (2, 4)
    assert file.bars[1] == Bar(
        "EURUSD", at("2014-05-01 00:05"), FIVE_MINUTES, *([Decimal("1.386885")] * 4), Decimal("12.5")
    )
    assert file.bars[0].end == file.bars[1].start


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (GOOD, "line 3 is a duplicate"),
        ("2014-04-30T23:55:00Z,1.1,1.2,1.0,1.15,0", "line 3 goes back in time"),
        ("2014-05-01T00:05:00Z,NaN,1.2,1.0,1.15,0", "line 3 has no number as its open"),
        ("2014-05-01T00:05:00Z,1.1,inf,1.0,1.15,0", "line 3 has no number as its high"),
        ("2014-05-01T00:05:00Z,1.1,1.2,,1.15,0", "line 3 has no number as its low"),
        ("2014-05-01T00:05:00Z,1.1,1.0,1.2,1.15,0", "line 3 has 1 as its high, below its low of 1.2"),
        ("2014-05-01T00:05:00Z,1.3,1.2,1.0,1.15,0", "line 3 has 1.3 as its open, outside low 1 to high 1.2"),
        ("2014-05-01T00:05:00Z,1.1,1.2,1.0,0.9,0", "line 3 has 0.9 as its close, outside"),
        ("2014-05-01T00:05:00Z,0,0,0,0,0", "prices are above zero"),
        ("2014-05-01T00:05:00Z,1.1,1.2,1.0,1.15,-1", "line 3 has -1 as its volume"),
        ("2014-05-01T00:07:00Z,1.1,1.2,1.0,1.15,0", "which no 300 s bar does"),
        ("2014-05-01T00:05:00,1.1,1.2,1.0,1.15,0", "line 3 has a ts without a zone"),
        ("yesterday,1.1,1.2,1.0,1.15,0", "line 3 has a ts that is no time"),
        ("2014-05-01T00:05:00Z,1.1,1.2,1.0,1.15", "line 3 has 5 fields instead of 6"),
        ('2014-05-01T00:05:00Z,"1.1', "is no readable CSV"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(row: str, complaint: str) -> None:
    with pytest.raises(BadBars) as caught:
        read(GOOD, row)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("EURUSD: line 3 ")


def test_a_wrong_header_and_a_file_without_bars_are_refused() -> None:
    with pytest.raises(BadBars, match="line 1 is not the header"):
        read(GOOD, header="time,o,h,l,c,v")
    with pytest.raises(BadBars, match="holds no bars"):
        read()


def test_bars_that_came_another_way_are_held_to_the_same_rules() -> None:
    good = [bar("2014-05-01 00:00", "1.1 1.2 1.0 1.1"), bar("2014-05-01 00:05", "1.1 1.2 1.0 1.1")]
    validate_bars(good)
    with pytest.raises(BadBars, match="line 2 is a duplicate"):
        validate_bars([good[0], good[0]])
    with pytest.raises(BadBars, match="line 1 has NaN as its close"):
        validate_bars([bar("2014-05-01 00:00", "1.1 1.2 1.0 NaN")])


def test_the_identity_of_data_is_its_content_not_its_formatting() -> None:
    same = read("2014-05-01T01:00:00+01:00,1.10,1.20,1,1.150,0.0")
    assert read(GOOD).sha256 == same.sha256 == bars_sha256(same.bars)
    assert read(GOOD).sha256 != read(GOOD.replace("1.15", "1.16")).sha256
    assert read(GOOD).sha256 != read(GOOD, NEXT).sha256


def gaps(*starts: str) -> tuple[Gap, ...]:
    rows = [f"{at(start).isoformat()},1.1,1.2,1.0,1.15,0" for start in starts]
    return find_gaps(read(*rows), MORNING)


def test_bars_in_a_row_have_no_gap() -> None:
    assert gaps("2014-05-01 00:00", "2014-05-01 00:05") == ()


def test_a_bar_missing_between_midnight_and_the_end_of_the_last_window_is_a_hole_with_its_line() -> None:
    found = gaps("2014-05-01 07:00", "2014-05-01 07:05", "2014-05-01 07:15")
    assert found == (Gap(4, at("2014-05-01 07:10"), at("2014-05-01 07:15"), GapKind.HOLE),)
    assert str(found[0]) == "line 4: no bars from 2014-05-01 07:10 to 2014-05-01 07:15 UTC (hole)"


@pytest.mark.parametrize(
    ("last", "following", "kind"),
    [
        ("2014-05-01 09:50", "2014-05-01 10:00", GapKind.HOLE),
        ("2014-05-01 09:55", "2014-05-01 10:05", GapKind.SESSION),
        ("2014-05-01 23:50", "2014-05-02 00:00", GapKind.SESSION),
        ("2014-05-01 23:55", "2014-05-02 00:05", GapKind.HOLE),
        ("2014-05-02 20:55", "2014-05-04 21:00", GapKind.SESSION),
        ("2014-05-02 20:55", "2014-05-05 00:05", GapKind.HOLE),
        ("2014-05-15 23:55", "2018-04-03 00:00", GapKind.SESSION),
        ("2014-05-15 09:00", "2018-04-03 00:00", GapKind.HOLE),
    ],
)
def test_other_gaps_only_begin_a_new_session(last: str, following: str, kind: GapKind) -> None:
    assert [gap.kind for gap in gaps(last, following)] == [kind]


def test_the_watched_part_of_a_day_ends_with_the_latest_window_of_any_strategy_in_its_own_zone() -> None:
    file = read(*(f"2014-05-01T{clock}:00Z,1.1,1.2,1.0,1.15,0" for clock in ("13:00", "13:10")))
    assert [gap.kind for gap in find_gaps(file, MORNING)] == [GapKind.SESSION]
    new_york = Window(time(8), time(10), "America/New_York")
    assert [gap.kind for gap in find_gaps(file, (*MORNING, new_york))] == [GapKind.HOLE]


def test_a_window_across_midnight_watches_the_whole_day() -> None:
    night = (Window(time(22), time(2)),)
    file = read(*(f"2014-05-01T{clock}:00Z,1.1,1.2,1.0,1.15,0" for clock in ("15:00", "15:10")))
    assert [gap.kind for gap in find_gaps(file, night)] == [GapKind.HOLE]


def test_a_bar_covers_its_interval() -> None:
    assert bar("2014-05-01 07:05", "1 1 1 1").end - at("2014-05-01 07:05") == timedelta(minutes=5)


def daily(*starts: str, tz: str = "America/New_York") -> BarFile:
    rows = [f"{at(start).isoformat()},1.1,1.2,1.0,1.15,0" for start in starts]
    return read_bars([HEADER + "\n", *(row + "\n" for row in rows)], "SPY", DAY_SECONDS, tz)


def test_daily_bars_start_at_midnight_of_their_market_in_summer_and_in_winter() -> None:
    file = daily("2010-03-12 05:00", "2010-03-15 04:00")
    assert [bar.start for bar in file.bars] == [at("2010-03-12 05:00"), at("2010-03-15 04:00")]
    validate_bars(file.bars, tz="America/New_York")
    with pytest.raises(BadBars, match=r"line 1 starts at 2010-03-12T05:00:00\+00:00, which is not midnight in UTC"):
        validate_bars(file.bars)
    with pytest.raises(BadBars, match="line 3 starts at 2010-03-15T05:00:00.00:00, which is not midnight in America"):
        daily("2010-03-12 05:00", "2010-03-15 05:00")
    assert len(daily("2010-03-12 00:00", tz="UTC").bars) == 1


@pytest.mark.parametrize(
    ("last", "following", "hole"),
    [
        ("2010-03-12 05:00", "2010-03-15 04:00", False),
        ("2012-10-26 04:00", "2012-10-31 04:00", False),
        ("2013-10-31 04:00", "2013-11-05 05:00", False),
        ("2012-10-26 04:00", "2012-11-01 04:00", True),
        ("2001-09-10 04:00", "2001-09-17 04:00", True),
    ],
    ids=["a weekend", "five days: a storm", "five days, and the clocks go back", "six days", "a week"],
)
def test_of_daily_bars_more_than_a_long_weekend_is_a_hole_and_less_is_no_gap(
    last: str, following: str, hole: bool
) -> None:
    file = daily(last, following)
    all_day = (Window(time(0), time(0), "America/New_York"),)
    kinds = [gap.kind for gap in find_gaps(file, all_day, tz="America/New_York")]
    assert kinds == ([GapKind.HOLE] if hole else [])
    assert follows(*file.bars) is not hole


@pytest.mark.parametrize(("opening", "jumped"), [("60", False), ("59.99", True), ("140", False), ("140.01", True)])
def test_an_opening_further_than_forty_percent_from_the_close_before_is_another_price(
    opening: str, jumped: bool
) -> None:
    before = bar("2014-06-06 04:00", "100 100 100 100", "AAPL", DAY_SECONDS)
    assert jumps(before, bar("2014-06-09 04:00", f"{opening} 200 50 100", "AAPL", DAY_SECONDS)) is jumped
