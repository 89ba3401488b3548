"""Settings files: YAML text to validated frozen dataclasses, every complaint with the path of its key.

What always holds here: numbers keep the digits of the file (a fraction becomes `Decimal`, never a float); `07:00` and
`10:00` are both text (YAML 1.1 would read the second as 600); a key that nobody reads, a key twice, an alias and a
value of the wrong type are refused, all of them named in one message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import BeforeValidator, ConfigDict, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError

from trading.domain.money import BadNumber, parse_decimal

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid")
_DECIMAL = re.compile(r"Decimal\('([^']*)'\)")
_UNKNOWN_KEY = {"unexpected_keyword_argument", "extra_forbidden"}


class BadSettings(ValueError):
    """A settings file that cannot be used. The message names each wrong key by its path."""


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"must be a number, not {value!r}")
    return Decimal(value)


def _clock(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{2}:[0-9]{2}", value):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError(f'must be a time of day like "07:05", not {value!r}')


def _end_clock(value: object) -> time:
    """A day ends at the midnight that begins the next: 24:00 is 00:00."""
    return _clock("00:00" if value == "24:00" else value)


def _day(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError(f"must be a day like 2014-12-25, not {value!r}")


def _zone(value: object) -> str:
    if isinstance(value, str):
        try:
            return ZoneInfo(value).key
        except (KeyError, ValueError, OSError):
            pass
    raise ValueError(f"must be a time zone like Europe/London, not {value!r}")


Number = Annotated[Decimal, BeforeValidator(_number)]
Clock = Annotated[time, BeforeValidator(_clock)]
EndClock = Annotated[time, BeforeValidator(_end_clock)]
Day = Annotated[date, BeforeValidator(_day)]
Zone = Annotated[str, BeforeValidator(_zone)]
Flag = StrictBool
Whole = StrictInt
Text = StrictStr


def read_settings(text: str) -> dict[str, Any]:
    """The mapping that YAML `text` writes. Raises `BadSettings` with the line of what cannot be read."""
    loader = _Loader(text)
    try:
        data = loader.get_single_data()
    except yaml.YAMLError as error:
        raise BadSettings(f"the settings cannot be read: {_one_line(error)}") from error
    except RecursionError as error:
        raise BadSettings("the settings cannot be read: they are nested too deeply") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise BadSettings("the settings must be keys with values at the top level")
    return data


def validate(kind: type[T], data: object, path: str) -> T:
    """`data` as a `kind` (a pydantic dataclass). Raises `BadSettings` with all that is wrong, keys under `path`."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        raise BadSettings("; ".join(_complaints(error, path))) from error


def unknown_key(path: str, known: Iterable[str]) -> BadSettings:
    """The refusal of a key that nobody reads."""
    return BadSettings(f"{path}: unknown key (known here: {', '.join(sorted(known))})")


def join_path(path: str, *parts: str | int) -> str:
    """`portfolio` + `symbols` + 0 → `portfolio.symbols[0]`."""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _complaints(error: ValidationError, path: str) -> list[str]:
    found = []
    for detail in error.errors(include_url=False):
        where = join_path(path, *(part for part in detail["loc"] if part != "[key]"))
        if detail["type"] in _UNKNOWN_KEY:
            found.append(f"{where}: unknown key")
        elif detail["type"] == "missing":
            found.append(f"{where}: missing")
        elif detail["type"] in {"dataclass_type", "dict_type", "mapping_type"}:
            found.append(f"{where}: must be keys with values, not {detail['input']!r}")
        else:
            message = _DECIMAL.sub(r"\1", detail["msg"].removeprefix("Value error, "))
            message = message.replace("Input should be", "must be")
            found.append(f"{where}: {message[0].lower()}{message[1:]}" + _given(detail["input"], message))
    # A misspelt key is the likely cause of the rest: it comes first.
    return sorted(found, key=lambda text: not text.endswith(": unknown key"))


def _given(value: object, message: str) -> str:
    if "not " in message or isinstance(value, Mapping | list | tuple):
        return ""
    return f" (it says {value})"


def _one_line(error: yaml.YAMLError) -> str:
    # The parser only sees text: who read the file knows its name.
    return " ".join(str(error).replace('"<unicode string>", ', "").split())


class _Loader(yaml.SafeLoader):
    """YAML with exact numbers, without aliases, duplicate keys and the surprises of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not used here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is twice", key_node.start_mark)
            seen[key] = self.construct_object(value_node, deep=deep)
        return seen

    def construct_decimal(self, node: yaml.ScalarNode) -> Decimal:
        try:
            return parse_decimal(node.value)
        except BadNumber as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_decimal(node))


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?<=[0-9.])(?<!^\.)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_decimal)
