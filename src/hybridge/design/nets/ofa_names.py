"""What Once-for-All's code calls the weights of its MobileNets, and MCUNet's code after it.

Of https://github.com/mit-han-lab/once-for-all: the supernets ``ofa_mbv3_d234_e346_k357_w1.0`` and
``..._w1.2``, and the networks that were taken out of them.
"""

from hybridge.design.nets.mobilenet import MobileNet

#: How keys begin there, and here.
_ENDS = {
    "first_conv.": "stem.",
    "final_expand_layer.": "final.",
    "feature_mix_layer.conv.": "last.0.",
    "classifier.linear.": "classifier.",
    "classifier.linear.linear.": "classifier.",
}
_LAYERS = {
    "inverted_bottleneck.": "expand.",
    "depth_conv.": "depthwise.",
    "point_linear.": "project.",
}
_SQUEEZE = {"depth_conv.se.fc.": "squeeze."}
_MATRICES = {
    f"depth_conv.conv.{step}_matrix": f"depthwise.conv.matrices.{step}" for step in ("7to5", "5to3")
}
#: An elastic layer there holds the layer proper under its name again: ``conv.conv.weight``.
_DOUBLED = {
    f"{there}{name}.{name}.": f"{here}{name}."
    for there, here in _LAYERS.items()
    for name in ("conv", "bn")
}
#: What a block stands in: in the files, and in the code since.
_AROUND = ("mobile_inverted_conv", "conv")


def ofa_prefixes(network: MobileNet) -> dict[str, str]:
    """Return how keys begin in a public checkpoint, and how they do in a supernet or a subnet."""
    return _ENDS | ofa_blocks(network)


def ofa_blocks(network: MobileNet) -> dict[str, str]:
    """Return the same for the blocks alone."""
    found: dict[str, str] = {}
    for number in range(len(network.blocks)):
        for around in _AROUND:
            there, here = f"blocks.{number}.{around}.", f"blocks.{number}."
            parts = _LAYERS | _SQUEEZE | _MATRICES | _DOUBLED
            found |= {there + key: here + own for key, own in parts.items()}
    return found
