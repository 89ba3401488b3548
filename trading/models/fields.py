"""Field types and bases shared by every model.

What always holds: a `Numeric` column is `numeric(38,12)`, never NaN (in PostgreSQL NaN > 0 is true), and a value
with more than twelve decimals is refused instead of being rounded in silence. A `Fact` is a row that is written once:
the database refuses UPDATE, DELETE and TRUNCATE on its table.
"""

from decimal import Decimal
from typing import Any

from django.db import models
from django.utils import timezone

QUANTUM = Decimal("0.000000000001")


class Numeric(models.DecimalField):  # type: ignore[type-arg]
    """Money, price or quantity: exact, finite, twelve decimals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 38)
        kwargs.setdefault("decimal_places", 12)
        super().__init__(*args, **kwargs)

    def db_check(self, connection: Any) -> str:
        """Refuse NaN in the database itself."""
        return f"\"{self.column}\" <> 'NaN'"

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Refuse what the column could only store rounded.

        Raises ValueError on a non-finite value, a float, or more than twelve decimals.
        """
        if isinstance(value, float):
            raise ValueError(f"{self.name}: money is never a float ({value!r})")
        if isinstance(value, Decimal) and (not value.is_finite() or value != value.quantize(QUANTUM)):
            raise ValueError(f"{self.name}: {value} cannot be stored exactly with twelve decimals")
        return super().get_db_prep_save(value, connection)


class Fact(models.Model):
    """A row of an append-only table. `at` is when it happened, `recorded_at` when we learned it (wall time)."""

    append_only = True

    at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


def sha256_field(**kwargs: Any) -> "models.CharField[Any, Any]":
    """A column for a SHA-256 in hexadecimal."""
    return models.CharField(max_length=64, **kwargs)
