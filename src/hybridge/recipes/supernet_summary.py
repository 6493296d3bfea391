"""What training a supernet came to, as plain data."""

from typing import Any

from hybridge.design.supernet.judge import Judged
from hybridge.recipes.supernet import SupernetRun

Row = dict[str, Any]


def summarise(run: SupernetRun) -> Row:
    """Return the summary that ``summary.json`` holds; accuracies are in percent."""
    epochs = sum(len(records) for records in run.history.values())
    return {
        "name": run.recipe.name,
        "family": run.recipe.family,
        "seed": run.recipe.seed,
        "epochs": epochs,
        "phases": [
            {"name": name, "epochs": len(records), "losses": [record.loss for record in records]}
            for name, records in run.history.items()
        ],
        "rows": [_row(name, judged) for name, judged in run.judged.items()],
        "alone": [{**_row(name, judged), "epochs": epochs} for name, judged in run.alone.items()],
    }


def _row(name: str, judged: Judged) -> Row:
    row: Row = {
        "name": name,
        "architecture": str(judged.subnet.architecture),
        "resolution": judged.subnet.resolution,
        "macs_m": judged.macs / 1e6,
        "parameters_m": judged.parameters / 1e6,
        "accuracy": 100 * judged.accuracy,
    }
    without = judged.accuracy_without_recalibration
    return row if without is None else {**row, "accuracy_without_recalibration": 100 * without}
