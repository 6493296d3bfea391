import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridge.cost.device import Device, Sourced
from hybridge.cost.fit import LEAST_LAYERS, Timing, fit_rate, fit_speeds, judge
from hybridge.cost.price import layer_ms
from hybridge.errors import DataError
from hybridge.plan.layers import Layer


def row(kind="conv", kernel=3, macs=1_000_000, parameters=1000, output_bytes=4096):
    return Layer(
        name="x",
        kind=kind,
        kernel=kernel,
        macs=macs,
        parameters=parameters,
        output_bytes=output_bytes,
    )


def layers(count, seed=0, kind="conv", kernel=3):
    rng = np.random.default_rng(seed)
    return [
        row(kind, kernel, int(macs), int(parameters), int(output))
        for macs, parameters, output in 10 ** rng.uniform((5, 2, 3), (8, 6, 6), (count, 3))
    ]


def timed(rows, per_mac, per_weight, per_output, per_layer):
    return [
        Timing(
            each,
            (
                per_mac * each.macs
                + per_weight * 4 * each.parameters
                + per_output * each.output_bytes
            )
            * 1e-6
            + per_layer * 1e-3,
        )
        for each in rows
    ]


def device(speeds):
    return Device(name="host", speeds=speeds, overhead_ms=Sourced(value=0, source="none"))


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.01, 1),
    st.floats(0.001, 0.1),
    st.floats(0.01, 0.5),
    st.floats(1, 50),
    st.integers(0, 99),
)
def test_layers_that_are_linear_are_predicted_to_the_digit(a, w, b, c, seed):
    speeds = fit_speeds(timed(layers(30, seed), a, w, b, c), "a test")
    for layer, ms in timed(layers(10, seed + 100), a, w, b, c):
        assert layer_ms(layer, device(speeds)) == pytest.approx(ms, rel=0.02)


def test_no_term_is_ever_negative():
    rng = np.random.default_rng(0)
    noisy = [
        Timing(each, ms) for each, ms in zip(layers(20), rng.uniform(0.01, 1, 20), strict=True)
    ]
    (speed,) = fit_speeds(noisy, "a test")
    assert all(number.value >= 0 for _, number in speed.numbers())


def test_each_class_and_kernel_has_a_speed_of_its_own():
    fast = timed(layers(10, kernel=1), 0.01, 0, 0, 1)
    slow = timed(layers(10, kernel=3), 0.1, 0, 0, 1)
    speeds = {speed.name: speed for speed in fit_speeds([*slow, *fast], "a test")}
    assert set(speeds) == {"conv 1", "conv 3"}
    assert speeds["conv 3"].ns_per_mac.value == pytest.approx(0.1, rel=0.05)
    assert speeds["conv 1"].ns_per_mac.value == pytest.approx(0.01, rel=0.05)
    assert "a test" in speeds["conv 1"].ns_per_mac.source


def test_what_no_layer_has_is_not_priced():
    pools = [row("pool", 0, 0, 0, size) for size in (1000, 4000, 20_000, 90_000, 300_000)]
    (speed,) = fit_speeds(timed(pools, 0, 0, 0.05, 2), "a test")
    assert speed.kernel is None
    assert (speed.ns_per_mac.value, speed.ns_per_weight_byte.value) == (0, 0)
    assert speed.ns_per_output_byte.value == pytest.approx(0.05, rel=0.05)


def test_too_few_layers_are_refused_by_name():
    with pytest.raises(DataError, match="at least 4 layers of 'conv 3' to fit, got 3"):
        fit_speeds(timed(layers(LEAST_LAYERS - 1), 1, 0, 0, 0), "a test")


def test_quality_is_that_of_what_was_measured():
    speeds = fit_speeds(timed(layers(20), 0.1, 0, 0, 10), "a test")
    unseen = timed(layers(10, seed=5), 0.1, 0, 0, 10)
    (exact,) = judge(device(speeds), unseen)
    (half,) = judge(device(speeds), [Timing(layer, 2 * ms) for layer, ms in unseen])
    assert (exact.name, exact.layers) == ("conv 3", 10)
    assert exact.mape < 0.02
    assert exact.r2 > 0.99
    assert half.mape == pytest.approx(0.5, abs=0.02)
    assert half.r2 < exact.r2


def test_a_rate_is_between_those_of_the_networks():
    assert fit_rate([1e9, 2e9], [300, 600]) == pytest.approx(0.3)
    assert 0.2 < fit_rate([1e9, 1e9], [200, 400]) < 0.4
    with pytest.raises(DataError, match="a time for each network"):
        fit_rate([1e9], [])
