"""Filters of the lists that Django does not have: the desk's own world first, words instead of codes, yes and no named.

What always holds: the choice that stands without a word of the address is the first one offered; a list that was asked
for one account shows that account, in whichever world it lives.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from trading.clock import day_bounds, now, trading_day
from trading.models import Account

from . import values


class _Default(admin.SimpleListFilter):
    """Some choices, of which the first is taken when nobody chose."""

    offered: tuple[tuple[str, str], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        """The choices."""
        return self.offered

    def value(self) -> str:
        """The chosen one."""
        word = super().value()
        return word if word in dict(self.offered) else self.offered[0][0]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Without Django's "All": these are all there are."""
        for word, name in self.offered:
            address = changelist.get_query_string({self.parameter_name: word})
            yield {"selected": self.value() == word, "query_string": address, "display": name}

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """None: a choice that is always made needs no numbers beside it."""
        return {}


class World(_Default):
    """The desk's own accounts, or those that live in a replay's world."""

    title = "world"
    parameter_name = "world"
    offered = (("desk", "The desk"), ("replays", "Replays"), ("all", "All"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the world; a list of one account needs no world to be chosen."""
        is_of_one = any(name.startswith(("account__id", "account=")) for name in request.GET)
        if self.value() == "all" or (is_of_one and self.parameter_name not in request.GET):
            return queryset
        return queryset.filter(account__scope="") if self.value() == "desk" else queryset.exclude(account__scope="")


class Holding(_Default):
    """Positions that are held, or every one there ever was."""

    title = "holding"
    parameter_name = "holding"
    offered = (("open", "Open"), ("all", "All"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the units."""
        return queryset if self.value() == "all" else queryset.exclude(quantity=0)


class TradingDay(_Default):
    """Any day, or the trading day that each account of the desk is in."""

    title = "trading day"
    parameter_name = "day"
    offered = (("any", "Any day"), ("today", "Today"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the begin of each account's own day."""
        if self.value() == "any":
            return queryset
        wanted = Q(pk__in=[])
        for account in Account.objects.filter(is_active=True, scope=""):
            begin, _ = day_bounds(account, trading_day(account, now(account)))
            wanted |= Q(account=account, at__gte=begin)
        return queryset.filter(wanted)


class Words(admin.AllValuesFieldListFilter):
    """The codes that occur, in words."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The same choices, each as a person says it."""
        for choice in super().choices(changelist):
            yield {**choice, "display": values.words(str(choice["display"]))}


class ShortChoices(admin.ChoicesFieldListFilter):
    """A field's choices under their short names: the long ones are sentences."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """All, and each code in words."""
        none = changelist.get_query_string(remove=[self.lookup_kwarg, self.lookup_kwarg_isnull])
        yield {"selected": self.lookup_val is None, "query_string": none, "display": "All"}
        for code, _ in self.field.flatchoices:
            address = changelist.get_query_string({self.lookup_kwarg: code}, [self.lookup_kwarg_isnull])
            is_chosen = self.lookup_val is not None and str(code) in self.lookup_val
            yield {"selected": is_chosen, "query_string": address, "display": values.words(str(code))}


class Named(admin.EmptyFieldListFilter):
    """Whether a field is empty, in words that say what that means: (of the filter, when empty, when not)."""

    NAMES = ("", "", "")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = self.NAMES[0]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Django's choices, of which the second is "empty" and the third "not empty"; their numbers stay."""
        _, empty, filled = self.NAMES
        for choice, code, name in zip(
            super().choices(changelist), ("", "Empty", "Not empty"), ("", empty, filled), strict=True
        ):
            yield {**choice, "display": str(choice["display"]).replace(code, name, 1) if code else choice["display"]}


class InForce(Named):
    """By the moment at which a restriction was lifted."""

    NAMES = ("standing", "In force", "Lifted")


class OfOurs(Named):
    """By the order of a fill."""

    NAMES = ("order", "External", "Of our order")


class GivenUp(Named):
    """By the moment at which work was given up."""

    NAMES = ("standing", "Tried again", "Given up")
