"""What a webhook must prove: that whoever sent it knows a secret of ours. Compared in constant time, over the raw body.

While a secret is rotated both are good, and a vendor that gives each of its webhooks a secret of its own has several: every
secret of the account whose name begins with the one that is asked for is active.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from integrations.account import Account
from integrations.errors import Unauthorised


def check_shared_secret(
    account: Account, headers: Mapping[str, str], header: str, secrets: str, expected: Callable[[str], str] = str
) -> None:
    """Compare a header with what each active secret would have put there; raises Unauthorised, which names no secret.

    `secrets` begins the names of the active secrets; `expected` is what the sender makes of one (by default the secret itself).
    """
    given = next((value for name, value in headers.items() if name.lower() == header.lower()), "")
    active = [secret for name, secret in account.secrets.items() if name.startswith(secrets) and secret]
    if not active:
        raise Unauthorised(f"Connection {account.code} has no secret {secrets}, so no webhook can be believed.")
    matches = [hmac.compare_digest(given.encode(), expected(secret).encode()) for secret in active]
    if not given or not any(matches):
        raise Unauthorised(f"The {header} header of a webhook is {'not ours' if given else 'missing'}.")
