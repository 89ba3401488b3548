"""Intent: what a strategy saw, what the gates said, and what we mean to leave again.

What always holds: every signal has exactly one decision; rejected ones are kept with the reason and the numbers of
every gate; the same bar gives the same signal once.
"""

from django.db import models

from .fields import Fact, Numeric


class Signal(Fact):
    """A strategy's wish at a bar's close (`at` = the bar's end). Prices are before costs."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="signals")
    config_version = models.ForeignKey("trading.ConfigVersion", on_delete=models.PROTECT, related_name="+")
    strategy = models.CharField(max_length=80)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    bar_start = models.DateTimeField()
    side = models.CharField(max_length=4)
    order_type = models.CharField(max_length=20)
    entry = Numeric()
    stop = Numeric()
    target = Numeric(null=True)
    features = models.JSONField(default=dict)
    feature_scores = models.JSONField(default=dict)
    score = Numeric(null=True)
    rank = models.PositiveIntegerField(null=True)
    confidence = models.PositiveSmallIntegerField(null=True)
    reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "strategy", "instrument", "bar_start"], name="one_signal_per_strategy_symbol_and_bar"
            )
        ]

    def __str__(self) -> str:
        return f"{self.strategy} {self.side} {self.instrument} {self.at:%Y-%m-%d %H:%M}"


class Decision(Fact):
    """The verdict of the gates on one signal, with each gate's numbers."""

    class Verdict(models.TextChoices):
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"

    signal = models.OneToOneField(Signal, on_delete=models.PROTECT, related_name="decision")
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="decisions")
    config_version = models.ForeignKey("trading.ConfigVersion", on_delete=models.PROTECT, related_name="+")
    client_plan_id = models.CharField(max_length=40, unique=True)
    verdict = models.CharField(max_length=10, choices=Verdict)
    reason = models.CharField(max_length=300, blank=True, default="")
    gates = models.JSONField(default=list)
    risk_pct = Numeric(default=0)
    risk_amount = Numeric(default=0)
    position_size = Numeric(default=0)
    portfolio_heat_before = Numeric(default=0)
    portfolio_heat_after = Numeric(default=0)
    trading_day = models.DateField()

    def __str__(self) -> str:
        return f"{self.verdict} {self.signal}"


class ExitIntent(models.Model):
    """The wish to leave what a decision holds on one account; at most one is alive."""

    class State(models.TextChoices):
        PLANNED = "PLANNED"
        SUBMITTED = "SUBMITTED"
        PARTIAL = "PARTIAL"
        FILLED = "FILLED"
        MISSED = "MISSED"
        CANCELLED = "CANCELLED"
        SUPERSEDED = "SUPERSEDED"

    LIVE = (State.PLANNED, State.SUBMITTED, State.PARTIAL)

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="exit_intents")
    decision = models.ForeignKey(Decision, on_delete=models.PROTECT, related_name="exit_intents")
    exit_type = models.CharField(max_length=20)
    exit_reason = models.CharField(max_length=120)
    urgency = models.CharField(max_length=12, default="immediate")
    state = models.CharField(max_length=12, choices=State, default=State.PLANNED)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "decision"],
                condition=models.Q(state__in=["PLANNED", "SUBMITTED", "PARTIAL"]),
                name="one_live_exit_per_decision_and_account",
            )
        ]

    def __str__(self) -> str:
        return f"{self.exit_type} {self.decision_id} {self.state}"
