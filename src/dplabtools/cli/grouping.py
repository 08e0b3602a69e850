"""Options that belong together, declared once and taken by several commands."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Final, TypeAlias, get_args, get_type_hints

__all__ = ["grouped"]

_NONE: Final = inspect.Parameter.empty
_METAVARS: Final = {int: "N", float: "X", str: "TEXT"}


_Command: TypeAlias = Callable[..., None]
_COMMON: Final = "Common options"


def grouped(*, common: Collection[str] = ()) -> Callable[[_Command], _Command]:
    """Let a command take groups of options.

    A group is a frozen dataclass whose fields are annotated with a `typer.Option` or a
    `typer.Argument`, and whose attribute ``panel`` says under which title the help
    lists them; or one of other groups. The command has one parameter for each group; typer
    sees one for each option.

    Parameters
    ----------
    common : collection of str, default ()
        Options that the help lists before all others, in this order.

    Returns
    -------
    callable
        Makes of a command that takes groups, and options of its own, one that takes
        everything singly, by keyword.
    """
    return functools.partial(_flattened, common=tuple(common))


def _flattened(command: _Command, *, common: tuple[str, ...]) -> _Command:
    hints: dict[str, Any] = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {
        name: kind for name, kind in hints.items() if is_dataclass(kind)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(hints[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))
    parameters = _common_first(parameters, common)

    @functools.wraps(command)
    def flat(**given: Any) -> None:  # noqa: ANN401 - as many types as options
        made = {name: _made(kind, given) for name, kind in groups.items()}
        command(**made, **given)

    flat.__dict__["__signature__"] = inspect.Signature(parameters)
    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    return flat


def _made(group: type[Any], given: dict[str, Any]) -> Any:  # noqa: ANN401 - of that type
    """Return a group of the options that it takes from those given."""
    hints = get_type_hints(group)
    return group(
        **{
            each.name: _made(hints[each.name], given)
            if is_dataclass(hints[each.name])
            else given.pop(each.name)
            for each in fields(group)
        }
    )


def _common_first(
    parameters: Sequence[inspect.Parameter], common: tuple[str, ...]
) -> list[inspect.Parameter]:
    """Return parameters with the common ones first, under a title of their own."""
    by_name = {each.name: each for each in parameters}
    first: list[inspect.Parameter] = []
    annotated: Any = Annotated
    for name in common:
        kind, option, *rest = get_args(by_name[name].annotation)
        option = copy.copy(option)  # other commands have it elsewhere
        option.rich_help_panel = _COMMON
        annotation = annotated[kind, option, *rest]
        first.append(by_name.pop(name).replace(annotation=annotation))
    context = [by_name.pop("context")] if "context" in by_name else []
    return [*context, *first, *by_name.values()]


def _parameters(group: type[Any]) -> Iterator[inspect.Parameter]:
    """Yield the options of a group, under its title."""
    hints = get_type_hints(group, include_extras=True)
    annotated: Any = Annotated
    for field in fields(group):
        if is_dataclass(hints[field.name]):
            yield from _parameters(hints[field.name])
            continue
        kind, option, *rest = get_args(hints[field.name])
        option = copy.copy(option)  # other groups may have it, too
        option.rich_help_panel = group.panel
        option.metavar = option.metavar or _metavar(kind)
        annotation = annotated[kind, option, *rest]
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=annotation,
        )


def _metavar(kind: Any) -> str | None:  # noqa: ANN401 - a type, or several
    """Return what stands for a value in the help, short where typer is not."""
    kinds = get_args(kind) or (kind,)
    return next((word for each, word in _METAVARS.items() if each in kinds), None)


def _default(field: Field[Any]) -> Any:  # noqa: ANN401 - as many types as options
    if field.default is not MISSING:
        return field.default
    return _NONE if field.default_factory is MISSING else field.default_factory()
