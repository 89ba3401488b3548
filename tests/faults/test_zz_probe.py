"""Probes; thrown away."""
from __future__ import annotations
import threading, time
from decimal import Decimal
import pytest
from django.db import connections
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Run, Discrepancy
from tests.faults.places import ALPACA
from tests.faults.world import World
from trading.clock import now
from trading.domain.broker import OrderType
from trading.engine.canceller import cancel_order
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.engine.mirror import follow
from trading.models import *
from trading.services.exits import plan_exit
import requests

pytestmark = pytest.mark.faults

@pytest.fixture
def world(make_world):
    return make_world(place=ALPACA)

def show(world, title=""):
    print("\n---", title)
    for o in Order.objects.filter(account=world.account).order_by("id"):
        print("  order", o.tag, o.side, f"{o.quantity:f}", o.state, f"filled {o.filled_quantity:f}", o.broker_order_id[:8], "|", o.reason[:110])
    for t in Trade.objects.filter(account=world.account): print("  trade", t.side, f"{t.quantity:f}", t.state, f"open {t.open_quantity:f}", t.close_reason)
    for g in OrderGroup.objects.filter(account=world.account): print("  group", g.state)
    for x in ExitIntent.objects.filter(account=world.account): print("  intent", x.state)
    for e in RiskEvent.objects.filter(account=world.account): print("  risk", e.kind, e.reason[:150])
    for n in Notification.objects.all(): print("  notif", n.level, n.key, n.text[:100])
    tr = world.truth()
    print("  truth pos", [(p["instrument"], p["side"], p["quantity"]) for p in tr["positions"]], "cash", tr["cash"])
    for o in tr["orders"]:
        if o["status"] not in ("canceled","filled","replaced","rejected","CANCELED","FILLED","REPLACED","REJECTED","CANCELLED"): print("  truth order", o["id"][:8], o["type"], o["quantity"], o["filled"], o["status"])
    print("  differences", world.differences())

def recon(world, n=2):
    for _ in range(n):
        r = run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    print("  recon", r.status, r.error[:200])
    for d in Discrepancy.objects.filter(account=world.account): print("   case", d.kind, d.state, d.severity, d.key, "|", (getattr(d,"cause","") or "")[:260])

def entered(world):
    entry = world.plan(); send_order(order_id=entry.pk); entry.refresh_from_db()
    return entry

def exit_of(world, entry, kind="TIME"):
    trade = Trade.objects.get(account=world.account, decision=entry.decision)
    return plan_exit(account=world.account, decision=entry.decision, exit_type=kind, reason="a test", quantity=trade.open_quantity, at=now(world.account))

def ext(world, **body):
    return world.simulator.post(f"/accounts/{world.place.account}/external", body)

def raw(world, method, path, **kw):
    base = world.simulator.alpaca_url
    r = requests.request(method, f"{base}/v2{path}", headers={"APCA-API-KEY-ID":"SIMKEY","APCA-API-SECRET-KEY":"sim-alpaca-secret"}, **kw)
    return r

def test_p01_exit_rejected_later(world):
    e = entered(world); x = exit_of(world, e)
    world.fault("reject_later", when="after", seconds=0.3, reason="halt")
    send_order(order_id=x.pk); show(world, "after send")
    time.sleep(0.6); watch_once(); show(world, "after rejection"); recon(world)

def test_p02_exit_refused_403(world):
    e = entered(world); x = exit_of(world, e)
    world.fault("status", when="before", status=403, body='{"code":40310000,"message":"trading halted"}')
    send_order(order_id=x.pk); show(world, "refused"); watch_once(); show(world, "watch")

def test_p03_partial_entry_then_cancel(world):
    world.simulator.post("/faults", {"broker":"alpaca","route":"*","when":"after","action":"partial_fill","times":1,"args":{"quantity":"3"}})
    e = entered(world); show(world, "partial")
    cancel_order(order_id=e.pk, reason="window over"); watch_once(); show(world, "cancelled rest"); recon(world)

def test_p04_partial_entry_then_exit(world):
    world.simulator.post("/faults", {"broker":"alpaca","route":"*","when":"after","action":"partial_fill","times":1,"args":{"quantity":"3"}})
    e = entered(world)
    x = exit_of(world, e); send_order(order_id=x.pk); watch_once(); show(world, "exit")

def test_p05_late_exit_after_external_close(world):
    e = entered(world); x = exit_of(world, e)
    world.fault("late_accept", when="before", seconds=1.5)
    send_order(order_id=x.pk); show(world, "unknown")
    ext(world, kind="closeout", instrument="AAPL"); time.sleep(2.2); world.catch_up(); show(world, "late exit"); recon(world)

