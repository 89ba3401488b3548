"""Where people see the chain: in the digest's message, which is a witness, and on the home page."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backoffice.dashboard import desk_facts
from backoffice.digest.content import daily
from backoffice.digest.message import message_of
from backoffice.proof.anchoring import anchor_now
from tests.trading.services import making
from trading.models import ChainHead
from trading.services import audit, heartbeats

from .conftest import Books

ANCHOR = "Anchor of the books"


def test_the_message_of_a_digest_carries_the_head_so_that_a_copy_lies_elsewhere(books: Books) -> None:
    head = ChainHead.objects.get()
    text = message_of(daily(), None).text
    assert f"Books sealed at block {head.number} {bytes(head.hash).hex()}" in text.splitlines()[:4]


def test_the_home_page_says_how_old_the_last_anchor_is_and_when_it_is_late(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeats.beat("slow")

    def seen(after: timedelta = timedelta(0)) -> desk_facts.Beat:
        with monkeypatch.context() as later:
            wall = desk_facts.wall_now() + after
            later.setattr(desk_facts, "wall_now", lambda: wall)
            return {beat.name: beat for beat in desk_facts.beats([])}[ANCHOR]

    line = anchor_now(making.TEST)
    assert line is not None
    assert (seen().tone, seen(timedelta(days=2)).tone) == ("good", "good"), "nothing has moved, so nothing is late"
    assert f"block {line.number} is anchored" in seen().says
    audit.record(kind="process.started", actor=making.TEST, after={"program": "test"})
    tones = [seen(timedelta(seconds=after)).tone for after in (5, 120, 600)]
    assert tones == ["good", "waiting", "bad"]
