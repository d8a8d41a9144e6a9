"""Variable policies: full width is ordinary PPO's, narrow widths learn and are cut out."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

import vsnn_lab
from tests.train.policy_helpers import (
    CONTINUOUS,
    DISCRETE,
    observations,
    outputs,
    train_ppo,
    train_variable,
)
from vsnn_lab import at_width
from vsnn_lab.train.policies import TeachWidths, VariablePolicy, WidthTeacher, teach_widths

ENVIRONMENTS = pytest.mark.parametrize("env_id", [DISCRETE, CONTINUOUS])


@pytest.fixture(scope="module", params=[DISCRETE, CONTINUOUS])
def trained(request):
    return request.param, train_variable(request.param)


def test_what_all_widths_share_is_plain_ppo_to_the_bit(trained):
    env_id, variable = trained
    plain = train_ppo("MlpPolicy", env_id).policy.state_dict()
    found = variable.policy.state_dict()
    assert [name for name in found if name in plain] == [*plain]
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    own = {name.split(".")[-2] for name in found if name not in plain}
    assert own == {"own_weights"}
    assert all(each.abs().sum() > 0 for each in variable.policy.narrow_parameters())


def test_the_random_states_are_left_as_plain_ppo_leaves_them():
    states = []
    for policy, callback in (("MlpPolicy", None), (VariablePolicy, TeachWidths(2, 4))):
        train_ppo(policy, DISCRETE, 512, callback)
        states.append((torch.get_rng_state(), np.random.get_state()[1]))
    assert torch.equal(states[0][0], states[1][0])
    assert np.array_equal(states[0][1], states[1][1])


@ENVIRONMENTS
def test_teaching_gives_no_gradient_to_what_all_share_and_leaves_none(env_id):
    policy = train_variable(env_id, 512).policy
    shared = {
        name: value.clone()
        for name, value in policy.named_parameters()
        if ".own_weights." not in name
    }
    policy.zero_grad(set_to_none=True)
    states = torch.as_tensor(observations(env_id))
    teacher = WidthTeacher(policy, batch_size=8)
    teacher._loss(states, tuple(each.unsqueeze(1) for each in teacher.actor.outputs(states)))
    WidthTeacher(policy).teach(states, 3)
    assert all(value.grad is None for value in policy.parameters())
    assert all(torch.equal(policy.get_parameter(name), value) for name, value in shared.items())


def test_the_loss_is_the_divergence_written_out_by_hand(trained):
    env_id, model = trained
    policy, states = model.policy, torch.as_tensor(observations(env_id))
    actor = policy.variable_actor()
    with torch.no_grad():
        full = actor.outputs(states)
        with at_width(policy, 3):
            narrow = actor.outputs(states)
    if env_id == CONTINUOUS:
        sigma = policy.log_std.exp()
        expected = ((narrow[0] - full[0]) ** 2 / (2 * sigma**2)).sum(1)
    else:
        p, q = (torch.distributions.Categorical(logits=each[0]) for each in (full, narrow))
        expected = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(actor.divergence(narrow, full), expected)


def test_teaching_brings_every_width_nearer_to_full(trained):
    env_id, model = trained
    states = observations(env_id, 500)
    before = VariablePolicy.of(model.policy.at(16))
    after = teach_widths(model.policy.at(16), states, 150, progress=False)
    full = outputs(after, states)
    for width in (1, 2, 4, 8, 11, 15):
        far, near = (
            outputs(each.at(width), states).sub(full).square().mean() for each in (before, after)
        )
        assert near < far, width
    assert torch.equal(full, outputs(before, states))


@pytest.mark.parametrize("width", [1, 2, 3, 8, 9, 15, 16])
def test_a_cut_policy_is_an_ordinary_one_and_equals_the_variable_one(trained, width):
    env_id, model = trained
    cut, states = model.policy.at(width), observations(env_id)
    assert type(cut) is ActorCriticPolicy
    assert all(not type(each).__module__.startswith("vsnn_lab") for each in cut.modules())
    assert [each.out_features for each in cut.mlp_extractor.policy_net[::2]] == [width, width]
    with at_width(model.policy, width):
        expected = outputs(model.policy, states)
    torch.testing.assert_close(outputs(cut, states), expected, atol=1e-6, rtol=0)
    actor = model.policy.actor_at(width)
    found = actor(torch.as_tensor(states))
    # Torch's distribution keeps logarithms of probabilities for logits.
    found = found.log_softmax(1) if env_id == DISCRETE else found
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    values = [each.predict_values(torch.as_tensor(states)) for each in (cut, model.policy)]
    assert torch.equal(*values)


def test_layers_of_several_sizes_stand_on_one_knob():
    policy = train_variable(DISCRETE, 512, pi=[12, 8], vf=[]).policy
    assert policy.control.steps == 4
    assert [each.out_features for each in policy.at(3).mlp_extractor.policy_net[::2]] == [9, 6]


BLOCKED = """
import sys
import numpy as np
sys.modules["vsnn_lab"] = None  # importing it is an error from here
from stable_baselines3.common.policies import ActorCriticPolicy
policy = ActorCriticPolicy.load(sys.argv[1])
np.save(sys.argv[3], policy.predict(np.load(sys.argv[2]), deterministic=True)[0])
"""


def test_a_cut_policy_loads_and_predicts_without_this_package(trained, tmp_path):
    env_id, model = trained
    files = [tmp_path / name for name in ("policy.pt", "states.npy", "actions.npy")]
    model.policy.at(5).save(files[0])
    np.save(files[1], observations(env_id))
    subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCKED, *map(str, files)], check=True)
    with at_width(model.policy, 5):
        expected, _ = model.policy.predict(observations(env_id), deterministic=True)
    np.testing.assert_allclose(np.load(files[2]), expected, atol=1e-6, rtol=0)


def test_a_variable_policy_is_saved_and_loaded_by_ppo(trained, tmp_path):
    env_id, model = trained
    model.save(tmp_path / "model.zip")
    loaded, states = PPO.load(tmp_path / "model.zip", device="cpu").policy, observations(env_id)
    assert torch.equal(outputs(loaded.at(3), states), outputs(model.policy.at(3), states))


def small() -> dict[str, object]:
    # A new one for each, since SAC adds to what it is given.
    return {"net_arch": [16, 8], "n_critics": 1}


@pytest.mark.parametrize("algorithm", [A2C, SAC, TD3, DDPG])
def test_any_trained_policy_learns_its_narrow_widths_afterwards(algorithm, tmp_path):
    off_policy = algorithm is not A2C
    options = {"buffer_size": 500, "learning_starts": 20} if off_policy else {}
    kwargs = small() if off_policy else {"net_arch": [16, 8]}
    model = algorithm("MlpPolicy", CONTINUOUS, policy_kwargs=kwargs, device="cpu", **options)
    model.learn(60)
    states = observations(CONTINUOUS, 300)
    full, _ = model.predict(states, deterministic=True)
    taught = teach_widths(model, states, 200, progress=False)
    untaught = type(taught).of(model.policy)
    assert taught.control.steps == 8
    for width in (1, 4, 5):
        with at_width(taught, width):
            narrow, _ = taught.predict(states, deterministic=True)
        cut = taught.at(width)
        assert type(cut) is type(model.policy)
        np.testing.assert_allclose(cut.predict(states, deterministic=True)[0], narrow, atol=1e-6)
        before, _ = untaught.at(width).predict(states, deterministic=True)
        assert np.square(narrow - full).mean() <= np.square(before - full).mean()
    assert np.array_equal(taught.predict(states, deterministic=True)[0], full)
    cut.save(tmp_path / "policy.pt")
    again = type(cut).load(tmp_path / "policy.pt", device="cpu")
    assert np.array_equal(again.predict(states, deterministic=True)[0], narrow)


def test_teaching_sac_also_teaches_how_widely_it_draws():
    model = SAC("MlpPolicy", CONTINUOUS, policy_kwargs=small(), buffer_size=10, device="cpu")
    taught = teach_widths(model, observations(CONTINUOUS), 1, progress=False)
    states, actor = torch.as_tensor(observations(CONTINUOUS)), taught.variable_actor()
    with torch.no_grad():
        full = actor.outputs(states)
        with at_width(taught, 2):
            narrow = actor.outputs(states)
    p, q = (torch.distributions.Normal(mean, log.exp()) for mean, log in (full, narrow))
    expected = torch.distributions.kl_divergence(p, q).sum(1)
    torch.testing.assert_close(actor.divergence(narrow, full), expected, atol=1e-5, rtol=1e-4)


def spaced(observation, action=None):
    """Build a variable policy for these spaces."""
    return VariablePolicy(observation, action or spaces.Discrete(2), lambda _: 1e-3)


VECTOR, IMAGE = spaces.Box(-1, 1, (3,)), spaces.Box(0, 255, (3, 36, 36), np.uint8)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: spaced(spaces.Dict(a=VECTOR)), TypeError, "observation space must be a Box.*Dict"),
        (lambda: spaced(IMAGE), ValueError, r"must be vectors, got images of shape \(3, 36, 36\)"),
        (lambda: spaced(VECTOR, spaces.MultiDiscrete([2, 3])), TypeError, "action space must be"),
        (lambda: spaced(VECTOR, spaces.MultiBinary(3)), TypeError, "action space must be"),
        (
            lambda: VariablePolicy(VECTOR, VECTOR, lambda _: 1e-3, net_arch=[]),
            ValueError,
            "net_arch must name at least one hidden layer of the actor, got none",
        ),
        (
            lambda: VariablePolicy(VECTOR, VECTOR, lambda _: 1e-3, net_arch=[8, 9]),
            ValueError,
            r"must have a common divisor, got \[8, 9\]",
        ),
        (
            lambda: VariablePolicy(VECTOR, VECTOR, lambda _: 1e-3, use_sde=True),
            ValueError,
            "use_sde must be False, got True",
        ),
    ],
)
def test_what_cannot_be_narrow_is_refused_before_training(build, error, message):
    with pytest.raises(error, match=message):
        build()


class RecurrentPolicy(ActorCriticPolicy):
    """Stands in for sb3-contrib's."""


