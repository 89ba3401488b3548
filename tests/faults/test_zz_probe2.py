from tests.faults.test_zz_probe import *  # noqa
from tests.faults import test_zz_probe as base
import sys
for n in [n for n in globals() if n.startswith("test_")]: del globals()[n]
import datetime as dt
from datetime import timedelta
from trading.domain.broker import Side
from trading.services.settlement import settle_due
from trading.selectors import books as B

def f(world, action, route="*", when="after", times=1, **args):
    world.simulator.post("/faults", {"broker":"alpaca","route":route,"when":when,"action":action,"times":times,"args":args})

def test_q01_hidden_entry(world):
    o = world.plan(); f(world, "hide", route="POST /v2/orders", seconds=3); 
    print(send_order(order_id=o.pk).state); show(world, "hidden")
    watch_once(); recon(world)
    time.sleep(3.2); watch_once(); show(world, "shown"); recon(world)

def test_q02_dup_reorder_stale(world):
    a = entered(world)
    for action in ("duplicate","reorder","stale_page"):
        for route in ("GET /v2/account/activities","GET /v2/orders","GET /v2/positions"):
            f(world, action, route=route, when="after", times=2)
    tp = Order.objects.get(rides_on=a, tag="TP1"); p = tp.price; world.price(p, p+Decimal("0.02"))
    for _ in range(6):
        try: world.catch_up()
        except Exception as e: print("   catch_up", type(e).__name__, str(e)[:160])
    recon(world, 1); world.simulator.delete("/faults"); world.catch_up(); show(world, "after"); recon(world)

def test_q03_bad_values(world):
    for path, value in (("*.qty","NaN"),("*.price","0"),("*.side","sell_all"),("*.symbol","ZZZZ"),("*.order_id","nobody"),("*.transaction_time","tomorrow"),("*.type","weird"),("*.price","-1"),("*.qty","1e400")):
        o = world.plan()
        f(world, "bad_value", route="GET /v2/account/activities", times=3, path=path, value=value)
        try: send_order(order_id=o.pk)
        except Exception as e: print("RAISED", type(e), e)
        world.simulator.delete("/faults"); 
        try: world.catch_up()
        except Exception as e: print("RAISED2", type(e), e)
        o.refresh_from_db(); print(path, value, o.state, o.filled_quantity, [ (r.kind, r.reason[:80]) for r in RiskEvent.objects.filter(account=world.account)][-2:], world.differences())

def test_q04_expire_token_in_exit(world):
    e = entered(world); x = exit_of(world, e)
    f(world, "expire_token", route="POST /v2/orders", when="before", seconds=1)
    print(send_order(order_id=x.pk).state); show(world, "expired")
    time.sleep(2.5); watch_once(); show(world, "watch"); time.sleep(3); watch_once(); time.sleep(.5); watch_once(); show(world, "later")

def test_q05_weekend_hidden_fill(world):
    # Friday: an entry; stop fills hidden until Monday
    o = entered(world)
    stop = Order.objects.get(rides_on=o, tag="STOP")
    f(world, "hide", what="fill", until="2026-01-19T16:00:00Z")
    p = stop.price; world.price(p - Decimal("0.02"), p); world.catch_up(); show(world, "hidden")
    for t in ("2026-01-16T20:00:00Z","2026-01-18T12:00:00Z","2026-01-19T15:00:00Z","2026-01-19T16:30:00Z"):
        world.simulator.post("/clock", {"now": t})
        from trading.clock import store_broker_clock
        store_broker_clock(account=world.account, broker_at=world.broker_now(), speed=Decimal(1))
        try: world.catch_up()
        except Exception as e: print("   catch_up", type(e).__name__, str(e)[:160])
        print(t, Cursor.objects.get(account=world.account, name="events").value, Order.objects.get(pk=stop.pk).state)
    show(world, "monday"); recon(world)

def test_q06_leg_cancelled_outside(world):
    e = entered(world); stop = Order.objects.get(rides_on=e, tag="STOP")
    ext(world, kind="cancel", order_id=stop.broker_order_id); world.catch_up(); time.sleep(2.1); watch_once(); show(world, "cancelled outside")

def test_q07_settle(world):
    e = entered(world); x = exit_of(world, e); send_order(order_id=x.pk)
    ext(world, kind="fee", amount="-0.0213"); world.catch_up()
    world.simulator.post("/clock", {"now": "2026-01-20T15:00:00Z"})
    from trading.clock import store_broker_clock
    store_broker_clock(account=world.account, broker_at=world.broker_now(), speed=Decimal(1))
    res=[]
    def go():
        try: res.append(settle_due(world.account))
        finally: connections.close_all()
    ts=[threading.Thread(target=go) for _ in range(4)]; [t.start() for t in ts]; [t.join() for t in ts]
    print(res, settle_due(world.account)); world.catch_up(); show(world,"settled"); recon(world)

def test_q08_same_microsecond(world):
    world.simulator.post("/clock", {"speed": 0}) if False else None
    o1, o2 = world.plan(), world.plan()
    try: world.simulator.post("/clock", {"speed": "0"})
    except Exception as e: print("clock", e)
    send_order(order_id=o1.pk); send_order(order_id=o2.pk); world.catch_up()
    print([(b.sequence, b.external_id[-12:], b.kind) for b in BrokerEvent.objects.filter(account=world.account).order_by("sequence")])
    show(world, "same")

def test_q09_external_fraction_beside_ours(world):
    e = entered(world)
    ext(world, kind="trade", instrument="AAPL", quantity="0.5", price="199.123456789"); world.catch_up(); recon(world)
    x = exit_of(world, e); print(send_order(order_id=x.pk).state); show(world, "exit"); recon(world)

def test_q10_external_sell_part(world):
    e = entered(world)
    ext(world, kind="trade", instrument="AAPL", quantity="-2", price="199"); world.catch_up(); show(world, "sold"); recon(world)
    x = exit_of(world, e); print(send_order(order_id=x.pk).state); time.sleep(2.2); watch_once(); show(world, "exit")

def test_q11_cancel_lost_then_created_event(world):
    o = world.plan(type=OrderType.STOP, entry=world.place.ask + world.place.away / 2)
    f(world, "status", route="GET /v2/account/activities", when="before", times=5, status=503)
    print(send_order(order_id=o.pk).state)
    f(world, "drop", route="DELETE /v2/orders", when="before")
    cancel_order(order_id=o.pk, reason="x"); world.simulator.delete("/faults"); world.catch_up(); show(world, "after catch up")
    world.pass_time(o, 10); watch_once(); show(world, "watched")

def test_q12_market_closed_exit(world):
    pass
