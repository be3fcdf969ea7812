"""The default chat client: of the model that runs inside this process."""

from graphflow.llm.client import ChatClient
from graphflow.llm.embedded import is_installed, serve

__all__ = ["is_installed", "local_client"]


def local_client() -> ChatClient:
    """Make a client of the embedded SmolLM2-135M, which the first call of a process starts.

    Returns:
        A client of its own; the server behind it is shared and lives as long as the process.

    Raises:
        NoModelError: The model is not installed; says what to type.
        ModelUnavailableError: The model could not be started.
    """
    return ChatClient.embedded(serve())
