"""The plain EfficientNet-Lite0 that published weights load into."""

import torch

from vsnn_lab.train.efficientnet import EfficientNetLite0, load_weights


def test_it_has_the_published_names_and_sizes():
    with torch.device("meta"):
        model = EfficientNetLite0()
    assert sum(each.numel() for each in model.parameters()) == 4_652_008
    assert len(model.state_dict()) == 296
    assert model(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1000)
    source = EfficientNetLite0()
    target = EfficientNetLite0()
    published = {
        f"_{name.replace('.bn', '._bn')}": value for name, value in source.state_dict().items()
    }
    load_weights(target, published)
    assert all(
        torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items()
    )
