"""The parts of an OpenAI request that speak of tools and forms, checked: tools, tool_choice, response_format, calls."""

from __future__ import annotations

import json
import re
from typing import Any

from headwater.chat.types import UnsupportedParameter
from headwater.core.errors import BadInput

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
TOOLS_MAX = 128
DEPTH_MAX = 100


class Malformed(BadInput):
    """`param` names the field, as OpenAI's errors do."""

    def __init__(self, message: str, param: str | None):
        super().__init__(message)
        self.param = param


def read_tools(given: Any, choice: Any) -> tuple[tuple[dict[str, Any], ...], str]:
    """(function tools, "auto" | "required" | name of the one to call). Without tools, or with `none`: ((), "auto")."""
    if given is not None and not isinstance(given, list):
        raise Malformed("tools: must be a list.", "tools")
    if len(given or ()) > TOOLS_MAX:
        raise Malformed(f"tools: at most {TOOLS_MAX}.", "tools")
    tools = tuple(_tool(n, tool) for n, tool in enumerate(given or ()))
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise Malformed("tools: two have the same name.", "tools")
    chosen = _choice(choice, names)
    return ((), "auto") if chosen == "none" or not tools else (tools, chosen)


def _tool(n: int, tool: Any) -> dict[str, Any]:
    where = f"tools[{n}]"
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind != "function":
        raise UnsupportedParameter(f"{where} is of type {str(kind)[:100]!r}; only function tools are called.",
                                   param="tools")
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Malformed(f"{where}.function.name: must be letters, digits, '_', '-' and '.', at most 128.", "tools")
    if not isinstance(function.get("description"), str | None):
        raise Malformed(f"{where}.function.description: must be text.", "tools")
    parameters = function.get("parameters")
    return {"type": "function", "function": {
        "name": name, "description": function.get("description") or "",
        "parameters": check_schema(parameters, f"{where}.function.parameters", "tools") if parameters is not None
        else {"type": "object", "properties": {}}}}


def _choice(choice: Any, names: list[str]) -> str:
    if choice in (None, "auto", "none"):
        return choice or "auto"
    if choice == "required":
        if not names:
            raise Malformed("tool_choice: required, and there are no tools.", "tool_choice")
        return "required"
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, dict) else None
        if name not in names:
            raise Malformed(f"tool_choice: {str(name)[:100]!r} is none of the tools.", "tool_choice")
        return name
    raise UnsupportedParameter("tool_choice must be auto, none, required or one function.", param="tool_choice")


def read_form(given: Any) -> dict[str, Any] | None:
    """The JSON schema an answer must have; {} any object, None free text."""
    kind = given.get("type") if isinstance(given, dict) else given
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        raise UnsupportedParameter("response_format must be of type text, json_object or json_schema.",
                                   param="response_format")
    said = given.get("json_schema")
    return check_schema(said.get("schema") if isinstance(said, dict) else None,
                        "response_format.json_schema.schema", "response_format")


def check_schema(schema: Any, where: str, param: str) -> dict[str, Any]:
    """The schema; what it means is the engine's to say. Raises Malformed: no object, a foreign reference, too deep."""
    if not isinstance(schema, dict):
        raise Malformed(f"{where}: must be a JSON schema (an object).", param)
    waiting = [(schema, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise Malformed(f"{where}: nested deeper than {DEPTH_MAX}.", param)
        if isinstance(node, dict) and isinstance(ref := node.get("$ref"), str) and not ref.startswith("#"):
            raise Malformed(f"{where}: $ref {ref[:100]!r} leads outside the schema.", param)
        inner = node.values() if isinstance(node, dict) else node
        waiting += [(value, depth + 1) for value in inner if isinstance(value, dict | list)]
    return schema


def read_calls(where: str, given: Any) -> list[dict[str, Any]]:
    """tool_calls of an assistant message. arguments stay the JSON text they are."""
    calls = []
    for call in given if isinstance(given, list) else [given]:
        function = call.get("function") if isinstance(call, dict) else None
        name, arguments = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else (0, 0)
        if not isinstance(name, str) or not isinstance(arguments, str) or not isinstance(call.get("id"), str):
            raise Malformed(f"{where}.tool_calls: each wants an id and a function with name and arguments as text.",
                            where)
        try:
            fine = isinstance(json.loads(arguments), dict)
        except (ValueError, RecursionError):
            fine = False
        if not fine:
            raise Malformed(f"{where}.tool_calls: the arguments of {name[:100]!r} are no JSON object.", where)
        calls.append({"id": call["id"], "type": "function", "function": {"name": name, "arguments": arguments}})
    return calls
