"""Every setting of Tieout, from the environment only; production is what you get when nothing is said.

`docs/configuration.md` lists the variables. TIEOUT_DEMO=1 is the trial on one machine that `make run` sets up:
loopback, plain HTTP, a key of its own in var/. DEBUG=1 is for work on the code and never on by itself.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ

from portal import database, logs

django_stubs_ext.monkeypatch()  # Paginator[...], ModelAdmin[...] and their kind exist at run time too
BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Which kind of process, which kind of installation
DEBUG: bool = env.bool("DEBUG", default=False)
DEMO: bool = env.bool("TIEOUT_DEMO", default=False)
PROCESS: str = env.str("TIEOUT_PROCESS", default="command")  # web, worker, beat or command
VAR_DIR = database.var_directory()
LOCAL = DEBUG or DEMO  # plain HTTP on loopback


def _demo_secret() -> str:
    """A trial's own key, made once and kept in var/ so that sessions survive a restart."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(64))
    return path.read_text()


def _demo_ring() -> list[str]:
    """A trial's own key for kept secrets, made once by whichever process is first."""
    path = VAR_DIR / "secret_ring"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{secrets.token_hex(8)}")
        made.touch(mode=0o600)
        made.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        with suppress(FileExistsError):
            os.link(made, path)
        made.unlink()
    return [path.read_text()]


SECRET_KEY: str = env.str("SECRET_KEY", default="") or (_demo_secret() if LOCAL else "")
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
SECRET_RING: list[str] = env.list("TIEOUT_SECRET_RING", default=[]) or (_demo_ring() if LOCAL else [])
CREDENTIAL_FOLDERS: list[str] = env.list(
    "TIEOUT_CREDENTIAL_FOLDERS", default=[str(VAR_DIR / "demo" / "credentials")] if LOCAL else ["/run/secrets"]
)
ALLOWED_HOSTS: list[str] = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", "testserver"] if LOCAL else []
)
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Apps
INSTALLED_APPS = [
    "portal",
    "reconciliation",
    "integrations",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "drf_spectacular",
    "rest_framework",
    "simple_history",
]
MIDDLEWARE = [
    "portal.origin.OriginMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.sessions.SessionLimitMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.plain_text.PlainTextMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
# Takes webhooks before the site's middleware does; a WSGI application around the site.
FRONT_DOOR = "integrations.webhooks.FrontDoor"
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
                "portal.screens.base.shell",
            ],
        },
    },
]
FORM_RENDERER = "portal.forms.Renderer"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Database
# Milliseconds per process kind. Nobody waits for a lock longer than people wait for a page.
_TIMEOUTS = {
    "web": {"statement_timeout": 15_000, "lock_timeout": 3_000, "idle_in_transaction_session_timeout": 30_000},
    "worker": {"statement_timeout": 60_000, "lock_timeout": 3_000, "idle_in_transaction_session_timeout": 30_000},
    "command": {"statement_timeout": 0, "lock_timeout": 10_000, "idle_in_transaction_session_timeout": 600_000},
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url(
        "DATABASE_URL", default=database.EmbeddedServer(VAR_DIR / "postgres").url() if LOCAL else "postgres:///"
    )
}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_HEALTH_CHECKS": True,
    "CONN_MAX_AGE": 60 if PROCESS == "web" else 0,
}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"] |= {
    "options": " ".join(f"-c {name}={value}" for name, value in _TIMEOUTS.get(PROCESS, _TIMEOUTS["command"]).items()),
    "application_name": f"tieout-{PROCESS}",
}

# Broker and cache; without REDIS_URL the broker is a directory and the cache is each process's own
REDIS_URL: str = env.str("REDIS_URL", default="")
BROKER_DIR = VAR_DIR / "broker"
CACHE_URL: str = env.str("CACHE_URL", default="")
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL or REDIS_URL}
    if CACHE_URL or REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# People
AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "portal.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
ACCOUNT_SESSION_REMEMBER = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]

# Idle and absolute ends of a session, in seconds; enforced by portal.sessions.
SESSION_IDLE_SECONDS = 30 * 60
SESSION_ABSOLUTE_SECONDS = 10 * 60 * 60
SESSION_COOKIE_AGE = SESSION_ABSOLUTE_SECONDS
SESSION_EXPIRE_AT_BROWSER_CLOSE = True

