"""The books: double entry by shape (one transfer row = one debit and one credit of the same commodity).

What always holds: rows are written only by the database function `ledger_post` (the application login has no INSERT
here); a key posts once, the same key with another payload is an error; amounts are positive; a transfer cannot mix
commodities (composite foreign keys); corrections are reversals, at most one for an entry, and what is booked instead
names the entry that it replaces; lots cannot be over-closed; what a cash instrument's fill owes or is owed stands in
UNSETTLED until it is settled, once, on its value date; a day that was signed off takes approved entries only.
"""

from django.db import models
from django.db.models import F, Q

from .fields import Fact, Numeric, sha256_field


class Commodity(models.Model):
    """A currency or the contracts of an instrument; `scale` is how many decimals its amounts may have."""

    append_only = True
    is_chained = False  # it has no number; an amount's own row names it

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

    append_only = True

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
        TAX = "TAX", "taxes withheld or paid"
        TRADING = "TRADING", "the other side of currency conversions"
        ROUNDING = "ROUNDING", "what rounding left over"
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
        TAX = "TAX", "tax withheld or paid"
        CONVERSION = "CONVERSION", "one currency paid for another"
        EXTERNAL_FILL = "EXTERNAL_FILL", "approved fill of somebody else's order"
        MARGIN_CLOSEOUT = "MARGIN_CLOSEOUT", "approved fill of the broker's own margin close-out"
        ADOPTION = "ADOPTION", "approved position of the broker's"
        ESTIMATE = "ESTIMATE", "approved close at an estimate"
        SPLIT = "SPLIT", "approved split of an instrument"
        SYMBOL_CHANGE = "SYMBOL_CHANGE", "approved change of an instrument into another"
        ADJUSTMENT = "ADJUSTMENT"
        REVERSAL = "REVERSAL"

    NEEDS_APPROVAL = (
        Kind.EXTERNAL_FILL,
        Kind.MARGIN_CLOSEOUT,
        Kind.ADOPTION,
        Kind.ESTIMATE,
        Kind.SPLIT,
        Kind.SYMBOL_CHANGE,
        Kind.ADJUSTMENT,
        Kind.REVERSAL,
    )

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="entries", db_index=False)
    idempotency_key = models.CharField(max_length=120)
    payload_sha256 = sha256_field()
    kind = models.CharField(max_length=16, choices=Kind)
    value_date = models.DateField()
    trading_day = models.DateField()
    fill = models.ForeignKey(
        "trading.Fill", on_delete=models.PROTECT, null=True, related_name="entries", db_index=False
    )
    cash_event = models.ForeignKey(
        "trading.CashEvent", on_delete=models.PROTECT, null=True, related_name="entries", db_index=False
    )
    application = models.ForeignKey(
        "trading.Application", on_delete=models.PROTECT, null=True, related_name="entries", db_index=False
    )
    reverses = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="reversals", db_index=False)
    replaces = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="replacements", db_index=False
    )
    memo = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        # Partial where most rows have nothing: the books are mostly indexes, and an empty reference needs none.
        indexes = [
            models.Index(fields=["account"], name="entries_of_an_account"),
            models.Index(fields=["account"], condition=Q(kind="SPLIT"), name="splits_of_an_account"),
            models.Index(fields=["fill"], condition=Q(fill__isnull=False), name="entries_of_a_fill"),
            models.Index(fields=["cash_event"], condition=Q(cash_event__isnull=False), name="entries_of_cash"),
            models.Index(
                fields=["application"], condition=Q(application__isnull=False), name="entries_of_an_application"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["idempotency_key"], name="a_key_posts_once"),
            models.CheckConstraint(
                condition=~Q(
                    kind__in=[
                        "EXTERNAL_FILL",
                        "MARGIN_CLOSEOUT",
                        "ADOPTION",
                        "ESTIMATE",
                        "SPLIT",
                        "SYMBOL_CHANGE",
                        "ADJUSTMENT",
                        "REVERSAL",
                    ]
                )
                | Q(application__isnull=False),
                name="a_correcting_entry_needs_an_application",
            ),
            models.CheckConstraint(
                condition=Q(kind="REVERSAL", reverses__isnull=False) | (~Q(kind="REVERSAL") & Q(reverses=None)),
                name="only_a_reversal_reverses",
            ),
            models.UniqueConstraint(fields=["fill"], condition=Q(kind="SETTLEMENT"), name="a_fill_settles_once"),
            models.UniqueConstraint(
                fields=["reverses"], condition=Q(reverses__isnull=False), name="an_entry_is_reversed_once"
            ),
            models.UniqueConstraint(
                fields=["replaces"], condition=Q(replaces__isnull=False), name="an_entry_is_replaced_once"
            ),
            models.CheckConstraint(
                condition=Q(replaces=None) | Q(application__isnull=False),
                name="a_replacement_needs_an_application",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.idempotency_key}"


class Transfer(models.Model):
    """`amount` of `commodity` from the credited to the debited account."""

    append_only = True

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="transfers")
    # The composite keys (debit, commodity) and (credit, commodity) are in the migrations' SQL; they imply these.
    debit = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="debits", db_index=False, db_constraint=False
    )
    credit = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="credits", db_index=False, db_constraint=False
    )
    commodity = models.ForeignKey(
        Commodity, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
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

    `origin` is the fill that opened these units first, where the lot was made out of an earlier one: by a split, a fill
    told late or taken back, or an addition at average cost. Open lots are in the order in which a close takes them.
    """

    append_only = True

    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, related_name="lots")
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="lots", db_index=False)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, related_name="+", db_index=False)
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
        indexes = [models.Index(fields=["account", "instrument"], name="lots_of_an_instrument")]

    def __str__(self) -> str:
        return f"lot {self.pk}: {self.side * self.quantity}"


class LotClose(models.Model):
    """Units of a lot closed by one fill. `profit_quote` is our own number in the quote currency.

    For a margin instrument it is a check only; for a cash instrument, whose broker gives none, the books realise it.
    A lot that is closed at its own cost, without profit, goes on in lots that the same entry opens.
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


class BalanceSnapshot(models.Model):
    """A ledger account's balance after all transfers up to one: a cache that may be thrown away at any time.

    A balance is the newest snapshot plus the transfers after it. Proofs never read it.
    """

    ledger_account = models.ForeignKey(LedgerAccount, on_delete=models.CASCADE, related_name="snapshots")
    last_transfer = models.BigIntegerField(help_text="Number of the last transfer that is in it")
    balance = Numeric(help_text="debits − credits")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ledger_account", "last_transfer"], name="one_snapshot_per_cut"),
        ]

    def __str__(self) -> str:
        return f"{self.ledger_account} up to {self.last_transfer}"


class ClosedDay(Fact):
    """A trading day of an account that two people signed off: from here on it takes approved entries only."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="closed_days")
    trading_day = models.DateField()
    application = models.OneToOneField("trading.Application", on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-trading_day"]
        constraints = [models.UniqueConstraint(fields=["account", "trading_day"], name="a_day_closes_once")]

    def __str__(self) -> str:
        return f"{self.account} {self.trading_day}"
