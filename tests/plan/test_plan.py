from pathlib import Path

import pytest
from hypothesis import given

from hybridge.errors import PlanError
from hybridge.plan.answers import Abstain, Fused, Newest
from hybridge.plan.choosers import Always, ByBandwidth, ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.tensors import Geometry, TensorSpec
from hybridge.plan.variants import cloud_only
from plan_strategies import plans
from tiny_plans import GEOMETRY, LOGITS, PIXELS, SCORE, VECTOR, pair_plan, partition_plan

SHA = "0" * 64
BASE_LEAF = Leaf(combine=Newest(logits="base.logits"))
GLOBAL_LEAF = Leaf(combine=Newest(logits="global.logits"))


def make_program(name="base", inputs=(PIXELS,), outputs=(LOGITS, SCORE), geometry=None):
    return Program(
        name=name, sha256=SHA, size_bytes=1, inputs=inputs, outputs=outputs, geometry=geometry
    )


def make_step(program="base", place="edge", then=BASE_LEAF, value="pixels", **more):
    return Step(program=program, place=place, feeds={"pixels": value}, then=then, **more)


def make_plan(root, *programs, **more):
    programs = programs or (make_program(), make_program("global", outputs=(LOGITS,)))
    return Plan(input=PIXELS, programs={p.name: p for p in programs}, root=root, **more)


def ask(then=GLOBAL_LEAF):
    return make_step("global", "cloud", then)


def make_fork(*children, home=0):
    return Fork(chooser=ScoreThreshold(), children=children, home=home)


@given(plans() | plans(may_not_answer=True))
def test_a_plan_survives_json(plan):
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_the_file_of_a_program_is_not_part_of_the_plan():
    plan = make_plan(make_step(), make_program().model_copy(update={"path": Path("x.onnx")}))
    assert "x.onnx" not in plan.model_dump_json()


def test_nodes_come_depth_first_with_the_children_taken():
    plan = make_plan(make_step(then=make_fork(BASE_LEAF, ask())))
    assert [(placed.path, placed.node.kind) for placed in plan.nodes()] == [
        ((), "step"),
        ((), "fork"),
        ((0,), "leaf"),
        ((1,), "step"),
        ((1,), "leaf"),
    ]
    assert [path for path, _ in plan.steps("cloud")] == [(1,)]
    assert [program.name for program in plan.programs_at("edge")] == ["base"]


def test_unknown_program_is_corrected():
    with pytest.raises(PlanError, match="did you mean 'base'"):
        make_plan(make_step("bass"))


def test_a_program_must_stand_under_its_own_name():
    with pytest.raises(PlanError, match="stands in the plan as 'other'"):
        Plan(input=PIXELS, programs={"other": make_program()}, root=make_step())


def test_a_value_must_be_computed_above_its_reader():
    with pytest.raises(PlanError, match=r"leaf reads 'global\.logits'"):
        make_plan(make_step(then=GLOBAL_LEAF))
    with pytest.raises(PlanError, match=r"did you mean 'pixels'"):
        make_plan(make_step(value="pixel"))


def test_every_input_of_a_program_is_fed():
    with pytest.raises(PlanError, match=r"takes \['pixels'\], but is fed \['image'\]"):
        make_plan(Step(program="base", place="edge", feeds={"image": "pixels"}, then=BASE_LEAF))


@pytest.mark.parametrize("update", [{"shape": (8, 8, 3)}, {"dtype": "float32"}])
def test_shapes_and_dtypes_must_fit(update):
    other = make_program(inputs=(PIXELS.model_copy(update=update),))
    with pytest.raises(PlanError, match="takes 'pixels' as"):
        make_plan(make_step(), other)


def test_a_program_runs_once_on_a_branch():
    with pytest.raises(PlanError, match="runs twice"):
        make_plan(make_step(then=make_step()))


def test_a_cloud_step_needs_a_home_unless_there_may_be_no_answer():
    with pytest.raises(PlanError, match="no fork with a home"):
        make_plan(ask())
    with pytest.raises(PlanError, match="no fork with a home"):
        make_plan(make_step(then=make_fork(BASE_LEAF, ask(), home=None)))
    assert make_plan(ask(), may_not_answer=True).may_not_answer


def test_home_must_answer_on_the_edge():
    with pytest.raises(PlanError, match="asks the cloud"):
        make_plan(make_step(then=make_fork(BASE_LEAF, ask(), home=1)))
    silent = Leaf(combine=Abstain(logits="base.logits"))
    with pytest.raises(PlanError, match="abstains"):
        make_plan(make_step(then=make_fork(silent, ask())))
    with pytest.raises(PlanError, match="not one of 2"):
        make_plan(make_step(then=make_fork(BASE_LEAF, ask(), home=2)))


