"""The phone of the model-tree paper's table I: a time per MAC predicts a network it has not seen.

`benchmarks/device_fit.py` prints the same, with MACs counted anew.
"""

import pytest

from hybridge.cost.device import devices
from hybridge.cost.fit import fit_rate

#: MACs at 224 x 224 as `hybridge macs` counts them, and the paper's milliseconds.
TABLE_I = {
    "vgg19": (19_632_062_464, 5734.89),
    "resnet50": (4_089_184_256, 1103.20),
    "resnet101": (7_801_405_440, 2238.79),
    "resnet152": (11_513_626_624, 3729.10),
}


def fitted(*names):
    return fit_rate(*zip(*(TABLE_I[name] for name in names), strict=True))


@pytest.mark.parametrize(
    ("left_out", "worst"),
    [("vgg19", 0.0065), ("resnet50", 0.11), ("resnet101", 0.018), ("resnet152", 0.129)],
)
def test_three_networks_predict_the_fourth(left_out, worst):
    macs, measured_ms = TABLE_I[left_out]
    rate = fitted(*(name for name in TABLE_I if name != left_out))
    assert abs(rate * macs / 1e6 / measured_ms - 1) < worst


def test_the_preset_is_the_fit_of_all_four():
    ((name, number),) = devices.get("xiaomi-mi6x").speeds[0].numbers()
    assert name == "ns_per_mac"
    assert number.value == pytest.approx(fitted(*TABLE_I), rel=0.0025)
    assert not number.assumed