def plain(cls=ActorCriticPolicy, **options):
    return cls(VECTOR, VECTOR, lambda _: 1e-3, **options)


@pytest.mark.parametrize(
    ("policy", "states", "error", "message"),
    [
        (lambda: plain(RecurrentPolicy), VECTOR, TypeError, "MlpPolicy.*got RecurrentPolicy; rec"),
        (lambda: nn.Linear(1, 1), VECTOR, TypeError, "MlpPolicy.*got Linear"),
        (plain, np.zeros((5, 4)), ValueError, r"observations must have shape \(rows, 3\)"),
        (plain, np.zeros((0, 3)), ValueError, r"observations must have shape \(rows, 3\)"),
        (plain, np.full((5, 3), np.nan), ValueError, "observations must be finite"),
    ],
)
def test_what_cannot_be_taught_is_refused(policy, states, error, message):
    states = np.zeros((5, 3)) if states is VECTOR else states
    with pytest.raises(error, match=message):
        teach_widths(policy(), states, 1, progress=False)


def test_an_image_policy_is_refused():
    cnn = PPO("CnnPolicy", gymnasium.make("CartPole-v1"), device="cpu", _init_setup_model=False)
    policy = cnn.policy_class(IMAGE, VECTOR, lambda _: 1e-3)
    with pytest.raises(TypeError, match="got ActorCriticCnnPolicy; recurrent and convolutional"):
        teach_widths(policy, np.zeros((5, 3, 36, 36)), 1, progress=False)


def test_the_callback_refuses_a_policy_without_widths_before_training():
    model = PPO("MlpPolicy", DISCRETE, n_steps=64, device="cpu")
    with pytest.raises(TypeError, match="TeachWidths must be given to PPO or A2C with a Variab"):
        model.learn(64, callback=TeachWidths())


WITHOUT = """
import sys
sys.modules["stable_baselines3"] = None
import vsnn_lab
try:
    vsnn_lab.policies
except ImportError as error:
    print(error)
"""


def test_without_the_extra_the_error_names_it():
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'vsnn-lab[rl]'" in done.stdout


def test_policies_are_an_attribute_of_the_package():
    assert vsnn_lab.policies.VariablePolicy is VariablePolicy


def test_the_room_has_a_short_name_that_loads_nothing_before_it_is_used():
    code = """
import sys
import vsnn_lab, vsnn_lab.policies
assert "stable_baselines3" not in sys.modules
from vsnn_lab.policies import VariablePolicy
assert VariablePolicy is vsnn_lab.policies.VariablePolicy
assert VariablePolicy is sys.modules["vsnn_lab.train.policies"].VariablePolicy
try:
    from vsnn_lab.policies import Nothing
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert "cannot import name 'Nothing'" in done.stdout, done.stderr
