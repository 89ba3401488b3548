"""What the broker does not let the account do.

What always holds here: only what the broker says in so many words counts, one case for each of its words; that it says
nothing means nothing of that kind stands.
"""

from __future__ import annotations

from reconciliation.domain.actions import actions_for
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.severity import severity_of
from trading.domain.broker import BrokerSnapshot, Completeness


def compare_flags(broker: BrokerSnapshot) -> list[Finding]:
    """One finding for each thing that the broker has blocked. Brokers tell it beside the account's cash."""
    if broker.cash_part.completeness is Completeness.FAILED:
        return []
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
            relies_on=Confidence.CASH,
            evidence={"flag": flag},
            actions=actions,
            suggestion=suggestion,
            matter=flag,
        )
        for flag in broker.flags
    ]
