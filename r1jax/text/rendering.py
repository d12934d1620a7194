"""Renders chat templates, programs that strangers wrote (jinja2, in the dialect of transformers), in a sandbox.

A template reaches no attribute that begins with an underscore, changes nothing that it is given, loads no other file,
and stops with an error after STEPS turns of its loops or LENGTH characters. What is not bounded: the time and memory of
a single call, such as padding or replacing in a string; who renders templates of checkpoints that he does not trust
gives the process a limit of memory.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from r1jax.core.errors import DataError

STEPS = 100_000  # turns of loops and calls of macros in one rendering
LENGTH = 4_000_000  # characters of a rendering, and of a string or items of a list on the way
BITS = 10_000  # of a whole number

Message = Mapping[str, Any]


class _CallJoin(NodeTransformer):
    """Has `a ~ b` made by the sandbox's `join`, which looks at the length."""

    def visit_Concat(self, node):  # noqa: N802 (jinja2's name)
        self.generic_visit(node)
        return _call("join", node.nodes, node.lineno)


def _call(name: str, arguments: list, line: int) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None).set_lineno(line)


class _Sandbox(ImmutableSandboxedEnvironment):
    """One rendering's environment: it counts steps, and refuses what grows beyond the bounds."""

    intercepted_binops = frozenset(("+", "*", "**"))

    def __init__(self, now: datetime):
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
        self._taken = 0
        self.filters["tojson"] = _to_json
        self.globals |= {"raise_exception": _raise, "strftime_now": lambda form: now.strftime(form),
                         "namespace": _Namespace}

    def step(self) -> bool:
        """Counts one turn of a loop."""
        self._taken += 1
        if self._taken > STEPS:
            raise jinja2.TemplateError(f"it takes more than {STEPS} steps")
        return True

    def unsafe_undefined(self, obj, attribute):
        """An attribute that is out of bounds: an error, where jinja2 has an empty text."""
        raise jinja2.sandbox.SecurityError(f"it reaches for {attribute!r} of a {type(obj).__name__}")

    def concat(self, parts: Iterable[str]) -> str:
        """The text of a macro or of a block that a variable takes."""
        parts = list(parts)
        _check_length(sum(map(len, parts)))
        return "".join(parts)

    def join(self, *parts) -> str:
        """`a ~ b`."""
        return self.concat(map(str, parts))

    def call_binop(self, context, operator, left, right):
        """`+`, `*` and `**` of values whose result stays within the bounds."""
        if isinstance(left, int) and isinstance(right, int):
            sizes = (left.bit_length(), right.bit_length())
            if (sizes[0] * abs(right) if operator == "**" else sum(sizes)) > BITS:
                raise jinja2.TemplateError(f"it makes a number of more than {BITS} bits")
        elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _check_length(len(left) + len(right))
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if hasattr(many, "__len__") and isinstance(times, int):
                    _check_length(len(many) * times)
        return super().call_binop(context, operator, left, right)


class _Namespace(jinja2.utils.Namespace):
    """A template's variables; none of them may pass for one of Python's own attributes."""

    def __init__(self, *given, **named):
        super().__init__()
        for name, value in dict(*given, **named).items():
            self[name] = value

    def __setitem__(self, name, value):
        if str(name).startswith("_"):
            raise jinja2.sandbox.SecurityError(f"it sets {name!r} of a namespace")
        super().__setitem__(name, value)


def _check_length(length: int) -> None:
    if length > LENGTH:
        raise jinja2.TemplateError(f"it makes more than {LENGTH} characters")


def _raise(message: Any) -> None:
    raise jinja2.TemplateError(str(message))


def _to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    """As in transformers: characters stay as they are, and nothing is escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@functools.lru_cache(maxsize=16)
def _compiled(template: str):
    """A template's code; its loops and macros count their turns."""
    if len(template) > LENGTH:
        raise jinja2.TemplateError(f"it is longer than {LENGTH} characters")
    sandbox = _Sandbox(datetime.min)
    tree = _CallJoin().visit(sandbox.parse(template))
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        node.body.insert(0, nodes.ExprStmt(_call("step", [], node.lineno)).set_lineno(node.lineno))
        if isinstance(node, nodes.For) and node.test is not None:
            node.test = nodes.And(_call("step", [], node.lineno), node.test).set_lineno(node.lineno)
    return sandbox.compile(tree.set_environment(sandbox))


def plain(value: Any) -> Any:
    """A copy of JSON's types alone: an object of another kind would bring methods into the sandbox."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise DataError(f"A message holds a {type(value).__name__}; a chat template is given texts, numbers, lists and "
                    "dictionaries.")


def render(template: str, messages: Sequence[Message], *, bos: str = "", eos: str = "",
           add_generation_prompt: bool = True, now: datetime | None = None, where: str = "The chat template",
           **variables) -> str:
    """A conversation as text, as transformers renders it.

    Args:
      messages: dictionaries with "role" and "content", as the template expects them. bos, eos: special tokens as text.
      add_generation_prompt: whether the text ends where the assistant begins.
      now: what a template that asks for the date is told (Llama 3.1 writes it into the prompt); None: the present.
        An evaluation that is to be resumed or compared on another day states one.
      where: what an error calls the template, by its file.
      variables: others that the template knows, such as enable_thinking or tools.

    Raises:
      DataError: the template has an error, refuses these messages, reaches out of its sandbox or does not end.
    """
    given = {"messages": messages, "bos_token": bos, "eos_token": eos, "tools": None, "documents": None} | variables
    given |= {"add_generation_prompt": add_generation_prompt}
    given = plain(given)
    parts, length = [], 0
    try:
        sandbox = _Sandbox(now or datetime.now())
        compiled = jinja2.Template.from_code(sandbox, _compiled(template), sandbox.make_globals(None))
        for part in compiled.generate(given):
            length += len(part)
            _check_length(length)
            parts.append(part)
    except Exception as error:  # a program of somebody else's can raise anything
        reason = " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__
        raise DataError(f"{where} cannot be rendered: {reason}. Give messages that it accepts, or another "
                        "template.") from error
    return "".join(parts)
