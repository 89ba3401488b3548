"""Projections of the facts: they can be dropped and rebuilt; nothing is decided by hand here."""

from django.db import models

from .fields import Numeric


class Position(models.Model):
    """What an account holds of an instrument: signed units, average open price in the quote currency."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="positions")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    quantity = Numeric(default=0)
    external_quantity = Numeric(default=0, help_text="Part of it that no strategy of ours holds")
    average_price = Numeric(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["account", "instrument"]
        constraints = [models.UniqueConstraint(fields=["account", "instrument"], name="one_position_per_instrument")]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.instrument}"


class Trade(models.Model):
    """A round trip of one decision on one account, from its own fills. P&L in account currency, R as DOMAIN defines."""

    class State(models.TextChoices):
        OPEN = "OPEN"
        CLOSED = "CLOSED"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="trades")
    decision = models.ForeignKey("trading.Decision", on_delete=models.PROTECT, related_name="trades")
    strategy = models.CharField(max_length=80)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4)
    state = models.CharField(max_length=6, choices=State, default=State.OPEN)
    quantity = Numeric(help_text="Units entered")
    open_quantity = Numeric()
    entry_price = Numeric()
    exit_price = Numeric(null=True)
    initial_stop = Numeric()
    target = Numeric(null=True)
    risk_amount = Numeric(help_text="|entry after costs − initial stop| × size, in account currency")
    pnl = Numeric(default=0)
    fees = Numeric(default=0)
    r = Numeric(default=0)
    mfe_r = Numeric(null=True, help_text="Most favourable excursion while it was open, in R; empty without marks")
    mae_r = Numeric(null=True, help_text="Most adverse excursion while it was open, in R (zero or below)")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    trading_day = models.DateField(null=True, help_text="Account's trading day of the close")
    close_reason = models.CharField(max_length=20, blank=True, default="")

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(fields=["account", "decision"], name="one_trade_per_decision_and_account")
        ]
        indexes = [models.Index(fields=["account", "trading_day"], name="trades_of_a_day")]

    def __str__(self) -> str:
        return f"{self.strategy} {self.side} {self.instrument} {self.state}"


class EquityPoint(models.Model):
    """Balance and equity of an account at a moment, in account currency."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="equity_points")
    at = models.DateTimeField()
    balance = Numeric()
    equity = Numeric()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "at"], name="one_equity_point_per_moment")]

    def __str__(self) -> str:
        return f"{self.account} {self.at:%Y-%m-%d %H:%M} {self.equity}"


class DayState(models.Model):
    """What a trading day of an account has come to: realised P&L, R, closed trades."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="days")
    trading_day = models.DateField()
    trades = models.PositiveIntegerField(default=0)
    pnl = Numeric(default=0)
    r = Numeric(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "trading_day"], name="one_state_per_trading_day")]

    def __str__(self) -> str:
        return f"{self.account} {self.trading_day}"
