"""The sandbox that the tests of this folder speak to, and a NetSuite account in it.

Fixtures that other vendors need as well are named for what they are; a vendor's own start with its name.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.sandbox.server import control, sandbox_server
from tests.conftest import free_port
from tests.integrations import bc_account, finance_account, netsuite_account, operations_account, tryton_account
from tests.integrations import sftp_server as sftp
from tests.integrations.contract import Bench
from tests.tryton import server as tryton_program
from tests.tryton.wire import wired


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


@pytest.fixture(scope="session")
def tryton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tryton_program.Tryton]:
    """A real Tryton on this machine, with a firm of its own for this process."""
    with tryton_program.running(tmp_path_factory.mktemp("tryton"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def tryton_wire(tryton_server: tryton_program.Tryton) -> Iterator[str]:
    """The way to it that can be broken."""
    with wired(tryton_server) as base:
        yield base


@pytest.fixture
def tryton(tryton_server: tryton_program.Tryton, tryton_wire: str) -> Iterator[Bench]:
    """The company on Tryton. What tests write stays: they use keys and numbers of their own."""
    control(tryton_wire, "DELETE", "faults")
    control(tryton_wire, "POST", "tryton/configure", {"clock_skew": 0, "answers": {}, "remembers": False})
    yield tryton_account.bench(tryton_server, tryton_wire)
    control(tryton_wire, "DELETE", "faults")


@pytest.fixture(scope="session")
def billed(tryton_server: tryton_program.Tryton) -> int:
    """An invoice of some hours that was paid in part; its id."""
    return tryton_account.billed(tryton_server)
