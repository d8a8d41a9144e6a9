"""Policies beside their task: statistics, files, returns, pictures, and runs that are kept."""

import json
import os

import gymnasium
import numpy as np
import pytest
import torch
from safetensors import safe_open
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from tests.train.policy_helpers import (
    CONTINUOUS,
    DISCRETE,
    observations,
    outputs,
    train_variable,
)
from vsnn_lab.train.policies import (
    TASKS,
    ActingWidthPolicy,
    ActingWidths,
    Run,
    Statistics,
    TrainedPolicy,
    VariablePolicy,
    action_difference,
    episode_returns,
    load_policy,
    render_episode,
    returns_by_width,
    save_policy,
    shipped_policies,
    smallest_width,
    tracked_results,
)
from vsnn_lab.train.policies.__main__ import main
from vsnn_lab.train.policies.results import track_results


@pytest.fixture(scope="module", params=[DISCRETE, CONTINUOUS])
def trained(request):
    policy = train_variable(request.param, 512).policy
    size = policy.observation_space.shape
    statistics = Statistics(np.full(size, 0.5), np.full(size, 4.0))
    return TrainedPolicy(policy, request.param, statistics, {"command": "a test", "steps": 512})


def test_statistics_normalise_as_stable_baselines_does():
    environment = VecNormalize(make_vec_env(CONTINUOUS, 3, seed=0), clip_obs=2.0)
    environment.reset()
    for _ in range(30):
        environment.step(np.ones((3, 1)))
    raw = environment.get_original_obs() * 3
    found = Statistics.of(ActingWidths(environment, 4))
    np.testing.assert_array_equal(found.normalize(raw), environment.normalize_obs(raw))
    assert np.abs(found.normalize(raw)).max() == 2
    assert Statistics.of(make_vec_env(CONTINUOUS, 1)) is None


def test_a_policy_comes_back_from_its_file(trained, tmp_path):
    path = tmp_path / "deep" / "policy.safetensors"
    save_policy(path, trained)
    found, states = load_policy(path), observations(trained.env_id)
    for width in (1, 3, 16):
        assert torch.equal(
            outputs(found.policy.at(width), states), outputs(trained.policy.at(width), states)
        )
    assert found.policy.observation_space == trained.policy.observation_space
    assert found.policy.action_space == trained.policy.action_space
    assert (found.env_id, found.made_by) == (trained.env_id, trained.made_by)
    np.testing.assert_array_equal(
        found.statistics.normalize(states), trained.statistics.normalize(states)
    )


def test_loading_leaves_the_random_state_alone(trained, tmp_path):
    save_policy(tmp_path / "policy", trained)
    before = torch.get_rng_state()
    load_policy(tmp_path / "policy")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_that_is_no_policy_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"name must be one of .*, or a file, got Cart-v9"):
        load_policy("Cart-v9")
    (tmp_path / "junk").write_bytes(b"junk" * 40)
    with pytest.raises(ValueError, match="junk must be a file of save_policy"):
        load_policy(tmp_path / "junk")


@pytest.mark.parametrize("name", shipped_policies())
def test_a_policy_that_ships_is_small_and_says_how_it_was_made(name):
    trained = load_policy(name)
    assert trained.env_id == name
    assert {"command", "seed", "steps", "versions", "date"} <= trained.made_by.keys()
    assert (trained.statistics is not None) == TASKS[name].normalize
    size = trained.policy.observation_space.shape[0]
    assert trained.policy.at(2).predict(np.zeros((1, size)), deterministic=True)


def test_the_file_holds_statistics_and_command(trained, tmp_path):
    save_policy(tmp_path / "policy", trained)
    with safe_open(tmp_path / "policy", "pt") as file:
        assert {"mean", "variance"} <= set(file.keys())
        assert json.loads(file.metadata()["vsnn_lab.policy"])["made_by"]["command"] == "a test"


def returns_by_hand(trained, width, seeds):
    environment, found = gymnasium.make(trained.env_id), []
    for seed in seeds:
        state, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            scaled = (state - trained.statistics.mean) / np.sqrt(trained.statistics.variance)
            row = scaled.astype(np.float32)[None]
            action, _ = trained.policy.at(width).predict(row, deterministic=True)
            state, reward, ended, cut, _ = environment.step(action[0])
            total, over = total + float(reward), ended or cut
        found.append(total)
    return found


