"""The page of a case for whoever works on it: owner, labels, comments, relations, doubt; and what a viewer gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from reconciliation.models import Discrepancy, DiscrepancyEvent
from tests.reconciliation.admin.test_queue import copy_of
from tests.trading.admin.world import World
from trading.clock import replay_clock
from trading.models import AuditEvent

SignIn = Callable[[str], Client]


def url(case: Discrepancy, page: str = "change") -> str:
    return reverse(f"admin:reconciliation_discrepancy_{page}", args=[case.pk])


def work(client: Client, case: Discrepancy, verb: str, **more: str) -> str:
    """Press a button; the messages that the next page shows."""
    answer = client.post(url(case, "work"), {"verb": verb, **more})
    assert answer.status_code == 302 and answer["Location"] == url(case)
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def page_of(client: Client, case: Discrepancy) -> str:
    return client.get(url(case)).content.decode()


def test_a_case_is_worked_on_by_its_forms_and_the_timeline_tells_it(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    bob, ada = signed_in("bob"), signed_in("ada")
    other = copy_of(case, 1, instrument=None)
    shown = page_of(bob, case)
    assert "It is nobody&#x27;s." in shown or "It is nobody's." in shown
    assert 'value="take"' in shown and 'value="reopen"' not in shown and "nobody related one" in shown
    assert "It is your case now." in work(bob, case, "take")
    bobs_case = page_of(bob, case)
    assert 'value="take"' not in bobs_case and 'value="release"' in bobs_case and ">bob<" in bobs_case
    assert ">charlie<" not in bobs_case.split('id="to"')[1].split("</select>")[0], "nobody is given what he may not do"
    assert "Say why you give it" in work(bob, case, "give", to=str(world.people["ada"].pk))
    assert "It is ada's case now." in work(
        bob, case, "give", to=str(world.people["ada"].pk), reason="knows the dealing desk"
    )
    assert "Choose who gets the case" in work(bob, case, "give", to="nobody", reason="knows the dealing desk")
    assert "Its labels are now: broker ticket, fees." in work(ada, case, "label", add="Fees, broker  ticket")
    assert "is no label" in work(ada, case, "label", add="<b>")
    hostile = "<script>alert(1)</script>\nsecond line"
    assert "Written down." in work(ada, case, "comment", text=hostile)
    assert "empty" in work(ada, case, "comment", text="  ")
    assert f"Related to case {other.pk}." in work(ada, case, "relate", other=f"#{other.pk}", reason="the same ticket")
    assert "by its number" in work(ada, case, "relate", other="EURUSD", reason="the same ticket")
    assert "has not ended" in work(ada, case, "reopen", reason="not so sure")
    assert "No button" in work(ada, case, "explode")
    shown = page_of(signed_in("charlie"), case)
    assert "<script>alert(1)" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt;<br>second line" in shown
    for told in ("Given to ada", "Labelled: broker ticket, fees", f"Related to case {other.pk}", "the same ticket"):
        assert told in shown, told
    assert "the same ticket" in page_of(ada, other), "a relation is seen from both sides"
    case.refresh_from_db()
    assert (case.state, case.owner) == ("OPEN", world.people["ada"])
    assert AuditEvent.objects.filter(kind="discrepancy.commented", actor=world.people["ada"]).count() == 1


def test_an_ended_case_is_reopened_from_its_page(case: Discrepancy, signed_in: SignIn) -> None:
    ended = copy_of(case, 1, state="CLEARED", closed_at=case.last_seen_at)
    DiscrepancyEvent.objects.create(
        discrepancy=ended, sequence=1, kind="CLEARED", to_state="CLEARED", at=case.last_seen_at
    )
    bob = signed_in("bob")
    assert 'value="reopen"' in page_of(bob, ended)
    assert "Say what makes you doubt" in work(bob, ended, "reopen")
    assert "Reopened as a suspicion" in work(bob, ended, "reopen", reason="the broker says otherwise")
    shown = page_of(bob, ended)
    assert "Reopened by a person" in shown and "seen too recently to act on" in shown


@pytest.mark.parametrize("name", ["charlie", ""])
def test_who_may_only_look_gets_no_forms_and_is_refused(name: str, case: Discrepancy, signed_in: SignIn) -> None:
    client = signed_in(name) if name else Client()
    events = case.events.count()
    answer = client.post(url(case, "work"), {"verb": "comment", "text": "hello"})
    assert answer.status_code == (403 if name else 302)
    assert case.events.count() == events
    if name:
        assert 'id="work"' not in page_of(client, case)


def test_forms_are_posts_with_a_token(case: Discrepancy, world: World, signed_in: SignIn) -> None:
    assert signed_in("bob").get(url(case, "work"), {"verb": "take"}).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.people["bob"])
    assert strict.post(url(case, "work"), {"verb": "take"}).status_code == 403
    page = page_of(signed_in("bob"), case)
    assert page.count("csrfmiddlewaretoken") >= page.count('method="post"') > 4


@pytest.mark.parametrize(
    ("severity", "age", "said"),
    [
        ("CRITICAL", timedelta(minutes=5), "in 10 m"),
        ("CRITICAL", timedelta(minutes=75), "overdue 1 h 0 m"),
        ("HIGH", timedelta(hours=1), "in 3 h 0 m"),
        ("MEDIUM", timedelta(days=2), "overdue 1 d 0 h"),
        ("LOW", timedelta(days=4), "in 1 d 0 h"),
    ],
)
def test_the_page_says_until_when_the_case_is_to_be_decided_by_its_severity(
    severity: str, age: timedelta, said: str, case: Discrepancy, signed_in: SignIn
) -> None:
    Discrepancy.objects.filter(pk=case.pk).update(severity=severity, opened_at=case.last_seen_at - age)
    client = signed_in("charlie")
    with at(case):
        assert said in page_of(client, case)
        Discrepancy.objects.filter(pk=case.pk).update(state="APPLIED")
        assert "Decision due" not in page_of(client, case).split('id="timeline"')[0]


@contextmanager
def at(case: Discrepancy) -> Iterator[None]:
    """The account's clock stands at the moment at which the case was last seen."""
    with replay_clock(case.account_id) as clock:
        clock[case.account_id] = case.last_seen_at
        yield
