"""`python -m benchmarks.fault_table`: the table of faults and their tests in docs/reliability.md, from the markers.

What always holds: only the section between its own two marks is written; what else the document holds stays as it is.
"""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"


def section() -> str:
    """The section, its two marks included."""
    from tests.faults.catalogue import BEHAVIOUR, BOOKS, BROKERS, CONTENT, NOT_APPLICABLE, OPEN, WIRE
    from tests.faults.marks import shown

    tests: dict[tuple[str, str], list[str]] = {}
    for one in shown():
        tests.setdefault((one.row, one.broker), []).append(one.test)
    lines = [
        BEGIN,
        "## Faults at the brokers",
        "",
        "Each fault is ordered at the simulator, which keeps a journal of its own; each test compares our books with",
        "that journal: one order for one decision, each fill once. A number is how many tests show the fault at that",
        "broker. The tests carry the marker `fault`; `python -m benchmarks.fault_table` writes this table from them.",
    ]
    parts = {
        "When an order is sent": WIRE,
        "In what is answered": CONTENT,
        "Over time": BEHAVIOUR,
        "In the books": BOOKS,
    }
    for title, rows in parts.items():
        lines += ["", f"### {title}", "", f"| id | fault | {' | '.join(BROKERS)} | a test of it |"]
        lines += [f"|---|---|{'---|' * len(BROKERS)}---|"]
        for row, meaning in rows.items():
            cells = []
            for broker in BROKERS:
                absent = (row, broker) in NOT_APPLICABLE
                cells.append("–" if absent else str(len(tests.get((row, broker), []))))
            first = next((tests[row, broker][-1] for broker in BROKERS if tests.get((row, broker))), "")
            test = f"`{first.removeprefix('tests/')}`" if first else "not shown yet"
            lines.append(f"| {row} | {meaning} | {' | '.join(cells)} | {test} |")
    lines += ["", "### What cannot happen where", ""]
    reasons = {where: reason for where, reason in NOT_APPLICABLE.items() if where[1] in BROKERS}
    lines += [f"- {row} at {broker}: {reason}." for (row, broker), reason in reasons.items()]
    if OPEN:
        lines += ["", "### What is not shown yet", ""]
        lines += [f"- {row}: {reason}." for row, reason in OPEN.items()]
    return "\n".join([*lines, END])


def main() -> None:
    """Write the section in its place, or at the end of the document."""
    standing = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "# Reliability\n"
    if BEGIN in standing:
        head, tail = standing[: standing.index(BEGIN)], standing[standing.index(END) + len(END) :]
    else:
        head, tail = standing.rstrip("\n") + "\n\n", "\n"
    DOCUMENT.write_text(head + section() + tail, encoding="utf-8")
    print(f"{DOCUMENT.relative_to(DOCUMENT.parents[1])}: written")


if __name__ == "__main__":
    main()
