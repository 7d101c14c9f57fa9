"""`python -m portal.probe`: whether the web server of this container takes requests. Exit code 0 or 1."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def is_ready(host: str, port: int, name: str = "localhost") -> bool:
    """Ask /health/ready there, under a host name that the site answers to, past any proxy of the environment."""
    request = urllib.request.Request(f"http://{host}:{port}/health/ready", headers={"Host": name})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    allowed = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0]
    sys.exit(not is_ready("127.0.0.1", int(os.environ.get("PORT", "8000")), allowed))
