"""An application as tests reach it: a client inside the process, or a real port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from lxtlike import Explainer
from lxtlike.serve.app import application

PORT = 8000
ENDED = ("done", "failed", "cancelled")


class Client(TestClient):
    """Asks an application as if it were reached on PORT."""

    def __init__(self, explainer: Explainer, **limits: int) -> None:
        made = application(explainer, port=PORT, **limits)
        super().__init__(made, base_url=f"http://127.0.0.1:{PORT}")

    def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """The job that a POST makes."""
        answer = self.post(f"/api/{path}", json=fields)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        assert answer.headers["location"] == f"/api/jobs/{job['id']}"
        return job

    def wait(self, job: Mapping[str, Any], *states: str) -> dict[str, Any]:
        """The job as soon as it is in one of the states (without any: as soon as it has ended)."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            now: dict[str, Any] = self.get(f"/api/jobs/{job['id']}").json()
            if now["state"] in (states or ENDED):
                return now
            assert now["state"] not in ENDED, now
            time.sleep(0.01)
        raise AssertionError(f"still {now}")

    def result(self, job: Mapping[str, Any], kind: str = "result", **query: str) -> Any:
        """The answer with the job's result, when it has ended."""
        self.wait(job)
        return self.get(f"/api/jobs/{job['id']}/{kind}", params=query)


@contextmanager
def served(explainer: Explainer, **limits: int) -> Iterator[str]:
    """Serves an explainer on a port of its own for the time of the block; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application(explainer, port=port, **limits), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
