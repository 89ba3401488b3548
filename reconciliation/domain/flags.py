"""What the broker does not let the account do.

What always holds here: only what the broker says in so many words counts, one case for each of its words, whatever
else it leaves unsaid; that it says nothing means that nothing of that kind stands, once its account could be read.
"""

from __future__ import annotations

from reconciliation.domain.actions import actions_for
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.severity import severity_of
from trading.domain.broker import BrokerSnapshot, Completeness


def are_known(broker: BrokerSnapshot) -> bool:
    """Whether the broker said what it has blocked. It tells that beside the account's cash, which may not count then.

    Of an answer without cash that names nothing nobody knows whether the question was answered at all.
    """
    return bool(broker.flags) or broker.cash_part.completeness is not Completeness.FAILED


def compare_flags(broker: BrokerSnapshot) -> list[Finding]:
    """One finding for each thing that the broker has blocked."""
    actions, suggestion = actions_for(Kind.ACCOUNT_BLOCKED)
    return [
        Finding(
            kind=Kind.ACCOUNT_BLOCKED,
            key=f"flag:{flag}",
            severity=severity_of(Kind.ACCOUNT_BLOCKED),
            cause=(
                f"The broker says {flag} of the account: orders may be refused, exits among them. Ask the broker why; "
                "this case ends when it says so no more."
            ),
            relies_on=Confidence.FLAGS,
            evidence={"flag": flag},
            actions=actions,
            suggestion=suggestion,
            matter=flag,
        )
        for flag in broker.flags
    ]
