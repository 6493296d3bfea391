"""Networks by name, and the weights they start from."""

from hybridge.design.nets import alexnet as alexnet
from hybridge.design.nets import families as families
from hybridge.design.nets import imagenet_resnet as imagenet_resnet
from hybridge.design.nets import mcunet as mcunet
from hybridge.design.nets import mobilenetv3 as mobilenetv3
from hybridge.design.nets import resnet as resnet
from hybridge.design.nets import small as small
from hybridge.design.nets import vgg as vgg
from hybridge.design.nets.network import Classifier, PixelNetwork, build, network, networks

__all__ = ["Classifier", "PixelNetwork", "build", "network", "networks"]