def test_a_score_threshold_needs_a_score():
    with pytest.raises(PlanError, match="'score' output above"):
        make_plan(make_step(then=make_fork(BASE_LEAF, BASE_LEAF)), make_program(outputs=(LOGITS,)))


def test_a_child_that_is_always_chosen_must_be_there():
    fork = Fork(chooser=Always(child=2), children=(BASE_LEAF, ask()), home=0)
    with pytest.raises(PlanError, match="by always may take child 2, but has only 2"):
        make_plan(make_step(then=fork))


def test_a_score_is_one_number_for_each_input():
    wide = SCORE.model_copy(update={"shape": (1,)})
    with pytest.raises(PlanError, match=r"'base\.score' must be float32 \(\)"):
        make_plan(make_step(), make_program(outputs=(LOGITS, wide)))


def test_logits_must_be_one_for_each_class():
    with pytest.raises(PlanError, match="2 classes"):
        make_plan(make_step(), class_names=("yes", "no"))
    image = TensorSpec(name="logits", dtype="float32", shape=(2, 2))
    with pytest.raises(PlanError, match="one logit for each"):
        make_plan(make_step(), make_program(outputs=(image,)))


def test_fused_logits_must_be_of_the_same_classes():
    more = LOGITS.model_copy(update={"shape": (9,)})
    fused = Leaf(combine=Fused(base="base.logits", global_="global.logits", base_weight=0.5))
    programs = make_program(), make_program("global", outputs=(more,))
    with pytest.raises(PlanError, match="3 classes"):
        make_plan(make_step(then=make_fork(BASE_LEAF, ask(fused))), *programs)


def test_geometry_is_that_of_the_programs_that_read_the_input():
    assert make_plan(make_step(), make_program(geometry=GEOMETRY)).geometry == GEOMETRY
    assert make_plan(make_step(), make_program()).geometry is None


def test_geometries_must_agree_with_each_other_and_the_input():
    cropped = GEOMETRY.model_copy(update={"fit": "crop"})
    programs = make_program(geometry=GEOMETRY), make_program("global", geometry=cropped)
    with pytest.raises(PlanError, match="different geometries"):
        make_plan(make_step(then=make_fork(BASE_LEAF, ask())), *programs)
    with pytest.raises(PlanError, match="take images of"):
        make_plan(make_step(), make_program(geometry=Geometry(height=9, width=9)))


def test_unknown_keys_are_refused():
    text = make_plan(make_step()).model_dump_json().replace('"may_not', '"extra":1,"may_not')
    with pytest.raises(ValueError, match="extra"):
        Plan.model_validate_json(text)


def test_features_may_cross_between_programs():
    front = make_program("front", outputs=(VECTOR,))
    back = make_program("back", inputs=(VECTOR,), outputs=(LOGITS,))
    then = Step(
        program="back",
        place="edge",
        feeds={"features": "front.features"},
        then=Leaf(combine=Newest(logits="back.logits")),
    )
    plan = make_plan(make_step("front", then=then), front, back)
    assert [program.name for program in plan.programs_at("edge")] == ["front", "back"]


@pytest.mark.parametrize("types", [1, 2, 3])
def test_a_fork_by_bandwidth_has_a_child_for_each_type(types):
    chooser = ByBandwidth(borders_bps=tuple(1e6 * border for border in range(1, types)))
    for extra in (0, 1):  # the one more is a home
        if types + extra > 1:
            fork = Fork(chooser=chooser, children=(BASE_LEAF,) * (types + extra))
            assert make_plan(make_step(then=fork)).root.then == fork


def test_a_fork_with_fewer_children_than_types_is_refused():
    chooser = ByBandwidth(borders_bps=(1e6, 2e6))
    fork = Fork(chooser=chooser, children=(BASE_LEAF, BASE_LEAF))
    with pytest.raises(PlanError, match="by bandwidth may take child 2, but has only 2 children"):
        make_plan(make_step(then=fork))


def test_home_is_where_a_walk_would_have_ended_without_the_cloud(tmp_path):
    plan = pair_plan(tmp_path)
    assert [plan.home_leaf(path) for path in ((0,), (1,))] == [(0,), (0,)]
    # There a program would have to run first.
    assert partition_plan(tmp_path).home_leaf((0,)) is None
    assert cloud_only(plan).home_leaf(()) is None