def test_returns_are_those_of_episodes_run_one_by_one(trained):
    found = episode_returns(
        trained.policy.at(3), trained.env_id, 3, statistics=trained.statistics, seed=7
    )
    assert found == pytest.approx(returns_by_hand(trained, 3, (7, 8, 9)), rel=1e-4)


def test_actions_differ_from_full_width_only_below_it(trained):
    assert action_difference(trained, 16, 2) == 0
    assert 0 < action_difference(trained, 1, 2) <= 1


@pytest.mark.parametrize("env_id", ["CartPole-v1", "InvertedPendulum-v5"])
def test_pictures_of_an_episode_start_alike_at_every_width(env_id):
    environment = gymnasium.make(env_id)
    torch.manual_seed(0)
    policy = VariablePolicy(
        environment.observation_space, environment.action_space, lambda _: 0.0, net_arch=[4]
    )
    policy.action_net.weight.data *= 1_000
    trained = TrainedPolicy(policy, env_id)
    try:
        narrow, full = (
            render_episode(trained, width, 5, every=4, size=(48, 64), seed=3) for width in (1, 4)
        )
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert (narrow.shape, narrow.dtype) == ((5, 48, 64, 3), np.uint8)
    assert np.array_equal(narrow[0], full[0])
    assert narrow[0].std() > 0
    assert not np.array_equal(narrow[0], narrow[-1])


def test_widths_that_act_are_appended_outermost_and_stay_for_an_episode():
    venv = ActingWidths(make_vec_env(DISCRETE, 3, seed=0), 64, seed=0)
    before = venv.reset()[:, -1]
    assert before.tolist() == venv.widths.tolist()
    changed = 0
    for _ in range(200):
        found, _, dones, infos = venv.step(np.zeros(3, dtype=int))
        assert found.shape == (3, 5)
        for index in range(3):
            if dones[index]:
                assert infos[index]["terminal_observation"][-1] == before[index]
                changed += int(found[index, -1] != before[index])
            else:
                assert found[index, -1] == before[index]
        before = found[:, -1]
    assert changed > 10
    assert before.min() >= 1


def test_the_width_that_acted_is_the_one_that_learns():
    venv = ActingWidths(make_vec_env(CONTINUOUS, 2, seed=0), 8, seed=0)
    model = PPO(
        ActingWidthPolicy,
        venv,
        n_steps=64,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": {"pi": [8, 8], "vf": [8]}},
    ).learn(256)
    states = observations(CONTINUOUS)
    for width in (1, 5, 8):
        rows = np.concatenate([states, np.full((len(states), 1), width)], 1).astype(np.float32)
        cut = model.policy.at(width)
        assert type(cut) is ActorCriticPolicy
        torch.testing.assert_close(outputs(cut, states), outputs(model.policy, rows))
        torch.testing.assert_close(
            cut.predict_values(torch.as_tensor(states)),
            model.policy.predict_values(torch.as_tensor(rows)),
        )


def cart_pole_counts(width):
    """Return parameters and products of an actor from 4 numbers to 2 actions, by hand."""
    macs = 4 * width + width * width + width * 2
    return macs + width + width + 2, macs


