"""What a web process does before its first request: load what every page needs, and leave it out of the search for garbage.

The rule here: nothing that was loaded at the start is ever walked through again. A page of fifty rows makes enough objects for
a full search now and then, and without this one in twenty would wait for a walk through every module and template.
"""

from __future__ import annotations

import gc
from pathlib import Path

from django.template import Engine
from django.template.loader import get_template
from django.urls import get_resolver


def up() -> None:
    """Load the addresses and the site's templates, and freeze everything that is there."""
    _ = get_resolver().url_patterns  # imports every view
    for directory in Engine.get_default().dirs:
        for page in Path(directory).rglob("*.html"):
            get_template(page.relative_to(directory).as_posix())
    gc.collect()
    gc.freeze()
