"""Market facts that entered a number: live bars, marks and rates, each with its source."""

from django.db import models

from .fields import Fact, Numeric


class Bar(Fact):
    """A closed live bar (`at` = its end). A replay names its data by SHA-256 instead of storing it."""

    source = models.CharField(max_length=80)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    interval_seconds = models.PositiveIntegerField()
    start = models.DateTimeField()
    open = Numeric()
    high = Numeric()
    low = Numeric()
    close = Numeric()
    volume = Numeric(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "instrument", "interval_seconds", "start"], name="one_bar_per_slot"
            )
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.start:%Y-%m-%d %H:%M}"


class Mark(Fact):
    """A price that entered a number of ours (equity, an excursion, an estimate)."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="+")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    price = Numeric()
    source = models.CharField(max_length=80)
    purpose = models.CharField(max_length=40)

    class Meta:
        indexes = [models.Index(fields=["account", "instrument", "at"], name="marks_of_an_instrument")]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.price} ({self.purpose})"


class Rate(Fact):
    """A conversion rate that entered a number: one `base` is worth `value` `quote`."""

    base = models.CharField(max_length=3)
    quote = models.CharField(max_length=3)
    value = Numeric()
    source = models.CharField(max_length=80)

    def __str__(self) -> str:
        return f"{self.base}{self.quote} {self.value}"