# Security
SECURE_SSL_REDIRECT = not LOCAL
SECURE_REDIRECT_EXEMPT = [r"^health/(live|ready)$"]  # probes come from inside, over plain HTTP
SECURE_HSTS_SECONDS = 0 if LOCAL else 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = not LOCAL
SECURE_HSTS_PRELOAD = not LOCAL
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
if env.bool("TRUST_PROXY_HEADERS", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ALLAUTH_TRUSTED_PROXY_COUNT: int = env.int("TRUSTED_PROXY_COUNT", default=0)
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not LOCAL
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "tieout_session" if LOCAL else "__Host-tieout_session"
CSRF_COOKIE_NAME = "tieout_csrf" if LOCAL else "__Host-tieout_csrf"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# What connections may reach
ALLOW_LOOPBACK: bool = env.bool("TIEOUT_ALLOW_LOOPBACK", default=LOCAL)
VENDOR_HOSTS: list[str] = env.list("TIEOUT_VENDOR_HOSTS", default=[])  # suffixes beside the connectors' own
TIME_SCALE: float = env.float("TIEOUT_TIME_SCALE", default=1.0)  # tests shrink every wait of the outbox by it

# Language, time, static files
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static" if LOCAL else BASE_DIR / "staticfiles"
if LOCAL:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # stays empty: a trial serves what the apps hold
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR_DIR / "files"}},
    "exports": {
        "BACKEND": env.str("EXPORTS_STORAGE", default="django.core.files.storage.FileSystemStorage"),
        "OPTIONS": env.json("EXPORTS_STORAGE_OPTIONS", default={"location": str(VAR_DIR / "exports")}),
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if LOCAL
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = LOCAL
WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 12 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # a bulk fix names its rows
FILE_UPLOAD_PERMISSIONS = 0o640

# Fixes: entries up to which a request dry-runs one at once; a larger one is planned by a worker
PLAN_AT_ONCE: int = env.int("TIEOUT_PLAN_AT_ONCE", default=5_000)

# Exports: how long a file lies, how long a silent worker holds one, and how many a person may make
EXPORT_LIFE = timedelta(days=env.int("TIEOUT_EXPORT_DAYS", default=7))
EXPORT_LEASE = timedelta(minutes=5)
EXPORTS_WINDOW = timedelta(hours=1)
EXPORTS_AN_HOUR: int = env.int("TIEOUT_EXPORTS_AN_HOUR", default=60)
EXPORTS_UNDER_WAY: int = env.int("TIEOUT_EXPORTS_UNDER_WAY", default=3)

# API
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "COERCE_DECIMAL_TO_STRING": True,
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tieout",
    "DESCRIPTION": "Every approved hour and expense, and what became of it.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
}
FILTERS_EMPTY_CHOICE_LABEL = "Any"
DJANGO_TABLES2_TEMPLATE = "django_tables2/table.html"
SIMPLE_HISTORY_HISTORY_CHANGE_REASON_USE_TEXT_FIELD = True
SIMPLE_HISTORY_ENFORCE_HISTORY_MODEL_PERMISSIONS = False

# What is written to the log
LOGGING = logs.configuration(readable=LOCAL, level=env.str("LOG_LEVEL", default="INFO"))

# Where the site answers, for links that leave it and for vendors that call us
SITE_URL: str = env.str(
    "SITE_URL", default="http://localhost:8000" if LOCAL else f"https://{''.join(ALLOWED_HOSTS[:1])}"
)

# E-mail; without EMAIL_URL it is written to the console
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 20  # seconds
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("EMAIL_FROM", default="Tieout <tieout@localhost>")

# A trial's sandbox and people
SANDBOX_URL: str = env.str("TIEOUT_SANDBOX_URL", default="")
DEMO_PASSWORD: str = env.str("TIEOUT_DEMO_PASSWORD", default="tie-out-demo") if DEMO else ""

# Used by nothing but the test runner's own speed; production hashes with Django's first choice.
if "pytest" in sys.modules:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
