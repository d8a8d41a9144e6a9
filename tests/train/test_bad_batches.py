import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.train.test_training import X, Y, quietly, same_weights, seeded, variable
from vsnn_lab import MLP, Width, fit

BATCH = torch.zeros(6, 4, dtype=torch.float64), torch.zeros(6, dtype=torch.long)
ARRAYS = tuple(part.numpy() for part in BATCH)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [{"x": BATCH[0], "y": BATCH[1]}],
            r"data must hold pairs of tensors \(inputs, targets\), got {'x': Tensor of shape "
            r"\(6, 4\) and torch.float64, 'y': .*} of type dict; a DataLoader's",
        ),
        (
            [(*BATCH, torch.arange(6))],
            r"got \(Tensor of shape \(6, 4\) and torch.float64, .*\) of type tuple; a DataLoader's "
            r"collate_fn can make pairs",
        ),
        (
            [BATCH[0], BATCH[0]],
            r"two .*got \[Tensor of shape \(6, 4\) and torch.float64, Tensor",
        ),
        ([ARRAYS], r"got \(ndarray of shape \(6, 4\) and float64, array"),
        (ARRAYS, r"data must be a tuple of two .* array.*\); torch\.as_tensor makes"),
        ((BATCH[0], ARRAYS[1]), r"got \(Tensor of shape \(6, 4\) and torch.float64, array"),
        (
            [[BATCH] * 9],
            r"got \[\(Tensor of shape \(6, 4\) .*, \.\.\.\] of type list",
        ),
    ],
    ids=["dict", "triple", "list of tensors", "arrays", "pair of arrays", "mixed", "nested"],
)
def test_a_batch_of_another_form_is_named_by_its_shapes_and_never_printed(data, message):
    with pytest.raises(TypeError, match=message) as refused:
        quietly(variable(), data, F.mse_loss, validation=None)
    assert "0., 0." not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_no_message_prints_a_large_value():
    large = torch.zeros(1000)
    for arguments in (
        {"validation": (large.numpy(), large.numpy())},
        {"loss": large},
        {"loss": lambda output, target: large},
        {"model": large},
        {"epochs": large},
        {"recipe": large},
        {"lr": large},
        {"progress": large},
    ):
        asked = {"model": variable(), "data": (X, Y), "loss": F.mse_loss} | arguments
        with pytest.raises(TypeError, match=r"(Tensor|ndarray) of shape \(1000,\)"):
            fit(**asked)


def regressor() -> nn.Module:
    return seeded(lambda: MLP(4, (Width(8),), 1))


def squared(output, target):
    return (output - target).square().mean()


def to_the_fourth(output, target):
    return ((output - target) ** 4).sum() / len(output)


def balanced(output, target):
    return (torch.where(target > 0, 2.0, 1.0) * (output - target).abs()).mean()


@pytest.mark.parametrize("loss", [squared, to_the_fourth, balanced])
@pytest.mark.parametrize("model", [regressor, lambda: seeded(lambda: nn.Linear(4, 1))])
def test_a_loss_that_broadcasts_samples_over_each_other_warns_once(loss, model):
    said = (
        r"loss is no mean over samples for outputs of shape \(\d+, 1\) and targets of shape "
        r"\(\d+,\), which arithmetic broadcasts to all pairs"
    )
    with pytest.warns(UserWarning, match=said) as caught:
        quietly(model(), (X, Y[:, 0]), loss)
    assert len(caught) == 1
    quietly(model(), (X, Y[:, :1]), loss)


def test_a_loss_that_sees_to_the_shapes_itself_is_not_warned_of():
    for loss in (
        lambda output, target: squared(output.squeeze(1), target),
        lambda output, target: squared(output, target[:, None]),
        lambda output, target: F.binary_cross_entropy_with_logits(output[:, 0], target.sigmoid()),
    ):
        quietly(regressor(), (X, Y[:, 0]), loss)


def test_torchs_own_losses_warn_or_refuse_by_themselves():
    with pytest.warns(UserWarning, match="Using a target size"):
        quietly(regressor(), (X, Y[:, 0]), F.mse_loss)
    with pytest.raises(ValueError, match=r"Target size .* must be the same as input size"):
        quietly(regressor(), (X, Y[:, 0].sigmoid()), F.binary_cross_entropy_with_logits)


def test_bytes_as_inputs_are_refused_by_the_layer_and_nothing_is_trained():
    model = variable()
    with pytest.raises(RuntimeError, match="must have the same dtype"):
        quietly(model, (X.to(torch.uint8), Y), F.mse_loss)
    assert same_weights(model, variable())
