"""The catalogue of scenarios that the back office must come out of right, and which tests show them.

What always holds: `SCENARIOS` names every scenario once; one that no test shows stands in `OPEN` with what it waits
for, and one of which only a part is shown stands in `IN_PART` with what is left out. Tests say by their marker
`scenario` which of them they show; `shown` reads the markers from the sources.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
MARKER = "pytest.mark.scenario"

PLACING = {
    "S-01": "The broker took an order and its answer was lost: it is found by its client id and was asked for once.",
    "S-02": "An order never arrived: nothing is sent again before the quarantine is over, and then under the same id.",
    "S-04": "The broker says that the client id is taken: that is our own earlier request, and no failure.",
    "S-05": "Several workers are given one order at once: one request leaves the house.",
    "S-06": "A worker dies before or after the request: one order at the broker either way.",
    "S-07": "A new order cannot be read yet: it stays ours through a restart, and no case is left of it.",
    "S-09": "The broker acknowledges an order and refuses it a moment later: refused, with its reason and no legs.",
    "S-10": "Somebody else's order looks just like one whose answer was lost: nothing is bound by size and symbol.",
    "S-12": "The answer is a page or cannot be read: nothing certain was said, and the order is looked up.",
}
FILLS = {
    "S-13": "Stream and poll tell of the same fill: it is booked once.",
    "S-14": "A stream repeats itself, before and after a restart: each fill is booked once.",
    "S-16": "A stream that looks alive keeps a fill back: it is found in the history and booked from there.",
    "S-17": "A fill comes before its order is known: it is kept, and booked once the order is.",
    "S-20": "A position holds a fill that is told later: booked once; a fill from before that we lack is booked too.",
    "S-21": "A fill comes again with another amount: nothing is overwritten, people reverse it and book it anew.",
    "S-23": "More filled than was ordered: booked as it is, a critical case, and the instrument is locked.",
    "S-25": "An order that we hold for ended fills on: the fill is booked and people are told.",
    "S-27": "Parts of a fill in any order and number: the same books.",
    "S-28": "A movement of cash that looks like a fill: cash alone moves, in an entry of its own kind.",
    "S-29": "A fee in a currency of its own: every currency balances; a remainder below one step is no difference.",
}
POSITIONS = {
    "S-32": "A position that only the broker has: a case, no entry there, and nothing is adopted by itself.",
    "S-33": "A position that only we have in a whole answer: its closing fill is looked for; nothing is made up.",
    "S-34": "A position that is missing from a failed or partial answer: nothing is concluded and entries stop.",
    "S-35": "Another quantity, long or short, more or less: the difference has the right sign, missing fills first.",
    "S-37": "The same quantity at another average price: a case of its own that blocks nothing.",
    "S-38": "A restart above an open short whose fill is long past: no case, and no posting.",
    "S-39": "A first start on an account with old positions: opening balances are proposed, the start is not refused.",
    "S-41": "Two strategies in one net position: equal nets are equal, and what is left belongs to no guessed owner.",
    "S-44": "A split over night: recognised by its ratio, no trade and no profit; orders at old prices are flagged.",
    "S-46": "The broker liquidates: found within one run, booked from its history with its reason.",
    "S-47": "Blurred numbers, dust and currencies without places: compared in steps of the instrument, exactly.",
    "S-48": "The broker lags behind a fill of ours for a moment: no case opens, and no alert is left of it.",
    "S-50": "A difference that stays: one case that ages and is counted, no entries, and it is never dropped.",
}
CASH = {
    "S-51": "Money comes or goes and nothing says why: a case, and a posting only by two people.",
    "S-53": "A currency is missing from the balances: nothing is taken for zero.",
    "S-54": "An account with nothing in it: a run like any other.",
}
EXITS = {
    "S-56": "A crash between a target's fill and its stop's cancel: set right before any entry.",
    "S-57": "Stop and target both fill: booked as it happened, a critical case, and nothing is sent by itself.",
    "S-59": "An entry fills in parts: what is held is covered, part by part.",
    "S-60": "A stop is refused after its entry filled: loud, tried so often and no more, then the trade is left.",
    "S-62": "An exit that was planned for a window which passed while we were down: not executed late, and not twice.",
    "S-63": "A clock that names tomorrow's opening while the market is open: windows follow the session.",
    "S-65": "Somebody reduced a position before our exit: no more is sold than is held.",
    "S-67": "Summer time, half days and holidays: windows and days are the market's own.",
}
CONTROL = {
    "S-68": "A kill while an order is on its way: nothing new leaves, and what was on its way is settled.",
    "S-70": "A restart during a kill: it stands, cancels go on, and its end takes two people.",
    "S-71": "A cancel of everything that fails in part: told for each order, asked again, and no success.",
    "S-73": "Whoever proposed approves: refused on every path.",
    "S-75": "The difference changes between proposal and approval: refused, to be proposed anew.",
    "S-76": "A crash between approval and posting: posted exactly once.",
    "S-78": "Raw SQL against ledger and audit: refused, and a change behind the rules is found by the chain.",
    "S-79": "An entry that does not balance, by whatever way: it cannot be committed.",
    "S-80": "Projections that are dropped and folded anew: the same to the last digit.",
    "S-81": "A ledger that grows under a paged export: nothing twice, nothing missing.",
    "S-82": "A run that only reports: nothing is written.",
    "S-84": "A broker that refuses for too many requests within a run: incomplete, without conclusions, read later.",
}
GROUPS = {
    "Placing orders": PLACING,
    "Fills": FILLS,
    "Positions": POSITIONS,
    "Cash": CASH,
    "Restarts, legs and exits": EXITS,
    "Control": CONTROL,
}
SCENARIOS = {**PLACING, **FILLS, **POSITIONS, **CASH, **EXITS, **CONTROL}

_EXITS, _KILL = "exits in two phases are not built yet", "the kill switch is not built yet"
OPEN: dict[str, str] = {
    "S-62": _EXITS,
    "S-63": _EXITS,
    "S-68": _KILL,
    "S-70": _KILL,
    "S-71": _KILL,
}
IN_PART: dict[str, str] = {
    "S-09": "a message to people: the refusal stands in the audit trail and on the page of the order",
    "S-34": "an empty list of positions in a whole answer is believed once two runs agree",
    "S-46": "that the broker's buying power is old meanwhile",
    "S-57": "a proposal that protects: nothing but accepting is offered",
    "S-67": "half days, and the holidays of both exchanges",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One scenario in one test (path and name)."""

    scenario: str
    test: str


def shown(tests: Path = TESTS) -> list[Shown]:
    """All that the markers of the test sources say, in the order of the sources."""
    found: list[Shown] = []
    for path in sorted(tests.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.scenario(" not in source:
            continue
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                name = f"{path.relative_to(tests.parent)}::{function.name}"
                found.extend(Shown(scenario, name) for scenario in _of(function))
    return found


def _of(function: ast.FunctionDef) -> list[str]:
    """The scenarios that one test's markers name."""
    marks = [mark for mark in function.decorator_list if isinstance(mark, ast.Call)]
    return [ast.literal_eval(word) for mark in marks if ast.unparse(mark.func) == MARKER for word in mark.args]
