"""What ``run``, ``emulate`` and ``replay`` share: options for the threshold and the codecs."""

from typing import Annotated

import typer

_POLICIES = (
    "How the threshold follows link, inputs or a budget: fixed, coverage:0.7, cost:20ms "
    "(what a point of accuracy is worth), cost:5mJ, budget:1000 (queries an hour), budget:5MB."
)
PolicyOption = Annotated[str, typer.Option(metavar="POLICY", help=_POLICIES)]
CodecsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--codec",
        metavar="CODEC",
        help="One more codec to choose from for each request; may be repeated.",
    ),
]
PoliciesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="POLICY",
        help=f"{_POLICIES} May be repeated.",
        show_default="fixed",
    ),
]
