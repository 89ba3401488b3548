"""The books: double entry by shape (one transfer row = one debit and one credit of the same commodity).

What always holds: rows are written only by the database function `ledger_post` (the application login has no INSERT
here); a key posts once, the same key with another payload is an error; amounts are positive; a transfer cannot mix
commodities (composite foreign keys); corrections are reversals, at most one for an entry; lots cannot be over-closed;
what a cash instrument's fill owes or is owed stands in UNSETTLED until it is settled, once, on its value date.
"""

from django.db import models
from django.db.models import F, Q

from .fields import Fact, Numeric, sha256_field


class Commodity(models.Model):
    """A currency or the contracts of an instrument; `scale` is how many decimals its amounts may have."""

    class Kind(models.TextChoices):
        CURRENCY = "CURRENCY"
        CONTRACT = "CONTRACT"

    code = models.CharField(max_length=40, primary_key=True)
    kind = models.CharField(max_length=10, choices=Kind)
    scale = models.PositiveSmallIntegerField(default=12)

    class Meta:
        verbose_name_plural = "commodities"

    def __str__(self) -> str:
        return self.code


class LedgerAccount(models.Model):
    """An account of the books, in exactly one commodity. Assets grow on the debit side."""

    class Kind(models.TextChoices):
        CASH = "CASH"
        UNSETTLED = "UNSETTLED", "receivable or payable until the value date"
        CAPITAL = "CAPITAL", "capital (deposits and withdrawals)"
        POSITION = "POSITION", "contracts held"
        MARKET = "MARKET", "contracts' other side, and what held shares cost"
        REALISED = "REALISED", "realised profit and loss"
        COMMISSION = "COMMISSION"
        FINANCING = "FINANCING"
        DIVIDEND = "DIVIDEND"
        FEE = "FEE"
        SUSPENSE = "SUSPENSE", "approved adjustments"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="ledger_accounts")
    kind = models.CharField(max_length=12, choices=Kind)
    commodity = models.ForeignKey(Commodity, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "kind", "commodity"], name="one_ledger_account_per_kind"),
            models.UniqueConstraint(fields=["id", "commodity"], name="ledger_account_has_one_commodity"),
        ]

    def __str__(self) -> str:
        return f"{self.account}:{self.kind}:{self.commodity_id}"


class Entry(Fact):
    """One business event in the books, with all its transfers."""

    class Kind(models.TextChoices):
        FILL = "FILL"
        SETTLEMENT = "SETTLEMENT", "payment of a fill on its value date"
        TRANSFER = "TRANSFER", "deposit or withdrawal"
        FINANCING = "FINANCING"
        DIVIDEND = "DIVIDEND"
        FEE = "FEE"
        EXTERNAL_FILL = "EXTERNAL_FILL", "approved fill of somebody else's order"
        ADOPTION = "ADOPTION", "approved position of the broker's"
        ESTIMATE = "ESTIMATE", "approved close at an estimate"
        SPLIT = "SPLIT", "approved split of an instrument"
        ADJUSTMENT = "ADJUSTMENT"
        REVERSAL = "REVERSAL"

    NEEDS_APPROVAL = (Kind.EXTERNAL_FILL, Kind.ADOPTION, Kind.ESTIMATE, Kind.SPLIT, Kind.ADJUSTMENT, Kind.REVERSAL)

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="entries")
    idempotency_key = models.CharField(max_length=120, unique=True)
    payload_sha256 = sha256_field()
    kind = models.CharField(max_length=16, choices=Kind)
    value_date = models.DateField()
    trading_day = models.DateField()
    fill = models.ForeignKey("trading.Fill", on_delete=models.PROTECT, null=True, related_name="entries")
    cash_event = models.ForeignKey("trading.CashEvent", on_delete=models.PROTECT, null=True, related_name="entries")
    application = models.ForeignKey("trading.Application", on_delete=models.PROTECT, null=True, related_name="entries")
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reversed_by")
    memo = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        indexes = [models.Index(fields=["account"], condition=Q(kind="SPLIT"), name="splits_of_an_account")]
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind__in=["EXTERNAL_FILL", "ADOPTION", "ESTIMATE", "SPLIT", "ADJUSTMENT", "REVERSAL"])
                | Q(application__isnull=False),
                name="a_correcting_entry_needs_an_application",
            ),
            models.CheckConstraint(
                condition=Q(kind="REVERSAL", reverses__isnull=False) | (~Q(kind="REVERSAL") & Q(reverses=None)),
                name="only_a_reversal_reverses",
            ),
            models.UniqueConstraint(fields=["fill"], condition=Q(kind="SETTLEMENT"), name="a_fill_settles_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.idempotency_key}"


class Transfer(models.Model):
    """`amount` of `commodity` from the credited to the debited account."""

    append_only = True

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="transfers")
    debit = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="debits")
    credit = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="credits")
    commodity = models.ForeignKey(Commodity, on_delete=models.PROTECT, related_name="+")
    amount = Numeric()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_amount_is_positive"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="transfer_has_two_sides"),
        ]

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} {self.commodity_id}"


class Lot(models.Model):
    """Units opened by one fill. `side` +1 long, −1 short; `unit_cost` in the instrument's quote currency.

    `origin` is the fill that opened these units first, where a split has made the lot out of an earlier one.
    """

    append_only = True

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="lots")
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="lots")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+")
    fill = models.ForeignKey("trading.Fill", on_delete=models.PROTECT, null=True, related_name="lots")
    origin = models.ForeignKey("trading.Fill", on_delete=models.PROTECT, null=True, related_name="+")
    side = models.SmallIntegerField()
    quantity = Numeric()
    unit_cost = Numeric()
    opened_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="lot_quantity_is_positive"),
            models.CheckConstraint(condition=Q(side__in=[-1, 1]), name="lot_side_is_long_or_short"),
        ]

    def __str__(self) -> str:
        return f"lot {self.pk}: {self.side * self.quantity}"


class LotClose(models.Model):
    """Units of a lot closed by one fill. `profit_quote` is our own number in the quote currency.

    For a margin instrument it is a check only; for a cash instrument, whose broker gives none, the books realise it.
    """

    append_only = True

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="lot_closes")
    lot = models.ForeignKey(Lot, on_delete=models.PROTECT, related_name="closes")
    fill = models.ForeignKey("trading.Fill", on_delete=models.PROTECT, null=True, related_name="lot_closes")
    quantity = Numeric()
    unit_price = Numeric()
    profit_quote = Numeric()
    closed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="lot_close_quantity_is_positive"),
            models.UniqueConstraint(fields=["lot", "entry"], name="a_lot_is_closed_once_by_an_entry"),
        ]

    def __str__(self) -> str:
        return f"close of {self.lot_id}: {self.quantity}"


class ChainHead(models.Model):
    """One row: whoever inserts into an append-only table holds it until commit, so ids appear in commit order."""

    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"head {self.number}"
