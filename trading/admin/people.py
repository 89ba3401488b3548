"""Users and people. Users are made and deactivated, never deleted; nobody changes their own rights.

What always holds: the person of a user is fixed once chosen; every change here leaves an audit event in the same
transaction (`services.rights` listens to all of them); no superuser and no single permission is given through this
page, only groups.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from trading.models import Person, User

from . import columns, values
from .pages import Panel, ReadOnlyAdmin, Table

if TYPE_CHECKING:
    UserAdminOfOurs = DjangoUserAdmin[User]
else:
    UserAdminOfOurs = DjangoUserAdmin  # generic for the type checker only

admin.site.unregister(Group)

IDENTITY = ("username", "person", "first_name", "last_name", "email")
RIGHTS = ("is_active", "is_staff", "groups")


@admin.register(User)
class UserAdmin(UserAdminOfOurs):
    """Sign-ins, each of one person."""

    actions = None
    list_display = ("username", columns.link("person"), "in_groups", "is_active", columns.moment("last_login"))
    list_filter = ("groups", "is_active")
    list_select_related = ("person",)
    search_fields = ("username", "person__name")
    show_facets = admin.ShowFacets.ALWAYS
    fieldsets = (
        (None, {"fields": (*IDENTITY, "password")}),
        ("Rights", {"fields": RIGHTS}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "person", "usable_password", "password1", "password2", *RIGHTS)}),)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With groups."""
        return super().get_queryset(request).prefetch_related("groups")

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list under its own name."""
        changes = super().get_changelist_instance(request)
        changes.title = "Users"
        return changes

    @admin.display(description="groups")
    def in_groups(self, user: User) -> str:
        """Names of the groups."""
        return ", ".join(group.name for group in user.groups.all())

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody but a superuser changes a superuser: a new password would be a way round every right."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: deactivate instead."""
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the password's hash for whoever only reads."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ((None, {"fields": (*IDENTITY, *RIGHTS, "last_login")}),)
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The person once chosen, the dates, and one's own rights."""
        if obj is None:
            return ()
        own = RIGHTS if obj.pk == request.user.pk else ()
        return ("person", "last_login", "date_joined", *own)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A person may be left empty: a new one is made."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "person" and field is not None:
            field.required = False
            field.help_text = "The human who signs in. Leave empty only for somebody who has no user here yet."
        return field

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """A new user without a person gets one of its own."""
        if obj.person_id is None:
            obj.person = Person.objects.create(name=obj.username)
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """In one transaction with its audit event."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(Person)
class PersonAdmin(ReadOnlyAdmin):
    """One human, however many users."""

    list_display = ("name",)
    search_fields = ("name", "users__username")
    list_per_page = 100

    def panels(self, request: HttpRequest, subject: Person) -> list[Panel]:
        """The users of a person."""
        users = subject.users.all()
        return [Table("Users", ("User", "Active"), [(values.link(user), user.is_active) for user in users])]
