"""Every address of the web."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from backoffice import hooks
from backoffice.health import healthz, readyz

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("backoffice/favicon.svg"))),
    path("healthz", healthz),
    path("readyz", readyz),
    path("hooks/kite/<str:name>", hooks.kite),
    path("admin/", admin.site.urls),
]
