"""Reading the brokers' lists of instruments, once in each trading day of an account.

What always holds: the list is asked outside any transaction; a broker that does not answer is asked again by the next
sweep, and what was known of its instruments stands meanwhile.
"""

from __future__ import annotations

import logging

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from trading.brokers.registry import MissingCredentials
from trading.clock import now, trading_day
from trading.domain.broker import BrokerUnreachable
from trading.models import Account
from trading.services import cursors
from trading.services.instruments import take_over

from .connections import connected

log = logging.getLogger(__name__)
CURSOR = "instruments"


def read_all() -> int:
    """Read the list of each active account's broker that was not read today; returns how many were."""
    done = 0
    for account in Account.objects.filter(is_active=True).exclude(broker=Account.Broker.PAPER).order_by("pk"):
        today = trading_day(account, now(account)).isoformat()
        if cursors.get(account, CURSOR) == today:
            continue
        try:
            read(account, today)
            done += 1
        except SoftTimeLimitExceeded:
            raise  # the sweep has taken too long: the next one goes on
        except (BrokerUnreachable, MissingCredentials) as error:
            log.warning("%s: its broker's instruments are read later: %s", account.name, error)
        except Exception:
            log.exception("%s: its broker's instruments could not be read; the next sweep tries again", account.name)
    return done


def read(account: Account, today: str) -> None:
    """Take over what the account's broker says of our instruments.

    Raises MissingCredentials or BrokerUnreachable when it cannot be asked.
    """
    with connected(account) as broker:
        told = broker.instruments()
    with transaction.atomic():
        changed = take_over(account=account, told=told)
        cursors.put(account=account, name=CURSOR, value=today)
    if changed:
        log.info("%s: %s instruments have other limits at their broker now", account.name, changed)
