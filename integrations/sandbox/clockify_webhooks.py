"""Clockify's webhooks as they leave the stand-in: one after the other, tried again, kept with what was answered.

They bear a shared token and no signature, no time and no number of their own, and go to this machine only.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import Any

from integrations.sandbox import outgoing
from integrations.sandbox.store import Store

_TRIES = 3


class Deliveries:
    """Every delivery over one store. While they are held they wait for `again`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.are_held = False
        self._outgoing: queue.Queue[dict[str, Any]] = queue.Queue()
        self._sender: threading.Thread | None = None

    def send(self, webhook: Mapping[str, Any], event: str, body: str, token: str, *, at_once: bool = False) -> None:
        """Keep a delivery, and send it where they are not held."""
        key = f"{self.store.next_id('delivery'):012d}"
        delivery = {"id": key, "webhookId": webhook["id"], "url": webhook["url"], "event": event, "body": body}
        delivery |= {"token": token, "status": "HELD", "answers": []}
        self.store.collection("deliveries")[key] = delivery
        if at_once or not self.are_held:
            self._enqueue(delivery)

    def again(self, times: int, order: str, token: str) -> None:
        """Send every delivery so far once more, in its order or in reverse, with its token or another one."""
        deliveries = list(self.store.collection("deliveries").values())
        for delivery in reversed(deliveries) if order == "reversed" else deliveries:
            for _ in range(times):
                webhook = {"id": delivery["webhookId"], "url": delivery["url"]}
                self.send(webhook, delivery["event"], delivery["body"], token or delivery["token"], at_once=True)

    def shown(self) -> list[dict[str, Any]]:
        """Each delivery with what was answered."""
        names = ("id", "event", "status", "answers")
        return [{name: item[name] for name in names} for item in self.store.collection("deliveries").values()]

    def _enqueue(self, delivery: dict[str, Any]) -> None:
        if self._sender is None:
            self._sender = threading.Thread(target=self._run, name="clockify-webhooks", daemon=True)
            self._sender.start()
        self._outgoing.put(delivery)

    def _run(self) -> None:
        while True:
            delivery = self._outgoing.get()
            headers = {"clockify-signature": delivery["token"], "clockify-webhook-event-type": delivery["event"]}
            for _ in range(_TRIES):
                status, _text = outgoing.call("POST", delivery["url"], delivery["body"], headers)
                delivery["answers"].append(status)
                if status < 500:
                    break
                time.sleep(0.2)
            delivery["status"] = "SUCCEEDED" if delivery["answers"][-1] < 300 else "FAILED"
            try:
                with self.store.lock:
                    if delivery["id"] in self.store.collection("deliveries"):
                        self.store.collection("deliveries")[delivery["id"]] = delivery
            except sqlite3.ProgrammingError:  # the sandbox was stopped meanwhile and keeps nothing any more
                return
            self._outgoing.task_done()
