from tests.faults.test_zz_probe import *  # noqa
for n in [n for n in globals() if n.startswith("test_")]: del globals()[n]
from tests.faults import world as W
from trading.domain.broker import Side
import tests.faults.test_zz_probe as base
from datetime import timedelta
from trading.engine.mirror import follow
def f(world, action, route="*", when="after", times=1, **args):
    world.simulator.post("/faults", {"broker":"alpaca","route":route,"when":when,"action":action,"times":times,"args":args})

def short(world, monkeypatch):
    real = W.SignalIntent
    def flipped(**kw):
        kw["side"] = Side.SELL; e = kw["entry"]; kw["stop"], kw["target"] = e + 2, e - 4
        return real(**kw)
    monkeypatch.setattr(W, "SignalIntent", flipped)
    o = world.plan(entry=world.place.bid); monkeypatch.setattr(W, "SignalIntent", real); return o

def test_r01_short(world, monkeypatch):
    o = short(world, monkeypatch); print(send_order(order_id=o.pk).state); show(world, "short"); recon(world)
    x = exit_of(world, o); print(send_order(order_id=x.pk).state); show(world, "covered"); recon(world)

def test_r02_short_stop(world, monkeypatch):
    o = short(world, monkeypatch); send_order(order_id=o.pk)
    world.price(Decimal("203"), Decimal("203.02")); world.catch_up(); show(world, "stopped"); recon(world)

def test_r03_long_then_short_other(world, monkeypatch):
    a = entered(world); 
    try: o = short(world, monkeypatch)
    except AssertionError as e: print("refused", e); return
    print(send_order(order_id=o.pk).state); world.catch_up(); show(world, "both"); recon(world)

def test_r04_two_trades_two_exits_threads(world):
    a, b = entered(world), entered(world)
    xa, xb = exit_of(world, a), exit_of(world, b)
    def go(x):
        try: send_order(order_id=x.pk)
        finally: connections.close_all()
    def watch():
        try: watch_once()
        finally: connections.close_all()
    def fol():
        try:
            br = broker_for(world.account); follow(paper=a.decision.account, mirror=world.account, broker=br); br.close()
        finally: connections.close_all()
    ts=[threading.Thread(target=go,args=(x,)) for x in (xa,xb,xa,xb)]+[threading.Thread(target=watch) for _ in range(2)]+[threading.Thread(target=fol)]
    [t.start() for t in ts]; [t.join() for t in ts]; watch_once(); show(world, "two exits"); print(len(world.posts(xa)), len(world.posts(xb)))

def test_r05_exit_vs_tp_race(world):
    for i in range(6):
        e = entered(world); x = exit_of(world, e); tp = Order.objects.get(rides_on=e, tag="TP1"); p = tp.price
        def go():
            try: send_order(order_id=x.pk)
            finally: connections.close_all()
        t = threading.Thread(target=go); t.start(); time.sleep(0.03*i); world.price(p, p+Decimal("0.02")); t.join()
        for _ in range(3): watch_once()
        x.refresh_from_db(); print(i, x.state, x.reason[:60], Trade.objects.get(decision=e.decision, account=world.account).state, world.truth()["positions"], world.differences())
        world.price(world.place.bid, world.place.ask)
        for o in Order.objects.filter(account=world.account, state="CANCELLING"): world.pass_time(o, 10)
        watch_once()

def test_r06_halt_exit(world):
    e = entered(world); x = exit_of(world, e)
    f(world, "halt", instrument="AAPL", seconds=2); print(send_order(order_id=x.pk).state); watch_once(); show(world, "halted"); time.sleep(2.2); world.price(world.place.bid, world.place.ask); watch_once(); show(world, "resumed")

def test_r07_exit_partial(world):
    e = entered(world); x = exit_of(world, e); f(world, "partial_fill", quantity="2"); print(send_order(order_id=x.pk).state); show(world, "partial exit")
    row = Order.objects.get(pk=x.pk); ext(world, kind="cancel", order_id=row.broker_order_id); world.catch_up(); time.sleep(2.1); watch_once(); show(world, "cancelled rest"); time.sleep(5.1); watch_once(); show(world, "again")

def test_r08_fees_dividend_9dec(world):
    e = entered(world); ext(world, kind="dividend", instrument="AAPL", amount="1.2345"); ext(world, kind="fee", amount="-0.0001"); ext(world, kind="financing", amount="-0.3333"); ext(world, kind="transfer", amount="-10.01")
    world.catch_up(); show(world, "cash"); recon(world)

def test_r09_429_orders(world):
    o = world.plan(); f(world, "rate_limit", route="GET /v2/orders", when="before", times=4, seconds=1)
    print(send_order(order_id=o.pk).state)
    for _ in range(4): time.sleep(0.7); watch_once()
    show(world, "429 orders")

def test_r10_legs_rejected_at_fill(world):
    o = world.plan(); send_order(order_id=o.pk); 

def test_r11_split_open(world):
    e = entered(world); ext(world, kind="split", instrument="AAPL", ratio="2"); world.catch_up(); show(world, "split"); time.sleep(2.1); watch_once(); show(world, "watch"); recon(world)
    x = exit_of(world, e); print(send_order(order_id=x.pk).state); show(world, "exit after split")
