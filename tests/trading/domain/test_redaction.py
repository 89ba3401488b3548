"""No secret comes through, wherever it stands; what is no secret stays."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.redaction import HIDDEN, redacted, redacted_text

CANARY = "canary-0b7d1f"
NAMES = st.sampled_from(["state", "note", "reason", "x", "units"])
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
TREES = st.recursive(
    VALUES | st.builds(lambda a, b: f"{a}{CANARY}{b}", st.text(max_size=5), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(TREES)
def test_a_known_secret_is_gone_wherever_it_stood_and_a_second_time_changes_nothing(tree: Any) -> None:
    clean = redacted(tree, [CANARY])
    assert CANARY not in json.dumps(clean, ensure_ascii=False)
    assert redacted(clean, [CANARY]) == clean


@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)))
def test_what_is_no_secret_stays_as_it_is(tree: Any) -> None:
    assert redacted(tree, []) == tree


@pytest.mark.parametrize(
    "name",
    ["password", "new_password1", "OANDA_API_KEY", "apiKey", "access_token", "Authorization", "session_key", "csrf",
     "client_secret", "webhook_url", "private_key", "Cookie"],
)  # fmt: skip
def test_a_field_with_the_name_of_a_secret_never_shows_its_value(name: str) -> None:
    assert redacted({"a": [{name: CANARY}]}) == {"a": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    "text",
    [
        f"pbkdf2_sha256$870000$salt${CANARY}",
        f"argon2$argon2id$v=19$m=1,t=2,p=8$c2FsdA${CANARY}",
        f"md5$salt${CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"postgres://backoffice_app:{CANARY}@localhost:5432/x",
        f"https://discord.com/api/webhooks/1/{CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_any_text(text: str) -> None:
    assert CANARY not in redacted_text(text) and HIDDEN in redacted_text(text)


def test_numbers_times_and_names_that_only_sound_alike_are_kept_as_plain_json() -> None:
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    given_ = {"key": "EURUSD", "tokens": 1, "amount": Decimal("1.50"), "at": at, "groups": {"b", "a"}, "monkey": "x"}
    assert redacted(given_, ["short"]) == {
        "key": "EURUSD", "tokens": HIDDEN, "amount": "1.5", "at": "2026-03-02T08:00:00.000000Z",
        "groups": ["a", "b"], "monkey": "x",
    }  # fmt: skip


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        redacted({"a": object()})