def test_p06_stop_partial_hidden_then_exit(world):
    e = entered(world)
    stop = Order.objects.get(rides_on=e, tag="STOP")
    world.simulator.post("/faults", {"broker":"alpaca","route":"*","when":"after","action":"partial_fill","times":1,"args":{"quantity":"2"}})
    world.simulator.post("/faults", {"broker":"alpaca","route":"*","when":"after","action":"hide","times":1,"args":{"what":"fill","seconds":3}})
    x = exit_of(world, e)
    p = stop.price; world.price(p - Decimal("0.02"), p)
    show(world, "stop partial hidden")
    print(send_order(order_id=x.pk).state); show(world, "exit sent")
    for _ in range(4): time.sleep(1); watch_once()
    show(world, "later")

def test_p07_tp_partial_then_exit(world):
    e = entered(world)
    tp = Order.objects.get(rides_on=e, tag="TP1")
    world.simulator.post("/faults", {"broker":"alpaca","route":"*","when":"after","action":"partial_fill","times":1,"args":{"quantity":"2"}})
    p = tp.price; world.price(p, p + Decimal("0.02")); world.price(p-Decimal("0.5"), p-Decimal("0.48")); world.catch_up()
    show(world, "tp partial"); recon(world)
    x = exit_of(world, e); print(send_order(order_id=x.pk).state); watch_once(); show(world, "exit"); recon(world)

def test_p08_replaced_stop(world):
    e = entered(world)
    stop = Order.objects.get(rides_on=e, tag="STOP")
    r = raw(world, "PATCH", f"/orders/{stop.broker_order_id}", json={"stop_price":"197.00"}); print(r.status_code, r.text[:300])
    world.catch_up(); show(world, "replaced"); recon(world)
    x = exit_of(world, e); print(send_order(order_id=x.pk).state); watch_once(); show(world, "exit"); recon(world)

def test_p09_replaced_stop_then_fills(world):
    e = entered(world)
    stop = Order.objects.get(rides_on=e, tag="STOP")
    r = raw(world, "PATCH", f"/orders/{stop.broker_order_id}", json={"stop_price":"197.00"}); print(r.status_code)
    world.price(Decimal("196"), Decimal("196.02")); world.catch_up(); show(world, "filled"); recon(world)

def test_p10_replaced_entry_then_fills(world):
    o = world.plan(type=OrderType.STOP, entry=world.place.ask + world.place.away / 2); send_order(order_id=o.pk); o.refresh_from_db()
    r = raw(world, "PATCH", f"/orders/{o.broker_order_id}", json={"stop_price":"201.50"}); print(r.status_code, r.text[:200])
    world.catch_up(); show(world, "replaced entry")
    world.price(Decimal("201.6"), Decimal("201.62")); world.catch_up(); show(world, "filled"); recon(world)

def test_p11_leg_ids_unknown_parent_cancelled_outside(world):
    o = world.plan(type=OrderType.STOP, entry=world.place.ask + world.place.away / 2)
    world.fault("drop"); send_order(order_id=o.pk)
    row = raw(world, "GET", "/orders:by_client_order_id", params={"client_order_id": o.client_order_id}).json()
    ext(world, kind="cancel", order_id=row["id"]); 
    world.pass_time(o, 30); watch_once(); show(world, "after")

def test_p12_bust_and_correct(world):
    e = entered(world); f = Fill.objects.get(order=e)
    ext(world, kind="correct", fill_id=f.external_id, price="199.00"); world.catch_up(); show(world, "correct"); recon(world)
    ext(world, kind="bust", fill_id=f.external_id); world.catch_up(); show(world, "bust"); recon(world)

def test_p13_external_fraction(world):
    r = ext(world, kind="trade", instrument="AAPL", quantity="0.123456789", price="199.123456789"); world.catch_up(); show(world, "fraction"); recon(world)
    e = entered(world); x = exit_of(world, e); print(send_order(order_id=x.pk).state); show(world, "exit"); recon(world)

def test_p14_two_workers(world):
    e = entered(world); x = exit_of(world, e)
    def go():
        try: send_order(order_id=x.pk)
        finally: connections.close_all()
    def watch():
        try: watch_once()
        finally: connections.close_all()
    ts = [threading.Thread(target=go) for _ in range(3)] + [threading.Thread(target=watch) for _ in range(2)]
    [t.start() for t in ts]; [t.join() for t in ts]
    show(world, "race"); print("posts", len(world.posts(x)))

def test_p15_429_on_reads(world):
    e = entered(world); x = exit_of(world, e)
    world.fault("rate_limit", when="before", route="GET /v2/account/activities", times=3, seconds=1)
    t=time.monotonic(); print(send_order(order_id=x.pk).state, time.monotonic()-t); show(world, "429")
    for _ in range(3): time.sleep(1); watch_once()
    show(world, "later")

def test_p16_exit_post_never_arrives(world):
    e = entered(world); x = exit_of(world, e)
    world.fault("drop", when="before"); send_order(order_id=x.pk); show(world, "dropped")
