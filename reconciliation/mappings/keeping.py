"""The rows of mappings are kept, and written anew when something that they are made of changed.

The rule here: what a person or a system changed shows at once. The open work beside it may be a minute old where counting
it takes more than a fifth of a second, and the page says from when it is.
"""

from __future__ import annotations

from datetime import datetime

from reconciliation.sql import mappings as sql


def bring_up_to_date() -> datetime:
    """Write the rows anew if they may say something else by now; from when they are.

    Of several who come at once one writes, and the others find it written.
    """
    return sql.keep()
