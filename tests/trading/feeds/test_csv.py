"""Bars from files."""

from pathlib import Path

import pytest

from tests.trading.domain.making import at
from trading.feeds.base import Feed, FeedError
from trading.feeds.csv import CsvFeed, parse_csv_arguments

GOOD = (
    "ts,open,high,low,close,volume\n"
    "2014-05-01T00:00:00Z,1.1,1.2,1.0,1.15,0\n"
    "2014-05-01T00:05:00Z,1.1,1.2,1.0,1.15,0\n"
    "2014-05-01T00:10:00Z,1.1,1.2,1.0,1.15,0\n"
)


def feed(folder: Path, text: str = GOOD) -> CsvFeed:
    path = folder / "eurusd.csv"
    path.write_bytes(text.encode("utf-8"))
    return CsvFeed({"EURUSD": path})


def test_a_feed_gives_the_closed_bars_between_two_times(tmp_path: Path) -> None:
    source: Feed = feed(tmp_path)
    assert source.name == "csv"
    assert len(source.bars("EURUSD", 300)) == 3
    inside = source.bars("EURUSD", 300, since=at("2014-05-01 00:05"), until=at("2014-05-01 00:14"))
    assert [bar.start for bar in inside] == [at("2014-05-01 00:05")]


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = feed(tmp_path).file("EURUSD", 300)
    other = feed(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")).file("EURUSD", 300)
    assert other.bars == plain.bars
    assert other.sha256 == plain.sha256
    assert other.lines == plain.lines == (2, 3, 4)


def test_a_bad_line_is_a_sentence_with_file_symbol_and_line(tmp_path: Path) -> None:
    with pytest.raises(FeedError) as caught:
        feed(tmp_path, GOOD + "2014-05-01T00:10:00Z,1.1,1.2,1.0,1.15,0\n").bars("EURUSD", 300)
    assert str(caught.value).startswith(f"{tmp_path / 'eurusd.csv'}: EURUSD: line 5 is a duplicate")


def test_a_symbol_without_a_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"no file was given for GBPUSD \(files were given for: EURUSD\)"):
        feed(tmp_path).bars("GBPUSD", 300)


def test_a_file_that_is_missing_a_folder_or_no_text_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read \\(No such file or directory\\)"):
        CsvFeed({"EURUSD": tmp_path / "none.csv"}).bars("EURUSD", 300)
    with pytest.raises(FeedError, match="cannot be read"):
        CsvFeed({"EURUSD": tmp_path}).bars("EURUSD", 300)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FeedError, match="is not a text file in UTF-8"):
        CsvFeed({"EURUSD": binary}).bars("EURUSD", 300)


def test_arguments_name_a_symbol_and_a_file() -> None:
    parsed = parse_csv_arguments(["EURUSD=a=b.csv", "XAUUSD=/data/x.csv"])
    assert parsed == {"EURUSD": Path("a=b.csv"), "XAUUSD": Path("/data/x.csv")}


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("EURUSD", "is not of the form SYMBOL=FILE"),
        ("=x.csv", "is not of the form SYMBOL=FILE"),
        ("EURUSD=", "is not of the form SYMBOL=FILE"),
        ("EURUSDX=x.csv", "'EURUSDX' is not a known symbol"),
    ],
)
def test_other_arguments_are_refused(argument: str, complaint: str) -> None:
    with pytest.raises(FeedError) as caught:
        parse_csv_arguments([argument])
    assert complaint in str(caught.value)


def test_two_files_for_one_symbol_are_refused() -> None:
    with pytest.raises(FeedError, match=r"two files were given for EURUSD: a\.csv and b\.csv; give one"):
        parse_csv_arguments(["EURUSD=a.csv", "EURUSD=b.csv"])
