"""What networks of a joint search are priced by, and limits that none of them meets."""

from collections.abc import Sequence

import numpy as np

from hybridge.codecs.codec import codec_named
from hybridge.cost.surroundings import Around
from hybridge.data.dataset import Dataset
from hybridge.design.nets.mobilenet import Family
from hybridge.design.query.router import RouterSettings
from hybridge.design.supernet.costs import FamilyCosts, Footprint, router_layers
from hybridge.design.supernet.limits import Costs, Limits, joined, out_of_reach
from hybridge.errors import HybridgeError

#: Images that a codec's mean size is taken over, at most.
_SOME = 1000
_BATCH = 100


def mean_payload_bytes(codec: str, images: Dataset) -> float:
    """Return the mean size of the first thousand images as a hybrid sends them: in full.

    Args:
        codec: Name of the codec.
        images: In an order in which the first are like all.
    """
    indices = np.arange(min(_SOME, len(images)))
    batches = np.array_split(indices, -(-len(indices) // _BATCH))
    encode = codec_named(codec).encode
    return sum(encode(images.pixels(batch)).payload_bytes for batch in batches) / len(indices)


def limit_faults(
    limits: Sequence[Limits],
    around: Around | None,
    family: Family,
    resolutions: Sequence[int],
    class_count: int,
    channels: int,
    router: RouterSettings | None,
    given: Footprint | None,
) -> list[str]:
    """Return which limits cannot be checked, and which not even the smallest base meets.

    Args:
        limits: Of the searches.
        around: Device, server and link; None where none are named.
        family: Of the supernet.
        resolutions: Of its subnets.
        class_count: Classes, or no more than there are.
        channels: Of the images.
        router: How routers are fitted.
        given: What the global takes, where it is given.
    """
    costs = FamilyCosts(family, class_count, channels)
    smallest = costs.footprint(family.space.smallest, min(resolutions))
    largest = costs.footprint(family.space.largest, max(resolutions))
    layers = router_layers(class_count, router)
    found = []
    for each in limits:
        try:
            prices = Costs(each, around, router=layers)
        except HybridgeError as error:
            found.append(f"search.limits: {error}")
            continue
        least = prices.kept(smallest)
        if not prices.allow(least):
            most = joined(prices.kept(largest), prices.sent(given or largest), 1.0)
            found.append(f"search.limits: {out_of_reach(each, 'pair', least, most)}")
    return found
