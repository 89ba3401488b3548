"""The home page: true numbers, what needs a person, the demo's strip decided from facts, and a bounded cost."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from backoffice.dashboard import curve
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from reconciliation.services import applying, resolutions
from tests.reconciliation.admin.still_broker import StillBroker
from tests.trading.admin.world import START, World, build_world, cast, grow
from trading.clock import replay_clock, wall_now
from trading.domain.orders import OrderState
from trading.models import Account, AccountClock, EquityPoint, Heartbeat, OrderGroup, Restriction, TaskAttempt
from trading.services import cursors, orders, restrictions
from trading.services.audit import Actor
from trading.services.inbox import INFLOW

HOME = "/admin/"


@pytest.fixture
def world(db: None) -> World:
    """One account with a trade; its broker's history is read to its end."""
    world = build_world()
    cursors.put(account=world.account, name=INFLOW, value="900")
    return world


def home(world: World, name: str, query: str = "") -> Any:
    client = Client()
    client.force_login(world.people[name])
    answer = client.get(HOME + query)
    assert answer.status_code == 200
    return answer


def compare(world: World, quantity: str, times: int = 2, **more: Any) -> None:
    for _ in range(times):
        broker: Any = StillBroker(world.account, Decimal(quantity), **more)
        run_reconciliation(account=world.account, trigger="MANUAL", broker=broker)


def propose(world: World) -> Discrepancy:
    case = Discrepancy.objects.get(key="EURUSD")
    ada = world.people["ada"]
    resolutions.propose(
        discrepancy_id=case.pk, action="book_fills", reason="by hand, ticket 12", proposer=ada,
        actor=Actor.of(ada, via="test"),
    )  # fmt: skip
    case.refresh_from_db()
    return case


def approve(world: World, case: Discrepancy) -> None:
    bob = world.people["bob"]
    assert case.proposal is not None
    resolutions.approve(
        proposal_id=case.proposal.pk, approver=bob, payload_sha256=case.proposal.payload_sha256,
        subject_version=case.proposal.subject_version, actor=Actor.of(bob, via="test"),
    )  # fmt: skip


def test_an_empty_desk_teaches_instead_of_showing_zeros(db: None) -> None:
    charlie = cast()["charlie"]
    client = Client()
    client.force_login(charlie)
    page = client.get(HOME).content.decode()
    for words in (
        "No deposit or closed trade is in the books yet",
        "No account was compared with its broker yet",
        "There is no account yet",
        "every difference appears here",
        "No part of the desk has reported yet",
        "The curve begins with the first deposit",
    ):
        assert words in page, words


def test_the_cards_say_what_the_facts_say(world: World) -> None:
    now = EquityPoint.objects.order_by("-at").first()
    assert now is not None
    compare(world, "10700")
    context = home(world, "ada").context
    assert [(money.currency, money.amount) for money in context["equity"]] == [("USD", now.equity)]
    cases = context["cases"]
    assert (cases.open, cases.suspected, cases.for_me, cases.own) == (1, 0, 0, 0)
    assert context["last_run"].run.status == "COMPLETE" and context["worst_run"] is None
    assert [line.word for line in context["lines"]] == ["REDUCE ONLY"], "the world's drawdown lock"
    assert context["halted"]


def test_equity_and_the_days_change_are_per_currency_and_leave_the_paper_book_out(world: World) -> None:
    moment = home(world, "ada").context["lines"][0].day_start
    for name, broker, currency, before, after in (
        ("paper", "PAPER", "USD", "100", "900"), ("euro", "OANDA", "EUR", "200", "150"),
        ("new", "OANDA", "GBP", None, "5"),
    ):  # fmt: skip
        account = Account.objects.create(
            name=name, broker=broker, environment="PRACTICE", external_id=name, currency=currency,
            policy=world.account.policy, opened_at=START,
        )  # fmt: skip
        for at, value in ((moment - timedelta(hours=3), before), (moment + timedelta(minutes=1), after)):
            if value is not None:
                EquityPoint.objects.create(account=account, at=at, balance=value, equity=value)
    shown = {
        money.currency: (money.amount, money.change, money.share) for money in home(world, "ada").context["equity"]
    }
    assert shown["EUR"] == (Decimal(150), Decimal(-50), Decimal("-25.00"))
    assert shown["GBP"] == (Decimal(5), None, None), "no figure from before today is no change of zero"
    assert shown["USD"][0] == Decimal(100000)


def test_on_the_first_day_the_change_is_from_the_first_figure_and_the_curve_begins_there(world: World) -> None:
    EquityPoint.objects.filter(account=world.account).delete()
    for minutes, value in ((1, "100000"), (2, "100060"), (3, "100040")):
        at = START + timedelta(minutes=minutes)
        EquityPoint.objects.create(account=world.account, at=at, balance=value, equity=value)
    with replay_clock(world.account.pk) as clock:
        clock[world.account.pk] = START + timedelta(minutes=5)
        context = home(world, "ada").context
    assert [(money.amount, money.change) for money in context["equity"]] == [(Decimal(100040), Decimal(40))]
    assert (context["curve"].first, context["curve"].change) == (Decimal(100000), Decimal(40))


