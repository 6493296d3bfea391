"""Tiny ONNX programs and plans, made by hand: no torch, no training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hybridge.hashing import hash_bytes
from hybridge.plan.answers import Combine, Fused, Newest
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.rehearsal import Rehearsal
from hybridge.plan.tensors import Geometry, TensorSpec

SIDE = 4
CLASSES = 3
FEATURES = 5
PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE, 3))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=(CLASSES,))
SCORE = TensorSpec(name="score", dtype="float32", shape=())
VECTOR = TensorSpec(name="features", dtype="float32", shape=(FEATURES,))
GEOMETRY = Geometry(height=SIDE, width=SIDE)
NAMES = ("cat", "dog", "owl")

_ONNX_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


def write_program(
    directory: Path, name: str, input: TensorSpec, outputs: tuple[TensorSpec, ...], seed: int
) -> Program:
    """Write a graph whose outputs are linear in its input, with random weights."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(input.shape))
    nodes = [
        helper.make_node("Cast", [input.name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
    ]
    weights = []
    for spec in outputs:
        columns = int(np.prod(spec.shape, dtype=int))
        matrix = rng.normal(size=(size, columns)).astype(np.float32) / 100
        weights.append(numpy_helper.from_array(matrix, f"w_{spec.name}"))
        if spec.shape:
            nodes.append(helper.make_node("MatMul", ["flat", f"w_{spec.name}"], [spec.name]))
        else:
            weights.append(numpy_helper.from_array(np.array([1]), "axis"))
            nodes.append(helper.make_node("MatMul", ["flat", f"w_{spec.name}"], ["column"]))
            nodes.append(helper.make_node("Squeeze", ["column", "axis"], [spec.name]))
    graph = helper.make_graph(
        nodes, name, [_info(input)], [_info(spec) for spec in outputs], initializer=weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    path = directory / f"{name}.onnx"
    path.write_bytes(data)
    return Program(
        name=name,
        sha256=hash_bytes(data),
        size_bytes=len(data),
        inputs=(input,),
        outputs=outputs,
        geometry=GEOMETRY if input == PIXELS else None,
        path=path,
    )


def _info(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, _ONNX_TYPES[spec.dtype], ["B", *spec.shape])


def pair_programs(directory: Path) -> dict[str, Program]:
    base = write_program(directory, "base", PIXELS, (LOGITS, SCORE), seed=1)
    global_ = write_program(directory, "global", PIXELS, (LOGITS,), seed=2)
    return {"base": base, "global": global_}


def pair_plan(
    directory: Path, threshold: float = 0.0, codec: str = "raw", fused: bool = False
) -> Plan:
    """Selective query: base and router on the edge, global in the cloud."""
    combine: Combine = Newest(logits="global.logits")
    if fused:
        combine = Fused(base="base.logits", global_="global.logits", base_weight=0.5)
    ask = Step(
        program="global",
        place="cloud",
        feeds={"pixels": "pixels"},
        codec=codec,
        then=Leaf(combine=combine),
    )
    fork = Fork(
        chooser=ScoreThreshold(threshold=threshold),
        children=(Leaf(combine=Newest(logits="base.logits")), ask),
        home=0,
    )
    root = Step(program="base", place="edge", feeds={"pixels": "pixels"}, then=fork)
    return Plan(input=PIXELS, programs=pair_programs(directory), root=root, class_names=NAMES)


def partition_plan(directory: Path) -> Plan:
    """A front on the edge, its back on the edge or in the cloud, over plain vectors."""
    vector = TensorSpec(name="x", dtype="float32", shape=(7,))
    front = write_program(directory, "front", vector, (VECTOR, SCORE), seed=3)
    near = write_program(directory, "near", VECTOR, (LOGITS,), seed=4)
    far = write_program(directory, "far", VECTOR, (LOGITS,), seed=5)
    feeds = {"features": "front.features"}
    fork = Fork(
        chooser=ScoreThreshold(threshold=0.0),
        children=(
            Step(
                program="far",
                place="cloud",
                feeds=feeds,
                then=Leaf(combine=Newest(logits="far.logits")),
            ),
            Step(
                program="near",
                place="edge",
                feeds=feeds,
                then=Leaf(combine=Newest(logits="near.logits")),
            ),
        ),
        home=1,
    )
    root = Step(program="front", place="edge", feeds={"x": "x"}, then=fork)
    return Plan(input=vector, programs={p.name: p for p in (front, near, far)}, root=root)


def images(count: int, seed: int = 0) -> np.ndarray:
    """Return random pixels ``(count, H, W, 3)``."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def pair_rehearsal(plan: Plan, score: Sequence[float], codec: str = "raw") -> Rehearsal:
    """A rehearsal in which the base always says class 0, and the global class 2."""
    n = len(score)
    says = np.eye(3, dtype=np.float32)
    return Rehearsal(
        fingerprint="f" * 64,
        programs={name: program.sha256 for name, program in plan.programs.items()},
        truth=np.arange(n) % 3,
        score={(): np.asarray(score, np.float64)},
        probabilities={
            ((0,), None): np.tile(says[0], (n, 1)),
            ((1,), codec): np.tile(says[2], (n, 1)),
        },
        payload_bytes={((1,), codec): np.full(n, 48)},
    )


def assert_same_rehearsal(one: Rehearsal, other: Rehearsal) -> None:
    assert (one.fingerprint, one.programs) == (other.fingerprint, other.programs)
    np.testing.assert_array_equal(one.truth, other.truth)
    for table in ("score", "held_out_score", "probabilities", "payload_bytes", "alone"):
        mine, yours = getattr(one, table), getattr(other, table)
        assert mine.keys() == yours.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], yours[key])
            assert mine[key].dtype == yours[key].dtype
