"""``lxtlike serve``: the page, live, on this machine."""

from __future__ import annotations

import socket
import sys
from typing import Annotated, Any

import typer

from lxtlike.cli import options, session
from lxtlike.errors import InputError, LxtlikeError

HOST = "127.0.0.1"


def command(
    model: options.ModelOption = None,
    task: options.Task = "auto",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, metavar="N", help=f"On {HOST}; 0: any that is free.")
    ] = 8000,
    composite: options.Composite = "default",
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    strict: options.Strict = False,
    queue: Annotated[int, typer.Option("--queue", min=1, metavar="N", help="How many jobs may wait.")] = 8,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1000, metavar="N", help="How long a request may be.")
    ] = 50_000,
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Serve the page and a JSON API for one model on 127.0.0.1, until Ctrl-C."""
    uvicorn = _uvicorn()
    with _listening(port) as listener:
        taken = listener.getsockname()[1]
        with session.explaining(
            model,
            task=task,
            composite=composite,
            device=device,
            device_map=device_map,
            dtype=dtype,
            checkpointing=checkpointing,
            strict=strict,
            trust_remote_code=trust_remote_code,
        ) as explainer:
            from lxtlike.serve.app import application

            app = application(explainer, port=taken, waiting=queue, max_bytes=max_bytes)
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
            sys.stderr.write(f"{explainer.name} on http://{HOST}:{taken} (Ctrl-C ends it)\n")
            sys.stderr.flush()
            server = uvicorn.Server(config)
            server.run(sockets=[listener])
            if server.started:  # it only ends by being interrupted, and does not always raise that
                raise KeyboardInterrupt


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401 - the application needs it; better said before a model is loaded
        import uvicorn
    except ImportError as error:
        raise LxtlikeError("serve needs fastapi and uvicorn, which are not here: pip install 'lxtlike[web]'") from error
    return uvicorn


def _listening(port: int) -> socket.socket:
    """A socket on the port, taken before the model is loaded.

    Raises:
        InputError: the port is in use, or not for everybody.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}): choose another, or 0 for any") from error
