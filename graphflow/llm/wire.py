"""The chat API's bodies: what a request holds, and what an answer says."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.errors import ModelAnswerError

__all__ = [
    "Answer",
    "Prompt",
    "Reply",
    "Usage",
    "beginning",
    "choice_in",
    "choice_schema",
    "chosen_word",
    "json_text",
    "messages",
    "read_body",
    "read_reply",
    "response_format",
    "understood",
    "usage_in",
    "word_grammar",
]

Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation: `{"role": ..., "content": ...}`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, and what it cost by the server's own count."""

    text: str
    model: str
    """The model's name as the server gave it."""
    input_tokens: int | None
    """Cached ones included; None when the server gave no count."""
    output_tokens: int | None
    cached_tokens: int | None
    finish_reason: str | None
    """`stop`; `length` when the answer was cut at max_tokens."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The server's token counts; None is what it did not give."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A body that the server sent: its text, and what the text holds."""

    text: str
    body: Mapping[str, Any]


def beginning(text: str, length: int = 200) -> str:
    """Quote the beginning of a text on one line."""
    return repr(text if len(text) <= length else text[:length] + "...")


def json_text(value: object) -> str:
    """Write JSON that is readable and survives UTF-8.

    Raises:
        ValueError: The value holds inf or nan.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be sent escaped
        return json.dumps(value, allow_nan=False)
    return text


def messages(prompt: Prompt, system: str | None) -> list[dict[str, Any]]:
    """Make the messages of a request.

    Raises:
        TypeError: The prompt is neither a text nor messages.
    """
    head = [{"role": "system", "content": system}] if system else []
    if isinstance(prompt, str):
        return [*head, {"role": "user", "content": prompt}]
    turns = [dict(turn) if isinstance(turn, Mapping) else {} for turn in prompt]
    if not turns or not all("role" in turn and "content" in turn for turn in turns):
        raise TypeError(
            f"prompt={beginning(repr(prompt))}: give a text, or a list of messages such as "
            '[{"role": "user", "content": "Hello"}]'
        )
    return head + turns


def _closed(node: Any) -> Any:
    """Require every property and forbid others, as strict servers and small models need it."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):
            out[key] = {name: _closed(schema) for name, schema in value.items()}
        elif key != "default":
            out[key] = value if key in ("enum", "const", "examples") else _closed(value)
    if "properties" in out:
        out["required"] = list(out["properties"])
        out.setdefault("additionalProperties", False)
    return out


def _holds(node: Any, test: Callable[[dict[str, Any]], bool]) -> bool:
    if isinstance(node, dict):
        return test(node) or any(_holds(value, test) for value in node.values())
    return isinstance(node, list) and any(_holds(item, test) for item in node)


def _is_open(node: dict[str, Any]) -> bool:
    return node.get("type") == "object" and node.get("additionalProperties") is not False


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for an answer that fits a JSON schema.

    Every property is required, also those with a default: strict servers insist on it, and a
    small model would leave them all out. A schema with free keys is sent as not strict.

    Source:
        https://platform.openai.com/docs/guides/structured-outputs
    """
    closed = _closed(dict(schema))
    label = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]
    body = {"name": label, "strict": not _holds(closed, _is_open), "schema": closed}
    return {"type": "json_schema", "json_schema": body}


def understood(node: Any) -> Any:
    """Leave out of a schema the patterns that llama.cpp cannot turn into a grammar.

    It would ignore them as well, but says so on the terminal of the process that it runs in.

    Source:
        https://github.com/ggml-org/llama.cpp/blob/master/common/json-schema-to-grammar.cpp
    """
    if isinstance(node, list):
        return [understood(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: understood(value) for key, value in node.items()}
    pattern = kept.get("pattern")
    anchored = isinstance(pattern, str) and pattern.startswith("^") and pattern.endswith("$")
    if isinstance(pattern, str) and (not anchored or "(?" in pattern):
        del kept["pattern"]
    return kept


def choice_schema(options: Sequence[str]) -> dict[str, Any]:
    """The schema of `{"choice": one of the options}`."""
    choice = {"type": "string", "enum": list(options)}
    return {"type": "object", "properties": {"choice": choice}, "required": ["choice"]}


def word_grammar(options: Sequence[str], lead: str) -> str:
    """Write a GBNF grammar that allows one of the options and nothing else.

    Args:
        options: Without control characters.
        lead: What stands before the option: a space, or nothing at the start of a line.

    Source:
        https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
    """
    words = " | ".join(json.dumps(option, ensure_ascii=False) for option in options)
    # Where one option begins another, only the line's end tells that the shorter one was meant.
    nested = any(a != b and b.startswith(a) for a in options for b in options)
    return f"root ::= {json.dumps(lead)} ({words})" + (' "\\n"' if nested else "")


def read_body(text: str, where: str, *, choices: bool = True) -> Answer:
    """Read a body.

    Args:
        text: The body.
        where: The URL, for the message.
        choices: Whether it must hold the model's answer.

    Raises:
        ModelAnswerError: It is not JSON, or not an answer of the chat API.
    """
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ModelAnswerError(
            f"{where} did not answer with a JSON object but with {beginning(text)}: "
            "is it an OpenAI-compatible server, and is the base URL right (most end in /v1)?"
        )
    listed = body.get("choices")
    if choices and not (isinstance(listed, list) and listed and isinstance(listed[0], dict)):
        raise ModelAnswerError(f"{where} answered without choices: {beginning(text)}")
    return Answer(text, body)


def _count(holder: object, key: str) -> int | None:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def usage_in(body: Mapping[str, Any]) -> Usage:
    """Read the server's token counts; what it did not give is None, never an estimate."""
    usage = body.get("usage")
    if isinstance(usage, dict):
        cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
        return Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"), cached)
    return Usage(  # llama.cpp's own /completion
        _count(body, "tokens_evaluated"),
        _count(body, "tokens_predicted"),
        _count(body.get("timings"), "cache_n"),
    )


def read_reply(answer: Answer) -> Reply:
    """Read the first choice, of a chat or of a completion.

    Raises:
        ModelAnswerError: The choice holds no text: a refusal, or calls of tools.
    """
    choice = answer.body["choices"][0]
    message = choice.get("message")
    holder = message if isinstance(message, dict) else {"content": choice.get("text")}
    text = holder.get("content")
    if not isinstance(text, str):
        refusal = holder.get("refusal")
        what = f"refused: {beginning(refusal)}" if isinstance(refusal, str) else "gave no text"
        raise ModelAnswerError(f"the model {what}. The answer: {beginning(answer.text)}")
    usage, reason = usage_in(answer.body), choice.get("finish_reason")
    return Reply(
        text=text,
        model=str(answer.body.get("model") or ""),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        finish_reason=reason if isinstance(reason, str) else None,
    )


def chosen_word(word: str, options: Sequence[str]) -> str:
    """Take the answer as one of the options.

    Raises:
        ModelAnswerError: It is none of them.
    """
    if word.strip() not in options:
        raise ModelAnswerError(
            f"the model chose none of {', '.join(map(repr, options))}: {beginning(word)}"
        )
    return word.strip()


def choice_in(reply: Reply, options: Sequence[str]) -> str:
    """Read the option out of `{"choice": option}`.

    Raises:
        ModelAnswerError: The answer is something else.
    """
    try:
        word = json.loads(reply.text)["choice"]
    except (ValueError, TypeError, KeyError):
        word = reply.text
    return chosen_word(word if isinstance(word, str) else reply.text, options)
