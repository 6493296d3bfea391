import pytest
from pydantic import ValidationError
from tiny_family import of_macs

from hybridge.cost.query import price_parts
from hybridge.cost.surroundings import Surroundings
from hybridge.design.supernet.limits import Costs, Limits, joined
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer


def test_macs_follow_the_papers_equation():
    """Eq. 2: R = R_router + R(base) + (1 - coverage) R(global)."""
    router = [Layer(name="r", kind="linear", macs=2_000_000, parameters=1, output_bytes=8)]
    costs = Costs(Limits(macs_m=150), router=router)
    kept, sent = costs.kept(of_macs(68.4)), costs.sent(of_macs(262.5))
    assert joined(kept, sent, 0.25)["macs_m"] == pytest.approx(2 + 68.4 + 0.25 * 262.5)
    assert costs.kept(of_macs(68.4), alone=True)["macs_m"] == pytest.approx(68.4)


@pytest.mark.parametrize("device", ["stm32f746-tinyengine", "xiaomi-mi6x"])
def test_time_and_energy_are_those_of_a_selective_query(device):
    around = Surroundings(device=device, link="lora-1mbps").look_up()
    costs = Costs(Limits(latency_ms=1000, energy_mj=100), around, payload_bytes=150_000)
    found = joined(costs.kept(of_macs(12.8)), costs.sent(of_macs(595)), 0.3)
    expected = price_parts(
        around.device,
        around.cloud,
        around.link,
        edge_macs=12.8e6,
        cloud_macs=595e6,
        payload_bytes=150_000,
    ).at(0.7)
    assert found["latency_ms"] == pytest.approx(expected.latency_ms)
    assert found["energy_mj"] == pytest.approx(expected.energy_mj)


def test_pixels_are_sent_as_they_are_unless_told_otherwise():
    around = Surroundings().look_up()
    limits = Limits(latency_ms=100)
    raw = Costs(limits, around).sent(of_macs(1))["latency_ms"]
    assert (
        raw
        == Costs(limits, around, payload_bytes=of_macs(1).input_bytes).sent(of_macs(1))[
            "latency_ms"
        ]
    )
    assert raw < Costs(limits, around, payload_bytes=10_000).sent(of_macs(1))["latency_ms"]


def test_memory_is_the_bases_alone():
    costs = Costs(Limits(base_flash_bytes=1500, base_sram_bytes=500))
    amounts = joined(costs.kept(of_macs(1)), costs.sent(of_macs(1)), 1.0)
    assert amounts == {"base_flash_bytes": 1000, "base_sram_bytes": 500}
    assert costs.allow(amounts)
    assert not Costs(Limits(base_flash_bytes=1500, base_sram_bytes=499)).allow(
        amounts | {"base_sram_bytes": 500.0}
    )


def test_limits_that_cannot_be_checked_are_refused():
    with pytest.raises(ValidationError, match="at least one of macs_m"):
        Limits()
    with pytest.raises(ConfigError, match="latency_ms needs a device"):
        Costs(Limits(latency_ms=1))
    powerless = Surroundings(device="v100").look_up()
    with pytest.raises(ConfigError, match="power is known, got 'v100'"):
        Costs(Limits(energy_mj=1), powerless)
