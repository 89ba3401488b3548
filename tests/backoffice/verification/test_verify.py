"""`manage.py verify` on a world made by the real path: everything holds, and there was something to look at."""

from __future__ import annotations

from backoffice.verification import lines, run_all

from .conftest import Clone


def test_every_invariant_holds_on_what_the_real_path_has_made(clone: Clone) -> None:
    report = run_all()
    assert report.ok, "\n".join(lines(report))


def test_no_invariant_holds_for_want_of_anything_to_look_at(clone: Clone) -> None:
    empty = [result.invariant.id for result in run_all().results if result.looked_at == 0]
    assert not empty
