"""The admin site of the back office: its name, and its models in the order of the day's work.

What always holds: nothing is deleted in bulk anywhere; a changed password leaves an audit event; a model that no task
names is listed under System, never hidden.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from reconciliation.models import Discrepancy
from trading.models import Account, User

TASKS: dict[str, list[str]] = {
    "Review": ["Discrepancy", "Proposal", "Approval", "Application", "AuditEvent"],
    "Trading": ["Account", "Signal", "Decision", "ExitIntent", "Order", "Fill", "Position", "Trade", "Restriction"],
    "Ledger": ["Entry", "LedgerAccount", "CashEvent", "Lot"],
    "Reconciliation": ["Run", "Statement", "SignOff", "Snapshot", "BrokerEvent", "BrokerMessage"],
}
OTHERS = "System"


@dataclass(frozen=True, slots=True)
class DeskPill:
    """What the header of every page says of the desk."""

    is_live: bool


class BackOfficeSite(AdminSite):
    """Every screen of the back office."""

    site_header = "Trading back office"
    site_title = "Trading back office"
    index_title = "Home"
    site_url = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Django's own, with its audit event in the same transaction."""
        with transaction.atomic():
            return super().password_change(request, extra_context)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's own: a sign-in whose audit event cannot be written is none."""
        with transaction.atomic():
            return super().login(request, extra_context)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Django's own, with its audit event in the same transaction."""
        with transaction.atomic():
            return super().logout(request, extra_context)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """With the PAPER/LIVE pill for whoever is signed in."""
        context = super().each_context(request)
        if context["has_permission"]:
            live = Account.objects.filter(is_active=True, mode=Account.Mode.LIVE)
            context["desk"] = DeskPill(is_live=live.exists())
        return context

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Home: is the book right, is the machine alive, what needs a person."""
        from .dashboard.page import home  # it imports the apps' admin, which registers itself on this very site

        user = request.user
        shown = home(request, user) if isinstance(user, User) else {}
        return super().index(request, {**shown, **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The models this person may see, by task instead of by app."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        _badge(models)
        groups = {task: [models.pop(name) for name in names if name in models] for task, names in TASKS.items()}
        groups[OTHERS] = sorted(models.values(), key=lambda model: str(model["name"]))
        index = reverse("admin:index", current_app=self.name)
        return [
            {
                "name": task,
                "app_label": task.lower(),
                "app_url": f"{index}#{task.lower()}",
                "has_module_perms": True,
                "models": listed,
            }
            for task, listed in groups.items()
            if listed
        ]


def _badge(models: dict[str, Any]) -> None:
    """How many cases wait, beside the link to their queue."""
    if "Discrepancy" not in models:
        return
    waiting = [Discrepancy.State.OPEN, Discrepancy.State.PROPOSED]
    number = Discrepancy.objects.filter(state__in=waiting).count()
    models["Discrepancy"].update(badge=number, badge_says=f"{number} wait for a person")