def test_what_needs_a_person_is_there_with_one_click_and_mine_comes_first(world: World) -> None:
    compare(world, "10700")
    OrderGroup.objects.filter(account=world.account).update(state="UNSAFE")
    for state in (OrderState.CANCELLING, OrderState.UNKNOWN):
        orders.move(orders.locked(world.stop.pk), state, at=START, reason="a test")
    TaskAttempt.objects.update(dead_at=START)
    shown = home(world, "ada").context["needs"]
    assert {need.what for need in shown} == {
        "Quantity mismatch", "Position without a safe stop", "Order with unknown fate", "Work that was given up"
    }  # fmt: skip
    assert [need.severity for need in shown[1:]] == ["CRITICAL", "HIGH", "HIGH"]
    assert (shown[0].verb, shown[0].is_mine) == ("Propose", True)
    client = Client()
    client.force_login(world.people["ada"])
    for need in shown:
        assert client.get(need.url).status_code == 200, need
    assert [need.verb for need in home(world, "charlie").context["needs"] if need.what == "Quantity mismatch"] == [
        "Look at it"
    ]
    propose(world)
    bob = home(world, "bob").context
    assert (bob["needs"][0].verb, bob["cases"].for_me) == ("Decide", 1)
    ada = home(world, "ada").context
    assert (ada["cases"].own, ada["cases"].for_me) == (1, 0)
    assert "Waits for approval" in [need.verb for need in ada["needs"]]


def test_what_does_not_fit_is_counted_and_the_gravest_stays(world: World) -> None:
    compare(world, "10700")
    case = Discrepancy.objects.get(key="EURUSD")
    for number in range(30):
        case.pk, case.fingerprint, case.key, case.severity = None, f"{number:064d}", f"LOW{number}", "LOW"
        case.save(force_insert=True)
    context = home(world, "charlie").context
    assert len(context["needs"]) == 8 and context["left_out"] > 0
    assert context["needs"][0].about == "EURUSD"


def test_the_pill_is_red_and_says_live_as_soon_as_one_active_account_is_live(world: World) -> None:
    assert '<span class="mode paper" id="mode"' in home(world, "charlie").content.decode()
    live = Account.objects.create(
        name="real", broker="OANDA", environment="LIVE", mode="LIVE", external_id="9", currency="USD",
        policy=world.account.policy, opened_at=START,
    )  # fmt: skip
    for address in (HOME, reverse("admin:trading_order_changelist"), reverse("admin:password_change")):
        client = Client()
        client.force_login(world.people["charlie"])
        assert '<a class="mode live" id="mode"' in client.get(address).content.decode(), address
    Account.objects.filter(pk=live.pk).update(is_active=False)
    assert 'class="mode live"' not in home(world, "charlie").content.decode()


def test_the_simulated_markets_clock_stands_beside_the_walls(world: World, settings: Any) -> None:
    assert home(world, "charlie").context["market_clock"] is None
    Account.objects.filter(pk=world.account.pk).update(environment="SIMULATOR")
    AccountClock.objects.create(account=world.account, wall_at=wall_now(), broker_at=START, speed=Decimal("19.9"))
    settings.BACKOFFICE_DEMO = True
    page = home(world, "charlie").content.decode()
    assert f"Demo day: {START:%a} {START.day} {START:%b, %H:%M} UTC" in page and '×<span class="num">20<' in page
    assert "OANDA simulator" in page


def test_a_part_that_is_silent_is_shown_as_silent(world: World) -> None:
    for name, age in (("fresh", 3), ("late", 60), ("dead", 600), ("orders", 2)):
        Heartbeat.objects.create(name=name, at=wall_now() - timedelta(seconds=age))
    Heartbeat.objects.create(name="stream.prices:oanda-main", at=wall_now(), details={"connected": False, "errors": 3})
    Heartbeat.objects.create(name="stream.events:oanda-main", at=wall_now(), details={"connected": True, "errors": 3})
    tones = {beat.name: beat.tone for beat in home(world, "charlie").context["beats"]}
    assert (tones["fresh"], tones["late"], tones["dead"]) == ("good", "waiting", "bad")
    assert (tones["Prices of oanda-main"], tones["Events of oanda-main"]) == ("bad", "good")
    assert (tones["Worker: orders"], tones["Beat"]) == ("good", "good"), "a worker was asked, so beat asks"


def test_an_account_that_may_trade_is_enabled_and_says_what_is_limited(world: World) -> None:
    Restriction.objects.all().delete()
    compare(world, "12000")
    (line,) = home(world, "charlie").context["lines"]
    assert (line.word, line.limited) == ("ENABLED", ("EURUSD",))
    restrictions.restrict(level="CLOSED", source="kill", reason="everything", actor=Actor.system("test"))
    (line,) = home(world, "charlie").context["lines"]
    assert line.word == "HALTED"


