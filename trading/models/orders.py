"""Orders: the row is the outbox. Its events and the raw messages behind them are facts.

What always holds: an order has exactly one intent; its client id is derived from that intent and unique; `state` is
written by `services.orders` alone, together with an OrderEvent that names the evidence.
"""

from django.db import models
from django.db.models import Q

from .fields import Fact, Numeric, sha256_field

ORDER_STATES = [
    "PLANNED",
    "SENDING",
    "WORKING",
    "PARTIAL",
    "CANCELLING",
    "UNKNOWN",
    "FILLED",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
]


class OrderGroup(models.Model):
    """Entry, stop and targets of one decision on one account (OCO). UNSAFE says so loudly."""

    class State(models.TextChoices):
        PLANNED = "PLANNED"
        OPEN = "OPEN"
        CLOSED = "CLOSED"
        UNSAFE = "UNSAFE"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="order_groups")
    decision = models.ForeignKey("trading.Decision", on_delete=models.PROTECT, related_name="order_groups")
    state = models.CharField(max_length=8, choices=State, default=State.PLANNED)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "decision"], name="one_group_per_decision_and_account")
        ]

    def __str__(self) -> str:
        return f"group {self.pk} {self.state}"


class Order(models.Model):
    """One leg of one intent on one account, and where it stands. `rides_on` names the entry that places this leg."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="orders")
    decision = models.ForeignKey("trading.Decision", on_delete=models.PROTECT, null=True, related_name="orders")
    exit_intent = models.ForeignKey("trading.ExitIntent", on_delete=models.PROTECT, null=True, related_name="orders")
    application = models.ForeignKey("trading.Application", on_delete=models.PROTECT, null=True, related_name="orders")
    kill_epoch = models.PositiveBigIntegerField(null=True)
    parent_group = models.ForeignKey(OrderGroup, on_delete=models.PROTECT, null=True, related_name="orders")
    rides_on = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="legs")
    tag = models.CharField(max_length=8)
    sequence = models.PositiveSmallIntegerField(default=1)
    client_order_id = models.CharField(max_length=40, unique=True)
    broker_order_id = models.CharField(max_length=64, blank=True, default="")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4)
    type = models.CharField(max_length=20)
    quantity = Numeric()
    price = Numeric(null=True)
    stop_loss = Numeric(null=True)
    take_profit = Numeric(null=True)
    reduce_only = models.BooleanField(default=False)
    good_till = models.DateTimeField(null=True)
    state = models.CharField(max_length=12, choices=[(s, s) for s in ORDER_STATES], default="PLANNED")
    reason = models.CharField(max_length=300, blank=True, default="")
    filled_quantity = Numeric(default=0)
    average_price = Numeric(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    since_event_id = models.CharField(
        max_length=64, blank=True, default="", help_text="Broker's last event before send"
    )
    lease_until = models.DateTimeField(null=True)
    lease_token = models.PositiveBigIntegerField(default=0)
    quarantine_until = models.DateTimeField(null=True)
    next_check_at = models.DateTimeField(null=True)
    at = models.DateTimeField(help_text="When it was decided, on the account's clock")
    recorded_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=(
                    Q(decision__isnull=False, exit_intent=None, application=None, kill_epoch=None)
                    | Q(decision=None, exit_intent__isnull=False, application=None, kill_epoch=None)
                    | Q(decision=None, exit_intent=None, application__isnull=False, kill_epoch=None)
                    | Q(decision=None, exit_intent=None, application=None, kill_epoch__isnull=False)
                ),
                name="an_order_has_exactly_one_intent",
            ),
            models.CheckConstraint(condition=Q(state__in=ORDER_STATES), name="order_state_is_known"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="order_quantity_is_positive"),
            models.CheckConstraint(condition=Q(side__in=["BUY", "SELL"]), name="order_side_is_known"),
            models.UniqueConstraint(
                fields=["account", "decision", "tag", "sequence"],
                condition=Q(decision__isnull=False),
                name="one_order_per_decision_leg",
            ),
            models.UniqueConstraint(
                fields=["account", "exit_intent", "tag", "sequence"],
                condition=Q(exit_intent__isnull=False),
                name="one_order_per_exit_leg",
            ),
            models.UniqueConstraint(
                fields=["account", "application", "tag", "sequence"],
                condition=Q(application__isnull=False),
                name="one_order_per_application_leg",
            ),
            models.UniqueConstraint(
                fields=["account", "broker_order_id"],
                condition=~Q(broker_order_id=""),
                name="one_order_per_broker_order",
            ),
        ]
        indexes = [
            models.Index(
                fields=["state", "lease_until"],
                condition=Q(state__in=["PLANNED", "SENDING", "UNKNOWN", "CANCELLING"]),
                name="orders_that_need_work",
            ),
            models.Index(fields=["account", "instrument", "state"], name="orders_of_an_instrument"),
        ]

    def __str__(self) -> str:
        return f"{self.tag} {self.side} {self.quantity.normalize():f} {self.instrument} {self.state}"


class OrderAlias(Fact):
    """An id that an order of ours had at its broker before it went on under another; what is said of it is ours."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="aliases")
    broker_order_id = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "order aliases"
        constraints = [
            models.UniqueConstraint(fields=["account", "broker_order_id"], name="one_order_per_alias"),
            models.CheckConstraint(condition=~Q(broker_order_id=""), name="alias_names_an_order"),
        ]

    def __str__(self) -> str:
        return self.broker_order_id


class BrokerMessage(Fact):
    """A write to a broker and its answer, or a look-up that decided something; secrets are redacted."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, related_name="messages")
    purpose = models.CharField(max_length=20)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    request_body = models.TextField(blank=True, default="")
    status = models.PositiveSmallIntegerField(null=True)
    response_body = models.TextField(blank=True, default="")
    error = models.CharField(max_length=300, blank=True, default="")
    finished_at = models.DateTimeField()
    sha256 = sha256_field()

    def __str__(self) -> str:
        return f"{self.method} {self.path} → {self.status or self.error}"


class OrderEvent(Fact):
    """One transition of an order, gapless from 1, with the evidence for it."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    from_state = models.CharField(max_length=12, blank=True, default="")
    to_state = models.CharField(max_length=12)
    attempt = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=300, blank=True, default="")
    message = models.ForeignKey(BrokerMessage, on_delete=models.PROTECT, null=True, related_name="+")
    broker_event = models.ForeignKey("trading.BrokerEvent", on_delete=models.PROTECT, null=True, related_name="+")
    application = models.ForeignKey(
        "trading.Application",
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Two people's decision, where the broker itself could not say what became of the order",
    )

    class Meta:
        ordering = ["order", "sequence"]
        constraints = [models.UniqueConstraint(fields=["order", "sequence"], name="order_events_are_numbered")]
        indexes = [
            models.Index(
                fields=["order"],
                condition=Q(from_state__in=["CANCELLED", "REJECTED", "EXPIRED"], to_state__in=["PARTIAL", "FILLED"]),
                name="late_fills",
            )
        ]

    def __str__(self) -> str:
        return f"{self.from_state or '·'} → {self.to_state}"
