"""Statements of brokers, as they were imported, line by line: facts.

What always holds: a statement comes last, with the very text of its file, and makes its lines count; lines of a batch
that no statement names are those of an import that was broken off, and count for nothing; the same file is stored once
for the same time of an account; a corrected statement names the one that it replaces, which stays; lines never change.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from trading.models.fields import Fact, Numeric, sha256_field


class Statement(Fact):
    """One file of a broker about one account. `at` is when it was imported, on the account's clock.

    What happened from `covers_from` to `covers_until`, both inclusive, is in it or did not happen at the broker;
    `first_day` and `last_day` are the account's trading days of these moments. Balances are None where it says none.
    """

    class Kind(models.TextChoices):
        TRADES = "TRADES"
        POSITIONS = "POSITIONS"
        CASH = "CASH"
        NAV = "NAV"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="statements")
    kind = models.CharField(max_length=10, choices=Kind)
    format = models.CharField(max_length=20)
    first_day = models.DateField()
    last_day = models.DateField()
    covers_from = models.DateTimeField()
    covers_until = models.DateTimeField()
    currency = models.CharField(max_length=3)
    opening = Numeric(null=True, help_text="Balance before the first line")
    closing = Numeric(null=True, help_text="Balance after the last line")
    line_count = models.PositiveIntegerField()
    file_name = models.CharField(max_length=200)
    body = models.TextField(help_text="The file's text")
    sha256 = sha256_field(help_text="Of the file's bytes")
    replaces = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="replaced_by")
    batch = models.UUIDField(null=True, unique=True, help_text="Names its lines; none of older ones")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "sha256", "covers_from", "covers_until"], name="a_file_is_imported_once_for_its_time"
            ),
            models.CheckConstraint(condition=Q(last_day__gte=models.F("first_day")), name="statement_days_in_order"),
        ]
        indexes = [models.Index(fields=["account", "kind", "first_day"], name="statements_of_days")]

    def __str__(self) -> str:
        return f"{self.kind} statement {self.first_day} to {self.last_day}"

    @property
    def lines(self) -> models.QuerySet[StatementLine]:
        """Its lines, all of them, in no order."""
        lines = StatementLine.objects.order_by()
        return lines.filter(statement=self) if self.batch is None else lines.filter(batch=self.batch)


class StatementLine(Fact):
    """One line of a statement. `number` is its line (of JSON: its place) in the file; `at` when it happened.

    An execution has a side, a quantity above zero and a price; a position a side, a quantity and perhaps a price; a
    movement of cash only an amount, signed as it moves the account's cash. `instrument` is the file's word.
    """

    statement = models.ForeignKey(
        Statement, on_delete=models.PROTECT, null=True, related_name="+", help_text="Of older lines: theirs"
    )
    number = models.PositiveIntegerField()
    external_id = models.CharField(max_length=80, blank=True, default="")
    order_id = models.CharField(max_length=80, blank=True, default="")
    instrument = models.CharField(max_length=40, blank=True, default="")
    side = models.CharField(max_length=4, blank=True, default="")
    product = models.CharField(max_length=20, blank=True, default="")
    quantity = Numeric(null=True)
    price = Numeric(null=True)
    amount = Numeric(null=True)
    currency = models.CharField(max_length=3)
    day = models.DateField()
    raw = models.JSONField()
    batch = models.UUIDField(null=True, help_text="Counts once a statement names it")

    class Meta:
        ordering = ["statement_id", "batch", "number"]
        constraints = [
            models.UniqueConstraint(fields=["statement", "number"], name="statement_lines_are_numbered"),
            models.UniqueConstraint(fields=["batch", "number"], name="lines_of_a_batch_are_numbered"),
            models.CheckConstraint(
                condition=Q(batch=None) ^ Q(statement=None), name="a_line_has_a_batch_or_a_statement"
            ),
        ]

    def __str__(self) -> str:
        return f"line {self.number} of {self.statement_id or self.batch}"
