"""The page about several devices: its script, started by its command, trains one network."""

import os
import re
import subprocess
import sys

import pytest
import torch

from tests.test_docs import DOCS, blocks
from vsnn_lab._basics import checkpoints

PAGE = DOCS / "more_devices.md"


def run(command: list[str], folder, **env: str) -> str:
    """Run the page's script in a folder of its own; return what it prints."""
    folder.mkdir()
    code = next(code for kind, _, code in blocks(PAGE) if kind == "python")
    (folder / "train.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=os.environ | env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_train_the_network_that_one_trains(tmp_path):
    setting, launcher, *arguments = next(
        code.split() for _, _, code in blocks(PAGE) if "torchrun" in code
    )
    assert launcher == "torchrun"
    command = ["-m", "torch.distributed.run", *arguments]
    said = run(command, tmp_path / "two", **dict([setting.split("=")]))
    assert sorted(re.findall(r"process \d of \d", said)) == ["process 1 of 2", "process 2 of 2"]
    assert "process 1 of 1" in run(["train.py"], tmp_path / "one")
    two, one = (checkpoints.read(tmp_path / n / "net.safetensors")[0] for n in ("two", "one"))
    # The last batch has 13 samples, of which one process gets 7 and the other 6.
    torch.testing.assert_close(two, one, rtol=0, atol=2e-3)
    assert len(list((tmp_path / "two" / "runs").iterdir())) == 1, "one checkpoint, of one run"
