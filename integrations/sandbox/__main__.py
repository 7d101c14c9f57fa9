"""`python -m integrations.sandbox --port N --state DIR`: the stand-ins of all vendors on this machine, until interrupted."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from pathlib import Path

from integrations.sandbox import VENDORS
from integrations.sandbox.server import SandboxServer


def main() -> int:
    """Serve until SIGINT or SIGTERM; 1 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m integrations.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, help="directory that keeps what was written; without it nothing is kept")
    parser.add_argument("--vendor", action="append", choices=sorted(VENDORS), help="only this one; may be repeated")
    options = parser.parse_args()
    try:
        server = SandboxServer(options.port, options.state, options.vendor)
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen on 127.0.0.1:{options.port}: {error.strerror}.\n")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    sys.stdout.write(f"sandbox: {server.base_url} serves {', '.join(server.vendors)}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
