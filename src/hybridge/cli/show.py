"""``hybridge show``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli import output
from hybridge.cli.output import plain

if TYPE_CHECKING:
    from hybridge.plan.bundle import Bundle
    from hybridge.plan.program import Program


def show(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a bundle holds, and verify its files.

    Its plan, sizes, costs, operating point and metadata. The hash of every file is verified; the
    exit code is 2 where one does not fit. Programs whose files are not on this machine are named.

    \b
    Examples:
      hybridge show runs/demo/bundle
      hybridge show runs/demo/bundle --json
    """
    from hybridge.plan.bundle import inspect_bundle

    loaded = inspect_bundle(bundle)
    if json:
        output.show_json(_described(bundle, loaded))
    else:
        _print(loaded)


def _described(path: Path, bundle: "Bundle") -> dict[str, Any]:
    plan = bundle.plan
    return {
        "bundle": str(path),
        "verified": True,
        "class_names": list(plan.class_names),
        "input": plain(plan.input),
        "root": plain(plan.root),
        "programs": [_described_program(bundle, program) for program in plan.programs.values()],
        "rehearsed_inputs": None if bundle.rehearsal is None else len(bundle.rehearsal),
        "metadata": bundle.metadata,
    }


def _described_program(bundle: "Bundle", program: "Program") -> dict[str, Any]:
    return {
        **plain(program),
        "layers": len(program.layers),
        "places": _places(bundle, program),
        "here": program.path is not None,
        "macs": program.macs,
        "parameters": program.parameters,
    }


def _places(bundle: "Bundle", program: "Program") -> list[str]:
    return sorted({step.place for _, step in bundle.plan.steps() if step.program == program.name})


def _print(bundle: "Bundle") -> None:
    from hybridge.report.drawing import tree
    from hybridge.report.tables import Column, Table

    columns = (
        Column("Program"),
        Column("Place"),
        Column("MACs", "count"),
        Column("Parameters", "count"),
        Column("Size", "bytes"),
        Column("sha256"),
    )
    rows = [
        (
            program.name,
            output.join(_places(bundle, program)),
            program.macs,
            program.parameters,
            program.size_bytes,
            program.sha256[:12],
        )
        for program in bundle.plan.programs.values()
    ]
    output.show(tree(bundle.plan))
    output.show("")
    output.show(Table(columns, rows).rich())
    output.show("")
    output.show_facts(_facts(bundle))


def _facts(bundle: "Bundle") -> dict[str, str]:
    """Return the metadata as text; a recipe, being long, is left to ``--json``."""
    facts = {
        name.replace("_", " "): _text(value)
        for name, value in bundle.metadata.items()
        if name != "recipe"
    }
    if bundle.rehearsal is not None:
        facts["rehearsed inputs"] = str(len(bundle.rehearsal))
    absent = [name for name, program in bundle.plan.programs.items() if program.path is None]
    if absent:
        facts["not here"] = output.join(absent)
    return {**facts, "files": "verified by sha256"}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
