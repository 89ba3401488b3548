"""The hash chain over every append-only table, and the witnesses of its head.

What always holds: one block for each statement that inserts rows, written by a trigger in the statement's own
transaction, so that no row is ever unsealed; a block covers the rows `first_id` to `last_id` of its table and the hash
of the block before it; blocks are numbered without gaps. The application login can only read. What a block's hash is
made of is said in `migrations/sql/chain.sql`, once.
"""

from django.db import models

from .fields import Fact


class ChainHead(models.Model):
    """One row: whoever inserts into an append-only table holds it until commit, so ids appear in commit order."""

    number = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=bytes)

    def __str__(self) -> str:
        return f"head {self.number}"


class ChainBlock(models.Model):
    """The seal of the rows that one statement inserted into one table. Hashes are SHA-256, 32 bytes."""

    append_only = True
    is_chained = False  # it is the chain

    number = models.BigIntegerField(primary_key=True)
    table_name = models.CharField(max_length=63)
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    row_count = models.IntegerField()
    root = models.BinaryField(help_text="Hash of the rows' hashes, in the order of their numbers")
    marks = models.BinaryField(help_text="The first four bytes of each row's hash: they name the row that was changed")
    previous = models.BinaryField(unique=True)
    hash = models.BinaryField()
    sealed_at = models.DateTimeField()
    transaction = models.BigIntegerField(help_text="Number of the database transaction")
    login = models.CharField(max_length=63)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["table_name", "last_id"], name="blocks_of_a_table_do_not_meet"),
        ]

    def __str__(self) -> str:
        return f"block {self.number}: {self.table_name} {self.first_id}-{self.last_id}"


class Anchor(Fact):
    """That the chain's head was written down outside the database, where, and under which keyed seal."""

    number = models.BigIntegerField()
    hash = models.BinaryField()
    sink = models.CharField(max_length=200)
    seal = models.CharField(max_length=64, help_text="HMAC-SHA-256 of the anchor; its key is not in the database")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"anchor of block {self.number}"
