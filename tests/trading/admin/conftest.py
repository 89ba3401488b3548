"""The world of the admin's tests, and people who are signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tests.trading.admin.world import World, build_world


@pytest.fixture
def world(db: None) -> World:
    """A row on every list."""
    return build_world()


@pytest.fixture
def signed_in(world: World) -> Callable[[str], Client]:
    """A client in which somebody of the cast is signed in."""

    def sign_in(name: str) -> Client:
        client = Client()
        client.force_login(world.people[name])
        return client

    return sign_in
