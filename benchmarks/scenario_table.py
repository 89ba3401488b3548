"""`python -m benchmarks.scenario_table`: docs/scenarios.md, the scenarios and the tests that show them.

What always holds: the whole document is made of the catalogue and of the markers; nothing in it is written by hand.
"""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "scenarios.md"


def document() -> str:
    """The whole document."""
    from tests.scenarios import GROUPS, IN_PART, OPEN, shown

    tests: dict[str, list[str]] = {}
    for one in shown():
        tests.setdefault(one.scenario, []).append(one.test)
    lines = [
        "# Scenarios",
        "",
        "What a back office must come out of right, and the tests that show it. The tests carry the marker `scenario`;",
        "`pytest -m scenario` runs them all, and `python -m benchmarks.scenario_table` writes this page from them.",
        f"{len(tests)} scenarios are shown, {len(IN_PART)} of them in part; {len(OPEN)} are open.",
    ]
    for title, scenarios in GROUPS.items():
        lines += ["", f"## {title}", "", "| id | scenario | shown by |", "|---|---|---|"]
        for scenario, sentence in scenarios.items():
            names = "<br>".join(f"`{name.removeprefix('tests/')}`" for name in tests.get(scenario, []))
            notes = [f"open: {OPEN[scenario]}"] if scenario in OPEN else []
            notes += [f"not shown: {IN_PART[scenario]}"] if scenario in IN_PART else []
            lines.append(f"| {scenario} | {sentence} | {'<br>'.join([names, *notes] if names else notes)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"{DOCUMENT.relative_to(DOCUMENT.parents[1])}: written")


if __name__ == "__main__":
    main()
