"""The numbers that guard money are pinned here: whoever changes one must change this on purpose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.conf import settings

from backoffice import schedules
from backoffice.celery import app
from backoffice.settings import broker_url, databases
from tests.conftest import CommittedDatabase


def test_messages_come_back_only_after_the_longest_task_is_surely_dead() -> None:
    conf = app.conf
    assert conf.broker_transport_options == {
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": 1,
        "retry_on_timeout": False,
    }
    assert (conf.task_soft_time_limit, conf.task_time_limit) == (60, 90)
    assert conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]


def test_a_message_is_acknowledged_when_its_task_is_done() -> None:
    conf = app.conf
    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is True
    assert conf.task_acks_on_failure is True
    assert conf.task_acks_on_timeout is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_soft_shutdown_timeout == 10
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is True


def test_whoever_sends_never_waits_for_redis_and_nobody_reads_results() -> None:
    conf = app.conf
    assert conf.task_publish_retry is False
    assert conf.task_ignore_result is True
    assert conf.result_expires is None
    assert conf.task_serializer == conf.result_serializer == conf.event_serializer == "json"
    assert list(conf.accept_content) == ["json"]
    assert conf.timezone == "UTC"
    assert conf.enable_utc is True


def test_each_task_travels_in_the_queue_of_its_name_and_no_other_queue_appears() -> None:
    assert [queue.name for queue in app.conf.task_queues] == ["orders", "signals", "reconciliation", "slow"]
    assert app.conf.task_create_missing_queues is False
    for name in ("orders.send", "signals.tick", "reconciliation.run", "slow.digest"):
        assert app.amqp.router.route({}, name)["queue"].name == name.split(".")[0]


def test_ticks_expire_before_the_next_one_so_that_they_never_pile_up() -> None:
    entries = {entry["task"]: entry for entry in schedules.SCHEDULE.values()}
    assert {task: entry["schedule"] for task, entry in entries.items()} == {
        "signals.tick": 2.0,
        "orders.watch": 2.0,
        "reconciliation.tick": 5.0,
        "slow.settle": 30.0,
        "slow.overdue": 15.0,
        "slow.alerts": 15.0,
        "slow.anchor": 60.0,
        "slow.instruments": 600.0,
        "slow.snapshot": 600.0,
        "slow.digest": 30.0,
    }
    for entry in entries.values():
        assert 0 < entry["options"]["expire_seconds"] <= entry["schedule"]


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in schedules.SCHEDULE.values()} <= set(app.tasks)


def test_a_statement_that_hangs_is_ended_by_the_database(committed_db: CommittedDatabase) -> None:
    from django.db import connection

    wanted = {
        "lock_timeout": "5s",
        "statement_timeout": "1min",
        "idle_in_transaction_session_timeout": "10s",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(wanted)])
        assert dict(cursor.fetchall()) == wanted


def test_connections_are_pooled_only_in_the_web() -> None:
    url = {"DATABASE_URL": "postgresql://a:b@/c?host=/d", "DATABASE_OWNER_URL": "postgresql://o:b@/c?host=/d"}
    assert "pool" not in databases(url)["default"]["OPTIONS"]
    pooled = databases({**url, "BACKOFFICE_DATABASE_POOL": "1"})
    assert pooled["default"]["OPTIONS"]["pool"]["max_size"] >= 8
    assert "pool" not in pooled["owner"]["OPTIONS"]
    assert {config["CONN_MAX_AGE"] for config in pooled.values()} == {0}
    assert not any(config["ATOMIC_REQUESTS"] for config in pooled.values())


def test_a_worker_keeps_its_connection_from_task_to_task_and_looks_whether_it_lives() -> None:
    kept = databases({"DATABASE_URL": "postgresql://app:x@/books"})
    assert [kept["default"][name] for name in ("CONN_MAX_AGE", "CONN_HEALTH_CHECKS")] == [60, True]
    assert kept["owner"]["CONN_MAX_AGE"] == 0


def test_cookies_are_closed_to_scripts_and_other_sites() -> None:
    assert settings.SESSION_COOKIE_HTTPONLY and settings.CSRF_COOKIE_HTTPONLY
    assert (settings.SESSION_COOKIE_SAMESITE, settings.CSRF_COOKIE_SAMESITE) == ("Lax", "Strict")
    assert settings.SESSION_ENGINE == "django.contrib.sessions.backends.db"
    assert settings.DEBUG is False


@pytest.mark.parametrize(
    ("redis", "celery"),
    [
        ("unix:///run/x/redis.sock?db=0", "redis+socket:///run/x/redis.sock?virtual_host=0"),
        ("unix:///run/x/redis.sock", "redis+socket:///run/x/redis.sock?virtual_host=0"),
        ("redis://10.0.0.1:6379/2", "redis://10.0.0.1:6379/2"),
        ("", ""),
    ],
)
def test_one_redis_address_serves_redis_py_and_celery(redis: str, celery: str) -> None:
    assert broker_url(redis) == celery


@pytest.mark.parametrize(
    ("module", "left_out"), [("backoffice.wsgi", "BACKOFFICE_SECRET_KEY"), ("backoffice.wsgi", "DATABASE_URL")]
)
def test_the_web_refuses_to_start_without_key_or_database(module: str, left_out: str) -> None:
    environment = {**os.environ, "BACKOFFICE_SECRET_KEY": "k", "DATABASE_URL": "postgresql://a:b@/c?host=/d"}
    del environment[left_out]
    answer = subprocess.run(
        [sys.executable, "-c", f"import {module}"], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode != 0
    assert f"{left_out} must be set" in answer.stderr


def test_a_worker_refuses_to_start_without_a_queue_to_listen_to() -> None:
    environment = {**os.environ, "BACKOFFICE_SECRET_KEY": "k", "DATABASE_URL": "postgresql://a:b@/c?host=/d"}
    environment.pop("REDIS_URL", None)
    answer = subprocess.run(
        [sys.executable, "-m", "celery", "--app", "backoffice.celery", "worker", "--pool", "solo"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode != 0
    assert "REDIS_URL must be set" in answer.stderr + answer.stdout
