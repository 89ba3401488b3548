"""The admin site of the back office: its name, and its models in the order of the day's work.

What always holds: nothing is deleted in bulk anywhere; a model that no task names is listed under System, never hidden.
"""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

TASKS: dict[str, list[str]] = {
    "Review": ["Discrepancy", "Proposal", "Approval", "Application", "AuditEvent"],
    "Trading": ["Account", "Signal", "Decision", "ExitIntent", "Order", "Fill", "Position", "Trade", "Restriction"],
    "Ledger": ["Entry", "LedgerAccount", "CashEvent", "Lot"],
    "Reconciliation": ["Run", "Snapshot", "BrokerEvent", "BrokerMessage"],
}
OTHERS = "System"


class BackOfficeSite(AdminSite):
    """Every screen of the back office."""

    site_header = "Trading back office"
    site_title = "Trading back office"
    index_title = "What needs doing"
    site_url = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The models this person may see, by task instead of by app."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        models = {model["object_name"]: model for app in apps for model in app["models"]}
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
