"""What is traded, and what each broker calls it and since when."""

from django.db import models

from .fields import Numeric


class Instrument(models.Model):
    """A tradable instrument in our own name (EURUSD). `pip_size` and `tick_size` in price units; quantities in units.

    Every order's price is a multiple of the tick. `max_units` is the most that we order at once, `freeze_quantity` the
    most that the exchange takes in one order, where it says so.
    """

    symbol = models.CharField(max_length=32, unique=True)
    base = models.CharField(max_length=16)
    quote = models.CharField(max_length=3)
    pip_size = Numeric()
    price_decimals = models.PositiveSmallIntegerField()
    tick_size = Numeric()
    lot_size = Numeric()
    min_units = Numeric()
    max_units = Numeric()
    freeze_quantity = Numeric(null=True)
    multiplier = Numeric(default=1)
    is_margin = models.BooleanField(default=True)

    class Meta:
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(condition=models.Q(tick_size__gt=0), name="tick_is_above_zero"),
            models.CheckConstraint(condition=models.Q(freeze_quantity__gt=0), name="freeze_is_above_zero"),
        ]

    def __str__(self) -> str:
        return self.symbol


class InstrumentAlias(models.Model):
    """A broker's name for an instrument from `valid_from` until `valid_until` (None = still)."""

    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="aliases")
    broker = models.CharField(max_length=12)
    symbol = models.CharField(max_length=64)
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["broker", "symbol"], condition=models.Q(valid_until=None), name="one_live_alias_per_symbol"
            )
        ]

    def __str__(self) -> str:
        return f"{self.broker}:{self.symbol}"
