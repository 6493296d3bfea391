"""What networks of a joint search are priced by, and limits that none of them meets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridge.codecs.codec import codec_named
from hybridge.cost.surroundings import Around
from hybridge.data.dataset import Dataset
from hybridge.design.nets.mobilenet import Family
from hybridge.design.query.router import RouterSettings
from hybridge.design.supernet.costs import FamilyCosts, Footprint, router_layers
from hybridge.design.supernet.limits import Costs, Limits, joined, out_of_reach
from hybridge.errors import HybridgeError
from hybridge.plan.layers import Layer

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


@dataclass(frozen=True)
class Bounds:
    """The smallest and largest networks of a search, and what they are priced by.

    Attributes:
        smallest: What the smallest takes.
        largest: What the largest takes.
        global_: What the largest global takes.
        router: Layers of the router.
        around: Device, server and link; None where none are named.
    """

    smallest: Footprint
    largest: Footprint
    global_: Footprint
    router: Sequence[Layer]
    around: Around | None

    def faults(self, key: str, limits: Sequence[Limits], *, alone: bool) -> list[str]:
        """Return which limits cannot be checked, and which not even the smallest network meets.

        Args:
            key: Of the limits in the recipe.
            limits: Of the searches.
            alone: Whether they are of single networks, not of pairs.
        """
        found = []
        for each in limits:
            try:
                prices = Costs(each, self.around, router=self.router)
            except HybridgeError as error:
                found.append(f"{key}: {error}")
                continue
            least, most = (prices.kept(base, alone=alone) for base in (self.smallest, self.largest))
            if not prices.allow(least):
                what = "network" if alone else "pair"
                most = most if alone else joined(most, prices.sent(self.global_), 1.0)
                found.append(f"{key}: {out_of_reach(each, what, least, most)}")
        return found


def bounds(
    family: Family,
    resolutions: Sequence[int],
    class_count: int,
    channels: int,
    router: RouterSettings | None,
    given: Footprint | None,
    around: Around | None,
) -> Bounds:
    """Return the bounds of a search.

    Args:
        family: Of the supernet.
        resolutions: Of its subnets.
        class_count: Classes, or no more than there are.
        channels: Of the images.
        router: How routers are fitted.
        given: What the global takes, where it is given.
        around: Device, server and link; None where none are named.
    """
    costs = FamilyCosts(family, class_count, channels)
    smallest = costs.footprint(family.space.smallest, min(resolutions))
    largest = costs.footprint(family.space.largest, max(resolutions))
    layers = router_layers(class_count, family.last_channels, router)
    return Bounds(smallest, largest, given or largest, layers, around)
