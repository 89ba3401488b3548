"""The audit trail in the admin: sentences, both sides of a change, the whole of a request."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from tests.trading.admin.world import World
from trading import context
from trading.models import AuditEvent
from trading.services import restrictions
from trading.services.audit import Actor

SignIn = Callable[[str], Client]
LIST = "admin:trading_auditevent_changelist"


def shown(client: Client, **asked: str) -> list[AuditEvent]:
    """The events of the list under these filters."""
    return list(client.get(reverse(LIST), asked).context["cl"].result_list)


def limit_and_lift(world: World) -> tuple[AuditEvent, AuditEvent]:
    """Two events of one request, the second caused by the first."""
    actor = Actor.system("risk")
    with context.entered(via="admin", request_id="click-0001", address="10.0.0.7"):
        row = restrictions.restrict(account=world.account, level="CLOSED", source="x", reason="too much", actor=actor)
        put = AuditEvent.objects.latest("id")
        with context.part(cause=put.pk):
            restrictions.lift(restriction=row, actor=actor, reason="it is over")
    return put, AuditEvent.objects.latest("id")


def test_the_list_tells_sentences_and_is_filtered_by_kind_actor_request_address_and_object(
    signed_in: SignIn, world: World
) -> None:
    put, lifted = limit_and_lift(world)
    client = signed_in("charlie")
    page = client.get(reverse(LIST)).content.decode()
    assert "risk limited trading to CLOSED: too much" in page and 'title="restriction.put"' in page
    assert shown(client, kind="restriction")[:2] == [lifted, put]
    assert shown(client, kind="restriction.put")[0] == put
    assert shown(client, request_id="click-0001") == [lifted, put]
    assert shown(client, address="10.0.0.7") == [lifted, put]
    assert shown(client, actor_name="risk", kind="restriction.lifted") == [lifted]
    assert shown(client, object_type="trading.Restriction", object_id=put.object_id) == [lifted, put]
    assert shown(client, request_id="nobodys") == [] and shown(client, kind="weather") == []


def test_an_event_shows_both_sides_its_cause_what_it_caused_and_the_rest_of_its_request(
    signed_in: SignIn, world: World
) -> None:
    put, lifted = limit_and_lift(world)
    client = signed_in("charlie")
    answer = client.get(reverse("admin:trading_auditevent_change", args=[lifted.pk]))
    changes, effects, others = answer.context["panels"]
    sides = {row[0]: row[1:] for row in changes.rows}
    assert sides["level"] == ("CLOSED", None) and sides["why it was lifted"] == (None, "it is over")
    assert not effects.rows and [row[3] for row in others.rows] and "too much" in str(others.rows[0][3])
    page = answer.content.decode()
    assert f"{reverse(LIST)}?request_id=click-0001" in page
    assert reverse("admin:trading_auditevent_change", args=[put.pk]) in page and "10.0.0.7" in page
    assert reverse("admin:trading_restriction_change", args=[put.object_id]) in page
    first = client.get(reverse("admin:trading_auditevent_change", args=[put.pk]))
    assert len(first.context["panels"][1].rows) == 1, "what it caused"


def test_what_an_event_holds_is_shown_as_text_never_as_markup(signed_in: SignIn, world: World) -> None:
    evil = "<script>alert(1)</script>"
    actor = Actor.system("risk")
    restrictions.restrict(account=world.account, level="CLOSED", source=evil, reason=evil, actor=actor)
    event = AuditEvent.objects.latest("id")
    client = signed_in("charlie")
    for address in (reverse(LIST), reverse("admin:trading_auditevent_change", args=[event.pk])):
        page = client.get(address, {"request_id": evil} if address == reverse(LIST) else {}).content.decode()
        assert evil not in page
    assert "&lt;script&gt;" in page
