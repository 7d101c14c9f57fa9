"""The sandbox that the tests of this folder speak to, and a NetSuite account in it.

Fixtures that other vendors need as well are named for what they are; a vendor's own start with its name.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.sandbox.server import control, sandbox_server
from tests.integrations import bc_account, finance_account, netsuite_account, operations_account
from tests.integrations import sftp_server as sftp
from tests.integrations.contract import Bench


@pytest.fixture(scope="session")
def sandbox() -> Iterator[str]:
    """The address of a running sandbox with every vendor, kept in memory."""
    with sandbox_server() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sftp.Server]:
    """A real sshd on this machine, with a key of its own."""
    with sftp.running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def netsuite(sandbox: str) -> Iterator[Bench]:
    """A freshly seeded NetSuite account, signed in to by certificate."""
    control(sandbox, "POST", "netsuite/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "netsuite/seed", netsuite_account.SEED)
    control(sandbox, "POST", "netsuite/configure", {"async_seconds": 0.05})
    yield netsuite_account.bench(sandbox)
    control(sandbox, "DELETE", "faults")


@pytest.fixture
def businesscentral(sandbox: str) -> Iterator[Bench]:
    """A freshly seeded company in Business Central."""
    control(sandbox, "POST", "businesscentral/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "businesscentral/seed", bc_account.SEED)
    yield bc_account.bench(sandbox)
    control(sandbox, "DELETE", "faults")


@pytest.fixture
def dynamicsfinance(sandbox: str) -> Iterator[Bench]:
    """A freshly seeded company in Dynamics 365 Finance."""
    control(sandbox, "POST", "dynamicsfinance/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "dynamicsfinance/seed", finance_account.SEED)
    yield finance_account.bench(sandbox)
    control(sandbox, "DELETE", "faults")


@pytest.fixture
def projectoperations(sandbox: str) -> Iterator[Bench]:
    """A freshly seeded environment of Project Operations."""
    control(sandbox, "POST", "projectoperations/reset", {})
    control(sandbox, "DELETE", "faults")
    control(sandbox, "POST", "projectoperations/seed", operations_account.SEED)
    yield operations_account.bench(sandbox)
    control(sandbox, "DELETE", "faults")
