"""What happened at the broker: the inbox, and the fills and cash movements that were booked from it.

What always holds: an event is stored once per (account, external id); the same id with another body is a
discrepancy, never an overwrite; a Fill or CashEvent exists exactly when it is in the ledger. An event of an order that
is not ours stays in the inbox, unposted, until people approve it.
"""

from django.db import models
from django.db.models import Q

from .fields import Fact, Numeric, sha256_field


class BrokerEvent(Fact):
    """One row of the broker's history. `facts` is the adapter's reading of `body`, so that it can be posted later."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="broker_events")
    external_id = models.CharField(max_length=80)
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=20)
    body = models.JSONField()
    body_sha256 = sha256_field()
    facts = models.JSONField(default=dict)

    class Meta:
        ordering = ["account", "sequence"]
        constraints = [models.UniqueConstraint(fields=["account", "external_id"], name="one_event_per_external_id")]
        indexes = [
            models.Index(fields=["account", "sequence"], name="events_in_broker_order"),
            models.Index(fields=["account", "at"], condition=Q(kind="CORPORATE_ACTION"), name="corporate_actions"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id}"


class Fill(Fact):
    """A booked execution. Money in the account's currency, signed as it moves cash; external fills have no order.

    `realised` is the broker's own number for a margin instrument. For a cash instrument it is what its booking moved
    into realised profit: what its lots give and, where it was told late, what it changed of later fills, so that the
    sum over fills is right. What each fill realised by the broker's order is in `selectors.realised`.
    """

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="fills")
    external_id = models.CharField(max_length=80)
    order = models.ForeignKey("trading.Order", on_delete=models.PROTECT, null=True, related_name="fills")
    broker_event = models.ForeignKey(BrokerEvent, on_delete=models.PROTECT, null=True, related_name="fills")
    application = models.ForeignKey("trading.Application", on_delete=models.PROTECT, null=True, related_name="fills")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4)
    quantity = Numeric()
    price = Numeric()
    realised = Numeric(default=0)
    financing = Numeric(default=0)
    commission = Numeric(default=0)
    reason = models.CharField(max_length=60, blank=True, default="")
    is_estimate = models.BooleanField(default=False)
    settles_on = models.DateField(
        null=True,
        help_text="Value date of the payment; empty for margin instruments and for units taken without payment",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "external_id"], name="one_fill_per_external_id"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="fill_quantity_is_positive"),
            models.CheckConstraint(condition=Q(side__in=["BUY", "SELL"]), name="fill_side_is_known"),
            models.CheckConstraint(
                condition=Q(order__isnull=False) | Q(application__isnull=False),
                name="a_fill_without_our_order_needs_an_approval",
            ),
            models.CheckConstraint(
                condition=Q(broker_event__isnull=False) | Q(application__isnull=False),
                name="a_fill_without_the_brokers_event_needs_an_approval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.instrument} @ {self.price.normalize():f}"


class CashEvent(Fact):
    """A booked movement of cash that is not an execution; amount signed, in `currency`.

    A conversion has a second side: what came in or went out in `counter_currency`, signed as well.
    """

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="cash_events")
    external_id = models.CharField(max_length=80)
    broker_event = models.ForeignKey(BrokerEvent, on_delete=models.PROTECT, null=True, related_name="cash_events")
    application = models.ForeignKey("trading.Application", on_delete=models.PROTECT, null=True, related_name="+")
    kind = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    amount = Numeric()
    counter_currency = models.CharField(max_length=3, blank=True, default="")
    counter_amount = Numeric(null=True)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "external_id"], name="one_cash_event_per_external_id"),
            models.CheckConstraint(
                condition=Q(broker_event__isnull=False) | Q(application__isnull=False),
                name="cash_without_the_brokers_event_needs_an_approval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount.normalize():f} {self.currency}"
