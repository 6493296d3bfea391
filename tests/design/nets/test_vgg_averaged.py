import torch

from hybridge.design.graph.outline import outline
from hybridge.design.nets import build


def test_larger_images_are_averaged_and_cost_no_more():
    size = {"class_count": 10, "channels": 3}
    small = outline("vgg11_cifar", resolution=32, **size)
    large = outline("vgg11_cifar", resolution=224, averaged=7, **size)
    assert large.macs == small.macs
    assert large.is_chain
    torch.manual_seed(0)
    network = build("vgg11_cifar", 10, averaged=7).eval()
    plain = build("vgg11_cifar", 10).eval()
    plain.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 32, 32)
    repeated = images.repeat_interleave(7, 2).repeat_interleave(7, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(repeated), plain(images), atol=1e-4, rtol=1e-4)
