"""Random books for tests of reading: entries of some accounts and currencies, back-dated as they come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st

from tests.trading.services import making
from trading.models import Account, BrokerEvent, CashEvent, Entry, LedgerAccount, Transfer
from trading.services.ledger import Draft, currency, post_many

# Three legs each: what moves, what it costs, what is withheld of it.
KINDS = {"TRANSFER": "CAPITAL", "FINANCING": "FINANCING", "DIVIDEND": "DIVIDEND", "FEE": "FEE"}


@dataclass(frozen=True)
class Move:
    """One entry: which account (0 or 1), what kind, how much of what, how many seconds after the begin."""

    account: int
    kind: str
    currency: str
    amount: Decimal
    withheld: Decimal
    second: int


amounts = st.decimals("-100000", "100000", places=12).filter(bool)
moves = st.builds(
    Move,
    account=st.integers(0, 1),
    kind=st.sampled_from(sorted(KINDS)),
    currency=st.sampled_from(["USD", "JPY"]),
    amount=amounts,
    withheld=st.one_of(st.just(Decimal(0)), amounts),
    second=st.integers(0, 5),
)


def book(history: list[Move], names: tuple[str, str] = ("first", "second")) -> list[Account]:
    """Post the moves in their order, whatever their times; the accounts."""
    accounts = [making.make_account(name) for name in names]
    for code in ("USD", "JPY"):
        currency(code)
    told = BrokerEvent.objects.bulk_create(
        BrokerEvent(
            at=making.START + timedelta(seconds=move.second),
            account=accounts[move.account],
            external_id=str(number),
            sequence=number,
            kind=move.kind,
            body={},
            body_sha256="0" * 64,
        )
        for number, move in enumerate(history)
    )
    cash = CashEvent.objects.bulk_create(
        CashEvent(
            at=event.at,
            account=event.account,
            external_id=event.external_id,
            broker_event=event,
            kind=move.kind,
            currency=move.currency,
            amount=move.amount,
        )
        for event, move in zip(told, history, strict=True)
    )
    drafts = []
    for event, move in zip(cash, history, strict=True):
        draft = Draft(event.account, f"cash:{event.pk}", move.kind, event.at, cash_event=event)
        draft.move(commodity=move.currency, amount=move.amount, into="CASH", out_of=KINDS[move.kind])
        draft.move(commodity=move.currency, amount=move.withheld, into="TAX", out_of="CASH")
        drafts.append(draft)
    for start in range(0, len(drafts), 3):  # in several statements, as in life
        post_many(drafts[start : start + 3])
    return accounts


def plain_sums(account: Account | None, as_of: object, known_at: object) -> dict[int, tuple[Decimal, Decimal]]:
    """Debits and credits of every ledger account with a posting, added up in Python."""
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for transfer in Transfer.objects.select_related("entry"):
        entry: Entry = transfer.entry
        late = as_of is not None and entry.at > as_of  # type: ignore[operator]
        unknown = known_at is not None and entry.recorded_at > known_at  # type: ignore[operator]
        if late or unknown or (account is not None and entry.account_id != account.pk):
            continue
        debits, credits = found.get(transfer.debit_id, (Decimal(0), Decimal(0)))
        found[transfer.debit_id] = (debits + transfer.amount, credits)
        debits, credits = found.get(transfer.credit_id, (Decimal(0), Decimal(0)))
        found[transfer.credit_id] = (debits, credits + transfer.amount)
    return found


def ledger_accounts(account: Account) -> list[LedgerAccount]:
    """All of an account."""
    return list(LedgerAccount.objects.filter(account=account).order_by("id"))
