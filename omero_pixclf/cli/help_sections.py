"""Help of commands with many options: options under headings such as Recipe, Output and Server."""

from __future__ import annotations

import click

__all__ = ["GENERAL", "SECTIONS", "SectionedCommand"]

GENERAL = "Options"
SECTIONS = {
    GENERAL: (),
    "Recipe": ("recipe_file", "name", "classifier_"),
    "Objects": ("objects_",),
    "Output": ("output_",),
    "Machine": ("threads", "memory", "workers", "dask", "shard"),
    "Files": ("out", "axes", "mounted", "direct_check"),
    "Server": ("server", "port", "user", "group", "key", "password_file", "ca_file", "sudo"),
}
"""Headings in their order, each with its parameters; a name that ends with _ is a prefix."""


class SectionedCommand(click.Command):
    """A command whose help groups its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all options under their headings."""
        lines: dict[str, list[tuple[str, str]]] = {title: [] for title in SECTIONS}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if line is not None:
                lines[_section(parameter.name or "")].append(line)
        for title, found in lines.items():
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)


def _section(name: str) -> str:
    for title, names in SECTIONS.items():
        if any(name == known or (known.endswith("_") and name.startswith(known)) for known in names):
            return title
    return GENERAL
