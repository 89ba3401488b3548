"""How far each history of an account was read. Durable; moved in the same transaction as what was read."""

from trading.models import Account, Cursor


def get(account: Account, name: str) -> str:
    """The stored value, "" before the first read."""
    return Cursor.objects.filter(account=account, name=name).values_list("value", flat=True).first() or ""


def put(*, account: Account, name: str, value: str) -> None:
    """Remember the value."""
    Cursor.objects.update_or_create(account=account, name=name, defaults={"value": value})
