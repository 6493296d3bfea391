"""The files of a firmware project: the network in C, its header, and what every board shares."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hybridge.design.export.c_source import CSource
from hybridge.design.export.edge_program import SCORE, EdgeProgram
from hybridge.design.export.firmware import copy_firmware
from hybridge.design.export.static_memory import MemoryPlan, entry_in_c
from hybridge.plan.program import PROGRAM_BYTES

#: The programs of a project: the base alone, and with its router.
BASE, BOTH = "base", "base-and-router"
_ENTRIES = {BASE: "network_base", BOTH: "network_run"}


def write_project(
    folder: Path, edge: EdgeProgram, source: CSource, plans: Mapping[str, MemoryPlan]
) -> None:
    """Write sources, linker script and Makefile to a folder; created where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_firmware(folder)
    entries = [entry_in_c(source, plan, _ENTRIES[name]) for name, plan in plans.items()]
    (folder / "network.c").write_text(
        "\n".join([_NODES_ALONE, source.head, '#include "network.h"\n', *entries])
    )
    (folder / "network.h").write_text(_header(edge))


# Each node stays a function of its own, the same for whoever calls it: so that the base is
# compiled alike with its router and without.
_NODES_ALONE = "#define EMX_NODE_FN static __attribute__((noipa, unused))\n"


def _header(edge: EdgeProgram) -> str:
    pixels = edge.program.inputs[0]
    without = edge.outputs(score=False)
    threshold = edge.threshold if edge.threshold is not None else float("inf")
    defined = {
        "SHA256": f'"{edge.program.sha256}"',
        "PIXEL_BYTES": pixels.bytes_per_item,
        "OUTPUTS": sum(map(edge.numbers, edge.outputs())),
        "BASE_OUTPUTS": sum(map(edge.numbers, without)),
        "LOGITS": edge.column(without[0]),
        "CLASSES": edge.numbers(without[0]),
    }
    if edge.has_score:
        defined |= {"SCORE": edge.column(SCORE), "THRESHOLD": _float_in_c(threshold)}
    if edge.has_score and edge.asked is not None:
        first = bytes.fromhex(edge.asked.sha256)[:PROGRAM_BYTES]
        defined["CLOUD_PROGRAM"] = f"{{{', '.join(f'0x{byte:02x}' for byte in first)}}}"
    return _HEADER.format(
        program=edge.program.name,
        shape=" x ".join(map(str, pixels.shape)),
        outputs=", ".join(f"{name} ({edge.numbers(name)})" for name in edge.outputs()),
        defined="\n".join(f"#define NETWORK_{name} {value}" for name, value in defined.items()),
    )


_HEADER = """\
/* Program {program!r} of a bundle, written by Hybridge.
 *
 * One image: uint8, {shape}. Outputs, one after the other: {outputs}.
 * Where the score is above NETWORK_THRESHOLD, or no number, ask NETWORK_CLOUD_PROGRAM.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include <math.h>
#include <stdint.h>

{defined}

/* Runs base and router, and writes all outputs. */
void network_run(const uint8_t *pixels, float *outputs);

/* Runs the base alone, and writes all outputs but the score. */
void network_base(const uint8_t *pixels, float *outputs);

#endif
"""


def _float_in_c(value: float) -> str:
    if np.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({float(np.float32(value)).hex()}f)"
