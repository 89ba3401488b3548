"""Settings of the back office: everything from the environment, with defaults for the desk.

What always holds here: no password and no key has a default; the application and the migrations use different logins;
a number that guards money (time limits, acknowledgements) is pinned by a test.
"""

import os
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF

from backoffice import logs, schedules

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.path.abspath(os.environ.get("BACKOFFICE_VAR") or BASE_DIR / "var"))
env = environ.Env()

# --- Security -------------------------------------------------------------------------------------------------------
DEBUG = env.bool("BACKOFFICE_DEBUG", default=False)
# Empty means: whatever needs a key refuses to start. The desk makes one in `var/secrets.json`.
SECRET_KEY = env("BACKOFFICE_SECRET_KEY", default="")
ALLOWED_HOSTS = env.list("BACKOFFICE_ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("BACKOFFICE_TRUSTED_ORIGINS", default=[])
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
X_FRAME_OPTIONS = "DENY"
# Everything from here, nothing inline: the screens are tested to live with it.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# --- Applications ---------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "backoffice.apps.BackOfficeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "backoffice.apps.BackOfficeConfig",
    "trading",
    "reconciliation",
]
MIDDLEWARE = [
    "backoffice.context.RequestContext",  # the outermost: whatever answers knows which request it answers
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "backoffice.urls"
WSGI_APPLICATION = "backoffice.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


# --- Database: the application's login, and the owner's for migrations ----------------------------------------------
def database(url: str, *, server_options: dict[str, str], pool: bool = False, kept_seconds: int = 0) -> dict[str, Any]:
    """Django's description of a PostgreSQL database from its address; without one, a database that refuses all work."""
    if not url:
        return {"ENGINE": "django.db.backends.dummy"}
    config: dict[str, Any] = env.db_url_config(url)
    config["CONN_MAX_AGE"] = kept_seconds
    config["CONN_HEALTH_CHECKS"] = True
    config["ATOMIC_REQUESTS"] = False
    options = config.setdefault("OPTIONS", {})
    options["options"] = " ".join(f"-c {name}={value}" for name, value in server_options.items())
    options["connect_timeout"] = 5
    # A statement that comes again is prepared: the server reads and plans it once, which is most of its time.
    options["server_side_binding"] = True
    options["prepare_threshold"] = 5
    if pool:
        options["pool"] = {"min_size": 1, "max_size": 10, "timeout": 10}
    return config


def databases(environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """`default` under the application login, `owner` for migrations, from the environment's two addresses."""
    application_url = environment.get("DATABASE_URL", "")
    pooled = environment.get("BACKOFFICE_DATABASE_POOL") == "1"
    return {
        "default": database(
            application_url,
            server_options={
                "lock_timeout": "5s",
                "statement_timeout": "60s",
                "idle_in_transaction_session_timeout": "10s",
                "synchronous_commit": "on",
            },
            # Only the web keeps connections: pool threads do not survive the fork of a worker.
            pool=pooled,
            # A worker keeps its own from task to task: opening one takes longer than claiming an order.
            kept_seconds=0 if pooled else 60,
        ),
        "owner": database(
            environment.get("DATABASE_OWNER_URL") or application_url,
            server_options={"lock_timeout": "30s", "statement_timeout": "0"},
        ),
    }


DATABASES = databases(dict(os.environ))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People ---------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "trading.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# --- Time, language, static -----------------------------------------------------------------------------------------
TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en-gb"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

# --- The desk's own simulator: its control address, empty while no desk runs ----------------------------------------
DESK_SIMULATOR_URL = env("BACKOFFICE_SIMULATOR_URL", default="")
# Whether the home page leads a newcomer through the demo day.
BACKOFFICE_DEMO = env.bool("BACKOFFICE_DEMO", default=False)

# --- Redis and Celery: a hint to workers; PostgreSQL holds what is to be done ---------------------------------------
REDIS_URL = env("REDIS_URL", default="")


def broker_url(redis_url: str) -> str:
    """Celery's spelling of a Redis address. Empty without Redis: nobody is woken, the sweeps find the work."""
    if redis_url.startswith("unix://"):
        path, _, query = redis_url.removeprefix("unix://").partition("?")
        number = query.removeprefix("db=") or "0"
        return f"redis+socket://{path}?virtual_host={number}"
    return redis_url


CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A message that nobody acknowledged comes back after this many seconds: longer than any task may run.
    "visibility_timeout": 120,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "retry_on_timeout": False,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_TASK_TIME_LIMIT = 90
# Acknowledged when done, whatever the end: the sweep over PostgreSQL makes lost work again, with its own counter of
# attempts; a worker that died gives its message back.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ACKS_ON_FAILURE = True
CELERY_TASK_ACKS_ON_TIMEOUT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# KiB; a pool process that has grown beyond this is replaced after its task: months are longer than any test.
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 300_000
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_EVENT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_ENABLE_UTC = True
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "slow"
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_QUEUES = schedules.task_queues()
CELERY_TASK_ROUTES = schedules.ROUTES
CELERY_BEAT_SCHEDULE = schedules.SCHEDULE
# Rows in the database, made from the schedule above at each start; the admin only shows them (rule: no unaudited edit).
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# --- E-mail: the digest goes to these addresses, where there are any ------------------------------------------------
EMAIL_TO = env.list("BACKOFFICE_EMAIL_TO", default=[])
DEFAULT_FROM_EMAIL = env("BACKOFFICE_EMAIL_FROM", default="backoffice@localhost")
EMAIL_TIMEOUT = 10
globals().update(env.email_url("BACKOFFICE_EMAIL_URL", default="smtp://127.0.0.1:25"))

# --- Logs -----------------------------------------------------------------------------------------------------------
LOGGING = logs.configuration(level=env("BACKOFFICE_LOG_LEVEL", default="INFO"))
