import pytest
from hypothesis import given

from hybridge.errors import PlanError
from hybridge.plan.answers import Abstain, Newest
from hybridge.plan.choosers import Always, ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Step
from hybridge.plan.variants import (
    abstaining,
    always_home,
    answering_alone,
    cloud_only,
    edge_only,
    pinned,
    with_threshold,
)
from plan_strategies import plans
from tiny_plans import pair_plan, partition_plan
from tiny_trees import tree_plan


def test_edge_only_is_the_base_alone(tmp_path):
    plan = edge_only(pair_plan(tmp_path))
    assert list(plan.programs) == ["base"]
    assert plan.root.then == Leaf(combine=Newest(logits="base.logits"))
    assert plan.class_names == ("cat", "dog", "owl")


@given(plans())
def test_edge_only_never_asks_or_has_no_answer_at_all(plan):
    try:
        alone = edge_only(plan)
    except PlanError:
        return
    assert alone.programs_at("cloud") == []
    assert set(alone.programs) == {step.program for _, step in alone.steps()}


@given(plans())
def test_edge_only_leaves_a_plan_without_cloud_as_it_is(plan):
    if not plan.programs_at("cloud"):
        assert edge_only(plan) == plan


def test_edge_only_of_a_plan_that_may_not_answer_is_refused(tmp_path):
    with pytest.raises(PlanError, match="without an answer on the edge"):
        edge_only(cloud_only(pair_plan(tmp_path)))


@pytest.mark.parametrize("fused", [False, True])
def test_cloud_only_is_the_global_alone(tmp_path, fused):
    plan = cloud_only(pair_plan(tmp_path, codec="webp", fused=fused))
    assert isinstance(plan.root, Step)
    assert (plan.root.place, plan.root.codec, plan.may_not_answer) == ("cloud", "webp", True)
    assert plan.root.then == Leaf(combine=Newest(logits="global.logits"))
    assert list(plan.programs) == ["global"]


def test_half_a_network_cannot_be_cloud_only(tmp_path):
    with pytest.raises(PlanError, match=r"\['far'\]"):
        cloud_only(partition_plan(tmp_path))


def by_score(node):
    return isinstance(node, Fork) and isinstance(node.chooser, ScoreThreshold)


@given(plans())
def test_with_threshold_sets_every_fork_and_nothing_else(plan):
    if not any(by_score(placed.node) for placed in plan.nodes()):
        with pytest.raises(PlanError, match="threshold"):
            with_threshold(plan, 0.25)
        return
    moved = with_threshold(plan, 0.25)
    nodes = [placed.node for placed in moved.nodes()]
    assert {node.chooser.threshold for node in nodes if by_score(node)} == {0.25}
    assert [placed.path for placed in moved.nodes()] == [placed.path for placed in plan.nodes()]


def test_an_abstaining_pair_withholds_what_would_be_sent(tmp_path):
    plan = abstaining(pair_plan(tmp_path))
    kept, sent = plan.root.then.children
    assert kept == Leaf(combine=Newest(logits="base.logits"))
    assert sent == Leaf(combine=Abstain(logits="base.logits"))
    assert list(plan.programs) == ["base"]


def test_abstaining_runs_the_home_and_withholds_its_answer(tmp_path):
    sent, _ = abstaining(partition_plan(tmp_path)).root.then.children
    assert sent.program == "near"
    assert sent.then == Leaf(combine=Abstain(logits="near.logits"))


@given(plans())
def test_abstaining_never_asks(plan):
    assert abstaining(plan).programs_at("cloud") == []


def test_abstaining_without_a_home_is_refused(tmp_path):
    with pytest.raises(PlanError, match="home"):
        abstaining(cloud_only(pair_plan(tmp_path)))


def paths_of(plan):
    return [(placed.path, placed.node.kind) for placed in plan.nodes()]


def test_cloud_only_takes_another_codec(tmp_path):
    plan = cloud_only(pair_plan(tmp_path, codec="webp"), "jpeg-90")
    assert plan.root.codec == "jpeg-90"


def test_what_answers_alone_is_found_with_its_logits(tmp_path):
    plan = pair_plan(tmp_path, fused=True)
    [(path, step, logits)] = answering_alone(plan)
    assert (path, step.program, logits) == ((1,), "global", "global.logits")
    assert list(answering_alone(partition_plan(tmp_path))) == []


def test_a_plan_that_is_always_home_keeps_its_tree(tmp_path):
    plan = pair_plan(tmp_path)
    home = always_home(plan)
    assert home.root.then.chooser == Always(child=0)
    assert paths_of(home) == paths_of(plan)
    assert home.programs == plan.programs


@given(plans())
def test_always_home_is_edge_only_with_the_tree_kept(plan):
    try:
        alone = edge_only(plan)
    except PlanError:
        with pytest.raises(PlanError, match="without an answer on the edge"):
            always_home(plan)
        return
    assert paths_of(always_home(plan)) == paths_of(plan)
    assert edge_only(always_home(plan)) == alone


@given(plans())
def test_a_pinned_plan_leads_to_its_leaf_and_keeps_its_homes(plan):
    for leaf in [path for path, kind in paths_of(plan) if kind == "leaf"]:
        fixed = pinned(plan, leaf)
        assert paths_of(fixed) == paths_of(plan)
        for before, after in zip(plan.nodes(), fixed.nodes(), strict=True):
            if not isinstance(before.node, Fork):
                continue
            assert after.node.home == before.node.home
            if leaf[: len(before.path)] == before.path:
                assert after.node.chooser == Always(child=leaf[len(before.path)])
            else:
                assert after.node.chooser == before.node.chooser


@pytest.mark.parametrize("leaf", [(), (2,), (0, 0)])
def test_only_a_leaf_can_be_pinned(tmp_path, leaf):
    with pytest.raises(PlanError, match=r"no leaf at .*leaves are at \[\(0,\), \(1,\)\]"):
        pinned(pair_plan(tmp_path), leaf)


def test_a_tree_s_edge_alone_is_its_first_home(tmp_path):
    plan = tree_plan(tmp_path)
    assert edge_only(plan).root == plan.root.children[2]
    home = always_home(plan)
    assert home.root.chooser == Always(child=2)
    assert home.root.children == plan.root.children


def test_a_tree_that_abstains_has_a_label_where_the_device_is_chosen(tmp_path):
    plan = abstaining(tree_plan(tmp_path))
    assert plan.programs_at("cloud") == []
    answering = {path for path, leaf in plan.leaves() if not isinstance(leaf.combine, Abstain)}
    assert answering == {(0, 0, 0), (2,), (0, 2), (0, 0, 2)}


def test_one_branch_of_a_tree_keeps_its_homes(tmp_path):
    fixed = pinned(tree_plan(tmp_path), (0, 0, 1))
    assert [
        placed.node.chooser.child for placed in fixed.nodes() if placed.node.kind == "fork"
    ] == [*(0, 0, 1)]
    assert [path for path, _ in fixed.leaves()] == [
        path for path, _ in tree_plan(tmp_path).leaves()
    ]
