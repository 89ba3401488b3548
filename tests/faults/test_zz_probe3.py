from tests.faults.test_alpaca_exits import *  # noqa
for n in [n for n in globals() if n.startswith("test_")]: del globals()[n]
from trading.models import OrderEvent, BrokerEvent, BrokerMessage
def test_dbg(world):
    first = world.plan(type=OrderType.STOP, entry=Decimal(201))
    send_order(order_id=first.pk); first.refresh_from_db()
    patched(world, patched(world, first.broker_order_id, "201.50"), "201.60")
    print(cancel_order(order_id=first.pk, reason="a test").state)
    for e in OrderEvent.objects.filter(order=first): print(e.sequence, e.from_state, e.to_state, e.reason, e.broker_event and e.broker_event.external_id)
    for b in BrokerEvent.objects.filter(account=world.account).order_by("id"): print(b.sequence, b.kind, b.external_id, b.body)
    for m in BrokerMessage.objects.filter(order=first): print(m.method, m.path, m.status, m.response_body[:700])
