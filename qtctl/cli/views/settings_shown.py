"""Every setting in force with its source, as `config show` and `bundle` have it."""

from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.settings import fields, public


def rows(ctx: Context) -> list[dict[str, Any]]:
    """Every setting in the order of the template, passwords masked; overruled: the values of
    weaker sources, weakest first; variables: its names in the environment, strongest first."""
    loaded = ctx.loaded
    shown = {
        section: public(getattr(loaded.settings, section))
        for section in dict.fromkeys(field.section for field in fields())
    }
    return [
        {
            "key": field.path,
            "value": shown[field.section][field.key],
            "origin": loaded.origins[field.path],
            "overruled": [
                {"origin": origin, "value": value}
                for origin, value in loaded.overruled.get(field.path, ())
            ],
            "default": field.default,
            "allowed": field.expected,
            "description": field.description,
            "variables": [field.variable, *field.env],
        }
        for field in fields()
    ]