def test_runs_are_kept_and_not_repeated(tmp_path, monkeypatch, capsys):
    arguments = ["--tasks", "CartPole-v1", "--seeds", "1", "--steps", "2048", "--episodes", "2"]
    arguments += ["--folder", str(tmp_path), "--processes", "1"]
    results = tmp_path / "policies.json"
    runs = [Run("CartPole-v1", each, 0, 2048, 2) for each in ("variable", "dedicated-2")]
    for run in runs:
        run.keep(tmp_path)
    kept = {run.file(tmp_path): run.file(tmp_path).read_bytes() for run in runs}
    results.write_text('{"runs": [{"task": "Z", "method": "variable", "seed": 0, "returns": {}}]}')
    shipped = tmp_path / "shipped"
    methods = ["--methods", "variable", "dedicated-2"]
    files = ["--results", str(results), "--ship", str(shipped)]
    assert main([*arguments, *methods, *files]) == 0
    assert "2 of 2 runs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in kept} == kept
    dedicated, variable, other = json.loads(results.read_text())["runs"]
    assert other["task"] == "Z"
    assert load_policy(shipped / "CartPole-v1.safetensors").made_by["seed"] == 0
    assert [*variable["returns"]] == ["1", "2", "4", "8", "16", "24", "32", "48", "64"]
    assert [*dedicated["returns"]] == ["2"]
    for found, widths in ((variable, map(int, variable["returns"])), (dedicated, [2])):
        counts = {str(width): cart_pole_counts(width) for width in widths}
        assert found["parameters"] == {width: count for width, (count, _) in counts.items()}
        assert found["macs"] == {width: count for width, (_, count) in counts.items()}
    assert {"command", "seed", "versions", "date", "steps", "seconds"} <= variable.keys()
    assert 0 < variable["teaching_seconds"] < variable["seconds"]
    trained = load_policy(runs[0].policy_file(tmp_path))
    found = episode_returns(trained.policy.at(4), "CartPole-v1", 2, statistics=trained.statistics)
    assert np.mean(found) == variable["returns"]["4"]


@pytest.mark.parametrize("method", ["linear", "acting"])
def test_every_method_trains(method):
    result = Run("CartPole-v1", method, 0, 2048, 1).execute()
    assert all(each >= 1 for each in result["returns"].values())
    macs = {0: 8} if method == "linear" else {at: cart_pole_counts(at)[1] for at in (1, 64)}
    assert macs.items() <= {int(at): count for at, count in result["macs"].items()}.items()


def test_the_smallest_width_is_the_one_from_which_all_are_near():
    assert smallest_width({1: [9.9], 2: [5.0], 4: [9.0, 10.2], 8: [10.0]}) == 4
    assert smallest_width({1: [0.0], 8: [-10.0]}) == 1
    assert smallest_width({1: [-20.0], 8: [-10.0]}) == 8


def test_returns_are_gathered_by_width_over_seeds():
    runs = [("dedicated-2", {"2": 5.0}), ("dedicated-1", {"1": 3.0}), ("dedicated-2", {"2": 7.0})]
    results = [{"method": method, "returns": returns} for method, returns in runs]
    assert returns_by_width(results, "dedicated") == {1: [3.0], 2: [5.0, 7.0]}
    assert returns_by_width(results, "linear") == {}


def test_results_join_what_the_file_has_of_other_runs(tmp_path):
    path = tmp_path / "policies.json"
    first = [{"task": "a", "method": "variable", "seed": seed, "returns": {}} for seed in (0, 1)]
    track_results(first, path)
    again = [first[1] | {"returns": {"1": 2.0}}, first[0] | {"method": "linear"}]
    track_results(again, path)
    assert sorted(map(str, tracked_results(path))) == sorted(map(str, [first[0], *again]))


@pytest.mark.parametrize("method", ["variable", "linear", "dedicated-4"])
def test_the_checkout_keeps_three_seeds_of_every_task(method):
    kept = [each["task"] for each in tracked_results() if each["method"] == method]
    assert sorted(kept) == sorted(3 * list(TASKS))


def test_the_checkout_knows_what_the_actors_that_ship_cost_at_every_width():
    for run in tracked_results():
        if run["method"] == "variable":
            policy = load_policy(run["task"]).policy
            for width in run["returns"]:
                actor = policy.actor_at(int(width))
                weights = [each.numel() for each in actor.parameters()]
                assert run["parameters"][width] == sum(weights)
                products = [each.numel() for each in actor.parameters() if each.ndim == 2]
                assert run["macs"][width] == sum(products)


def test_an_unknown_task_or_method_is_refused():
    with pytest.raises(ValueError, match=r"task must be one of 'CartPole-v1'.*got 'Ant-v5'"):
        Run("Ant-v5", "variable", 0).execute()
    with pytest.raises(ValueError, match=r"method must be one of 'variable'.*got 'wide'"):
        Run("CartPole-v1", "wide", 0).execute()
