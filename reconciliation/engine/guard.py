"""What goes wrong with one account or case stays there: it is logged, and the round goes on with the others.

What always holds: nothing is kept of what the guarded work had not committed; a round that takes too long ends all the
same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import SoftTimeLimitExceeded

log = logging.getLogger(__name__)


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Log an unexpected error of the block as one about `what`, instead of raising it."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise  # the round has taken too long: the next one goes on
    except Exception:
        log.exception("%s: the work on it failed; what stands stands, and the next round tries again", what)
