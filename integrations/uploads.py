"""Files that a person uploads: kept as they came, shown row by row, and filed in the inbox when the person says so.

The rule here: an upload goes the way of every other record, so a row means the same whether it came by folder or by hand; what
cannot be read is shown with its row and is filed all the same, for operations, so that nothing of the file is lost.
"""

from __future__ import annotations

import hashlib

from django.db import transaction

from integrations import registry
from integrations.connectors.files.connector import FilesConnector, Preview
from integrations.errors import Malformed
from integrations.models import Run, UploadedFile
from integrations.sql import inbound
from portal import access, audit, sql
from portal.models import Connection, User

LIMIT = 10 * 1024 * 1024  # bytes


class UploadRefused(Exception):
    """Why a file is not taken; the text is for the person."""


def receive(connection: Connection, stream: str, name: str, content: bytes, *, user: User) -> UploadedFile:
    """Keep a file for its preview. Raises UploadRefused for what is not a file of this connection, or was filed before."""
    access.require(user, access.OPERATORS, connection.entity_id)
    connector = _connector(connection)
    if stream not in connector.streams:
        raise UploadRefused(f"{connection} has no stream “{stream}”; expected one of {', '.join(connector.streams)}.")
    if len(content) > LIMIT:
        raise UploadRefused(
            f"“{name}” has {len(content):,} bytes; at most {LIMIT:,} are taken. Split it by week or person."
        )
    digest = hashlib.sha256(content).hexdigest()
    earlier = UploadedFile.objects.filter(connection=connection, digest=digest, state=UploadedFile.State.FILED).first()
    if earlier is not None:
        raise UploadRefused(
            f"“{name}” is the same file as “{earlier.name}”, filed on {earlier.uploaded_at:%d %b %Y} by {earlier.uploaded_by}."
        )
    upload = UploadedFile(
        connection=connection, stream=stream, name=name[:255], content=content, digest=digest, uploaded_by=user,
        uploaded_at=sql.now(),
    )  # fmt: skip
    shown = preview(upload)
    upload.rows = len(shown.rows)
    upload.problems = [problem.as_payload() for problem in shown.problems]
    upload.save()
    return upload


def preview(upload: UploadedFile) -> Preview:
    """The file row by row: what each becomes, or why it cannot be read. Raises UploadRefused when none can."""
    try:
        return _connector(upload.connection).preview(
            upload.stream, upload.name, bytes(upload.content), upload.uploaded_at
        )
    except Malformed as fault:
        raise UploadRefused(f"“{upload.name}” cannot be read: {fault.detail}") from fault


def file(upload: UploadedFile, *, user: User) -> Run:
    """Put the file's rows into the inbox, once; the run that tells how many were new."""
    access.require(user, access.OPERATORS, upload.connection.entity_id)
    records = preview(upload).records
    with transaction.atomic():
        locked = UploadedFile.objects.select_for_update().get(pk=upload.pk)
        if locked.state != UploadedFile.State.PREVIEW:
            raise UploadRefused(f"“{locked.name}” is {locked.get_state_display().lower()} already.")
        moment = sql.now()
        run = Run.objects.create(
            connection=locked.connection, stream=locked.stream, trigger=Run.Trigger.UPLOAD, state=Run.State.DONE,
            started_at=moment, heartbeat_at=moment, finished_at=moment, pages=1, read=len(records), requested_by=user,
        )  # fmt: skip
        run.filed = inbound.file_records(locked.connection_id, records, run_id=run.pk, with_care=True)
        run.repeated = run.read - run.filed
        run.save(update_fields=["filed", "repeated"])
        locked.state = UploadedFile.State.FILED
        locked.run_id = run.pk
        locked.save(update_fields=["state", "run_id"])
        audit.record(
            user, "upload.filed", locked, entity=locked.connection.entity_id,
            after={"rows": run.read, "new": run.filed, "digest": locked.digest},
        )  # fmt: skip
    return run


def discard(upload: UploadedFile, *, user: User) -> None:
    """Leave the file unfiled; it is kept."""
    access.require(user, access.OPERATORS, upload.connection.entity_id)
    with transaction.atomic():
        changed = UploadedFile.objects.filter(pk=upload.pk, state=UploadedFile.State.PREVIEW).update(
            state=UploadedFile.State.DISCARDED
        )
        if not changed:
            raise UploadRefused(f"“{upload.name}” is no preview any more.")
        audit.record(user, "upload.discarded", upload, entity=upload.connection.entity_id)


def _connector(connection: Connection) -> FilesConnector:
    connector = registry.source(connection)
    if not isinstance(connector, FilesConnector):
        raise UploadRefused(f"{connection} is read by {connection.connector}, not from files.")
    return connector
