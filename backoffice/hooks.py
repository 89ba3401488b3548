"""The doors that brokers knock at: they carry no session and no token of ours, only a signature of their own.

What always holds: a body is read up to a bound and no further; who cannot prove to be the broker gets 403, which the
audit trail takes down as any refusal (`doors`, with its limit of what a flood may write); the answer says nothing else,
not even whether an account of that name exists.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from trading.engine.postbacks import MOST_BYTES, NotTheBroker, heard


@csrf_exempt
@never_cache
@require_POST
def kite(request: HttpRequest, name: str) -> HttpResponse:
    """A postback of Kite for the account of that name: 200 when it was taken, 403 when it is not Kite's."""
    body = request.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        return HttpResponse("too long\n", status=413, content_type="text/plain")
    try:
        heard(account_name=name, body=body)
    except NotTheBroker:
        return HttpResponse("refused\n", status=403, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")
