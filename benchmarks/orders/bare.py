"""A Celery application with nothing in it but one call to the broker: the hop that ours is measured beside.

What always holds: it uses Redis and the pool as ours does, and nothing else of the product.
"""

from __future__ import annotations

import json
import os
from typing import Any

import requests
from celery import Celery

QUEUE = "bare"
app = Celery("bare", broker=os.environ.get("BARE_BROKER", ""), set_as_current=False)
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=1, task_acks_late=True, task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
)  # fmt: skip
_session = requests.Session()


def order(client_id: str) -> dict[str, Any]:
    """The smallest order that OANDA takes."""
    return {"type": "MARKET", "instrument": "EUR_USD", "units": "1", "clientExtensions": {"id": client_id}}


@app.task(name="bare.post")  # type: ignore[untyped-decorator]
def post(url: str, client_id: str) -> None:
    """One POST."""
    _session.post(url, data=json.dumps({"order": order(client_id)}), timeout=5)