# --- The strip --------------------------------------------------------------------------------------------------------
@pytest.fixture
def demo(world: World, settings: Any) -> World:
    """The same account as one of the demo at the simulator."""
    settings.BACKOFFICE_DEMO = True
    Account.objects.update(environment="SIMULATOR")
    world.account.refresh_from_db()
    return world


def guide(world: World, name: str) -> Any:
    return home(world, name).context["guide"]


def test_the_strip_leads_from_the_first_difference_to_the_closed_case(demo: World) -> None:
    assert (guide(demo, "ada").step, guide(demo, "ada").button) == (0, "")
    compare(demo, "10700", times=1)
    assert "opens as a case when the next one confirms it" in guide(demo, "ada").says
    compare(demo, "10700", times=1)
    case = Discrepancy.objects.get(key="EURUSD")
    assert (guide(demo, "ada").button, guide(demo, "ada").sign_out_for) == ("Look at the first case", "")
    assert str(case.pk) in guide(demo, "ada").url
    assert guide(demo, "bob").sign_out_for == "ada"
    propose(demo)
    assert (guide(demo, "ada").step, guide(demo, "ada").sign_out_for) == (2, "bob")
    assert (guide(demo, "bob").button, guide(demo, "bob").sign_out_for) == ("Review the proposal", "")
    case.refresh_from_db()
    approve(demo, case)
    assert guide(demo, "bob").step == 3
    assert case.proposal is not None
    applying.apply(proposal_id=case.proposal.pk, actor=Actor.system("test"))
    assert "only that closes the case" in guide(demo, "bob").says
    compare(demo, "10700", times=1, price=Decimal("1.090184"))
    closed = guide(demo, "charlie")
    assert closed.step == 4 and "ada proposed, bob approved" in closed.says
    assert closed.url.endswith(f"/{case.pk}/change/#timeline")
    assert [standing for _, _, standing in closed.steps] == ["done"] * 5


def test_there_is_no_strip_outside_the_demo_or_without_a_simulator(demo: World, settings: Any) -> None:
    settings.BACKOFFICE_DEMO = False
    assert guide(demo, "ada") is None
    settings.BACKOFFICE_DEMO = True
    Account.objects.update(environment="PRACTICE")
    assert guide(demo, "ada") is None


# --- The curve --------------------------------------------------------------------------------------------------------
def test_the_curve_carries_the_value_from_before_and_thins_a_long_history(world: World) -> None:
    account = world.account
    EquityPoint.objects.filter(account=account).delete()
    EquityPoint.objects.bulk_create(
        EquityPoint(account=account, at=START + timedelta(minutes=n), balance=n, equity=Decimal(1000 + n))
        for n in range(3000)
    )
    until = START + timedelta(minutes=2999)
    whole = curve.draw(account, until=until, span=None)
    assert whole is not None
    assert (whole.first, whole.last) == (Decimal(1000), Decimal(3999))
    assert whole.svg.count("V") <= 2 * (curve.STEPS + 3), "the line and the area below it"
    hour = curve.draw(account, until=until + timedelta(hours=2), span=timedelta(hours=1))
    assert hour is not None
    assert (hour.first, hour.last, hour.change) == (Decimal(3999), Decimal(3999), 0)
    assert "style=" not in whole.svg and "oanda-main" in whole.svg
    assert curve.draw(account, until=START - timedelta(days=1), span=timedelta(days=1)) is None


@pytest.mark.parametrize("query", ["?range=1D", "?range=nonsense", "?account=999", "?account=x&range=All"])
def test_the_address_chooses_range_and_account_and_nonsense_is_the_usual(query: str, world: World) -> None:
    context = home(world, "charlie", query).context
    shown = [name for name, _, is_shown in context["ranges"] if is_shown]
    assert shown == [{"?range=1D": "1D", "?account=x&range=All": "All"}.get(query, "1W")]
    assert context["chart_account"] == world.account


# --- Its cost ---------------------------------------------------------------------------------------------------------
def test_the_page_costs_the_same_however_much_has_happened(world: World) -> None:
    compare(world, "10700")
    home(world, "bob")
    counts = []
    case = Discrepancy.objects.get(key="EURUSD")
    for more in (0, 5):
        grow(world, more)
        for number in range(more):
            case.pk, case.fingerprint, case.key = None, f"{number:064d}", f"COPY{number}"
            case.save(force_insert=True)
        client = Client()
        client.force_login(world.people["bob"])
        with CaptureQueriesContext(connection) as queries:
            client.get(HOME)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 34, "\n".join(query["sql"][:150] for query in queries.captured_queries)


def test_every_right_sees_the_page(world: World) -> None:
    for name in world.people:
        assert "What needs a person" in home(world, name).content.decode()
