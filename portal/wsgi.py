"""The web process: what granian serves. Webhooks are taken at the front door, before the site's sessions."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

from portal import warm

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ.setdefault("TIEOUT_PROCESS", "web")

site = get_wsgi_application()
application = import_string(settings.FRONT_DOOR)(site)
warm.up()
