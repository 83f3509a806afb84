"""From a configuration's options to a command's parameters, and back.

`with_options` gives a command the parameters of `fanout.config.options`; what was typed comes to it
by the options' names, for `made_from` to make a configuration of.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from fanout.config.options import Kind, OptionField


def with_options(
    function: Callable[..., None], fields: Iterable[OptionField], *, command: str = ""
) -> Callable[..., None]:
    """A command with the options and the parameters of `function`, whose first is the context and
    whose last, `**said`, takes the options' values by their names. `command` names the
    variables."""
    by_parameter = {_parameter_name(each): each for each in fields}
    context, *others, _ = inspect.signature(function, eval_str=True).parameters.values()
    own = [each.name for each in (context, *others)]
    parameters = [
        context,
        *(_parameter(each, command) for each in by_parameter.values()),
        *others,
    ]

    @wraps(function)
    def run(**values: Any) -> None:
        said = {each.name: values[name] for name, each in by_parameter.items()}
        function(**{name: values[name] for name in own}, **said)

    declare(run, parameters)
    return run


def declare(run: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    """Have typer take these for the parameters of a command. It hands all of them over by name."""
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__dict__["__signature__"] = inspect.Signature(kept)
    run.__annotations__ = {each.name: each.annotation for each in kept}


def _parameter_name(field: OptionField) -> str:
    return field.name.replace("-", "_")


def _parameter(field: OptionField, command: str) -> inspect.Parameter:
    option = field.option
    info = typer.Option(
        field.flag,
        *option.also,
        help=option.help,
        envvar=field.env(command),
        metavar=option.metavar,
        autocompletion=(lambda: list(option.choices)) if option.choices else None,
        show_default=not (field.is_switch or field.default_text in (None, "", [])),
    )
    default = inspect.Parameter.empty if field.is_required else field.default_text
    return inspect.Parameter(
        _parameter_name(field),
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[_typed(field), info],
    )


def _typed(field: OptionField) -> Any:
    """The type of what is typed, where that is not the field's."""
    if field.is_list:
        return list[str]
    if field.option.kind is Kind.TOKEN:
        return str | None
    typed = str if field.option.kind in (Kind.SIZE, Kind.DURATION) else field.type
    return typed | None if field.default is None else typed
