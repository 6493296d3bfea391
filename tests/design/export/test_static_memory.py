from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.export.c_source import Call, CArray, CSource, take_apart
from hybridge.design.export.static_memory import entry_in_c, plan_memory
from hybridge.errors import ConfigError

WRITTEN = """\
#define EMX_NODE_FN static inline

extern const float weight1[4][2];

/*
 * OpType: Relu
 */
EMX_NODE_FN void node0(const float input0[4], float output[4]) {
}

/*
 * OpType: Gemm
 */
EMX_NODE_FN void node1(const float input0[4], const float weight[4][2], float output[2]) {
}

/*
 * OpType: ReduceMax
 */
EMX_NODE_FN void node2(const float input0[2], float output[1]) {
}

_Bool network_load(const char *path) {
    (void)path;
    return 1;
}

void network(const uint8_t pixels[4], float logits[2], float score[1]) {
    float tmp0[4];
    node0(pixels, tmp0);
    node1(tmp0, weight1, logits);
    node2(logits, score);
}
"""


def test_takes_apart_what_the_generator_wrote():
    source = take_apart(WRITTEN, ["out.logits", "out.score"])
    assert [call.operator for call in source.calls] == ["Relu", "Gemm", "ReduceMax"]
    assert source.calls[1].reads == ("tmp0", "weight1")
    assert source.inputs == {"pixels": CArray("uint8_t", (4,))}
    assert source.names == {"out.logits": "logits", "out.score": "score"}
    assert source.weights["weight1"].size_bytes == 32


def test_base_alone_leaves_out_what_only_the_router_needs():
    source = take_apart(WRITTEN, ["logits", "score"])
    base = plan_memory(source, ["logits"])
    assert [call.function for call in base.calls] == ["node0", "node1"]
    entry = entry_in_c(source, plan_memory(source, ["logits", "score"]), "network_run")
    assert "node1((void *)(network_run_arena + 0), weight1, (void *)(outputs + 0));" in entry
    assert "node2((void *)(outputs + 0), (void *)(outputs + 2));" in entry


@pytest.mark.parametrize("line", ["float tmp1[n];", "if (pixels) {", "node0(tmp0, tmp0, tmp0)"])
def test_what_it_does_not_know_is_an_error(line):
    with pytest.raises(ConfigError, match="cannot take apart"):
        take_apart(WRITTEN.replace("float tmp0[4];", f"float tmp0[4];\n    {line}"), ["a", "b"])


@st.composite
def networks(draw):
    """A chain with skips: every node reads one or two earlier tensors."""
    count = draw(st.integers(1, 12))
    tensors = {"pixels": CArray("uint8_t", (8,))}
    calls = []
    for number in range(count):
        reads = draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=2))
        name = f"t{number}"
        tensors[name] = CArray("float", (draw(st.integers(1, 6)),))
        operator = draw(st.sampled_from(["Add", "Conv"]))
        calls.append(Call(f"node{number}", operator, (*reads, name), frozenset({name})))
    last = f"t{count - 1}"
    return CSource(
        head="",
        calls=tuple(calls),
        inputs={"pixels": tensors["pixels"]},
        outputs={"y": tensors[last]},
        names={"y": last},
        tensors=tensors,
        weights={},
    )


@given(networks())
def test_no_two_tensors_that_are_alive_lie_over_one_another(source):
    plan = plan_memory(source, ["y"])
    born = {next(iter(call.writes)): at for at, call in enumerate(plan.calls)}
    dies = {name: at for at, call in enumerate(plan.calls) for name in call.arguments}
    ends = {name: plan.offsets[name] + source.tensors[name].size_bytes for name in plan.offsets}
    assert max(ends.values(), default=0) <= plan.arena_bytes
    assert plan.peak_bytes <= plan.arena_bytes or not plan.offsets
    for one, other in combinations(plan.offsets, 2):
        first, second = sorted((one, other), key=born.__getitem__)
        if dies[first] < born[second]:
            continue
        over = plan.offsets[one] < ends[other] and plan.offsets[other] < ends[one]
        if over:  # in place: element by element, as the first is read for the last time
            call = plan.calls[born[second]]
            assert dies[first] == born[second]
            assert first in call.reads
            assert call.operator == "Add"
            assert plan.offsets[one] == plan.offsets[other]
            assert source.tensors[one] == source.tensors[other]
