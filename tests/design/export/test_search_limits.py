"""What a search counts of a base, beside what the interpreter takes for it."""

import pytest
from micro_pairs import SIDE, mobile_base, needs_tflm, pictures, router

from hybridge.cost.device import device_named
from hybridge.design.export.tflm import export_tflm
from hybridge.design.nets.families import families
from hybridge.design.query.make_plan import make_plan
from hybridge.design.supernet.costs import FamilyCosts, footprint
from hybridge.design.supernet.limits import Costs, Limits
from hybridge.plan.bundle import Bundle
from hybridge.plan.tensors import Geometry

CLASSES = 4


@needs_tflm
def test_a_base_takes_no_less_than_a_search_counts(tmp_path):
    """Graph, scales and the interpreter's own structures come on top of weights and tensors."""
    base = mobile_base(CLASSES)
    counted = footprint(base.network, (3, SIDE, SIDE))
    plan = make_plan(
        base,
        router(classes=CLASSES),
        base,
        geometry=Geometry(height=SIDE, width=SIDE),
        class_names=tuple(map(str, range(CLASSES))),
        directory=tmp_path / "programs",
        threshold=0.1,
    )
    found = export_tflm(Bundle(plan), tmp_path / "tflm", pictures(16)).base
    assert counted.int8_bytes <= found.flash_bytes
    assert counted.arena_bytes <= found.arena_bytes


@pytest.mark.parametrize(
    ("family", "resolution", "fits"), [("elastic_small", 32, True), ("ofa_mbv3_w1.0", 224, False)]
)
def test_the_memory_of_a_board_is_a_limit_of_the_search(family, resolution, fits):
    memory = device_named("stm32f746").memory
    limits = Limits(
        base_flash_bytes=int(memory.flash_bytes.value), base_sram_bytes=int(memory.sram_bytes.value)
    )
    found, costs = families.get(family), Costs(limits)
    largest = FamilyCosts(found, CLASSES).footprint(found.space.largest, resolution)
    assert costs.allow(costs.kept(largest)) is fits
