"""Renders chat templates, programs that strangers wrote (jinja2, in the dialect of transformers), in a sandbox.

A template reaches no attribute that begins with an underscore, changes nothing that it is given, loads no other file,
and stops with an error after STEPS turns of its loops or LENGTH characters. A call of a method or filter is refused
where the two largest of its arguments, the object itself among them, could make more than WORK characters, as in
padding and replacing. Comparing nested lists is not bounded: who renders templates of checkpoints that he does not
trust gives the process a limit of memory all the same.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.defaults
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from r1jax.core.errors import DataError

STEPS = 100_000  # turns of loops and calls of macros in one rendering
LENGTH = 4_000_000  # characters of a rendering, and of a string or items of a list on the way
BITS = 10_000  # of a whole number
WORK = 100 * LENGTH  # product of the sizes of a call's two largest arguments
WIDE = frozenset(("center", "indent", "wordwrap", "round", "tojson", "batch", "slice"))  # filters that numbers widen

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

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, now: datetime):
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols], finalize=_shown)
        self._taken = 0
        self.filters = _filters()
        self.globals |= {"raise_exception": _raise, "strftime_now": lambda form: now.strftime(form),
                         "namespace": _Namespace}
        del self.globals["lipsum"]

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
        _check_call(parts)
        return self.concat(map(str, parts))

    def call(__self, __context, __obj, *args, **kwargs):  # noqa: B902, N805 (jinja2's names)
        """A call of a method, a macro or a function that the template is given."""
        method = getattr(__obj, "__wrapped__", __obj)  # of a string's format, which the sandbox has wrapped
        owner, given = getattr(method, "__self__", None), [*args, *kwargs.values()]
        if isinstance(owner, str):
            forms = method.__name__ in ("format", "format_map")
            widths = _widths(owner, "{[^{}]*{", args[0].values() if method.__name__ == "format_map" else given)
            _check_call([owner, *given], widths if forms else given)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context, operator, left, right):
        """`+`, `*`, `**` and `%` of values whose result stays within the bounds."""
        if operator == "%" and isinstance(left, str):
            _check_call([left, right], _widths(left, r"\*", right if isinstance(right, tuple) else [right]))
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

    def __repr__(self):
        return "namespace"  # the values could hold one another


def _check_length(length: int) -> None:
    if length > LENGTH:
        raise jinja2.TemplateError(f"it makes more than {LENGTH} characters")


def _extent(value: Any) -> int:
    """Characters and items of a value, with those of what it holds; counted to somewhat beyond LENGTH."""
    total, rest = 0, [value]
    while rest and total <= LENGTH:
        value = rest.pop()
        total += len(value) if isinstance(value, (str, bytes)) else 1
        if isinstance(value, dict):
            rest += [*value, *value.values()]
        elif isinstance(value, (list, tuple, set)):
            rest += value
    return total


def _check_call(values: Iterable[Any], widths: Iterable[Any] = ()) -> None:
    """Refuses what a call with these values could make; the whole numbers in `widths` are sizes themselves."""
    sizes = sorted([*map(_extent, values), *(abs(width) for width in widths if isinstance(width, int))])[-2:]
    if math.prod(sizes) > WORK or any(size > LENGTH for size in sizes):
        raise jinja2.TemplateError(f"a call could make more than {LENGTH} characters or items")


def _shown(value: Any) -> Any:
    """What is written of a value; lists that hold one list many times are measured before they are spelled out."""
    if isinstance(value, (list, tuple, dict)):
        _check_call([value])
    return value


def _widths(form: str, asks: str, given: Iterable[Any]) -> list[Any]:
    """The numbers in a text that formats others, and what it is given where it asks (a pattern) for widths there."""
    return [int(digits[:9]) for digits in re.findall(r"\d+", form)] + (list(given) if re.search(asks, form) else [])


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at the sizes of what it is given."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        args = [list(value) if isinstance(value, Iterator) else value for value in args]
        given = [*args, *kwargs.values()]
        forms = _widths(str(args[0]), r"\*", given) if name == "format" else ()
        _check_call(given, given[1:] if name in WIDE else forms)
        return function(*args, **kwargs)

    return call


@functools.cache
def _filters() -> dict[str, Callable[..., Any]]:
    return {name: _bounded(name, function) for name, function in (jinja2.defaults.DEFAULT_FILTERS
                                                                  | {"tojson": _to_json}).items()}


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
