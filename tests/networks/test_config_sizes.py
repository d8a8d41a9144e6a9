"""What a network says of its sizes in a configuration is right in a submodel."""

from collections import namedtuple
from dataclasses import asdict, dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import extract
from vsnn_lab.networks.conversion import make_variable


@dataclass
class Config:
    hidden_size: int = 32
    intermediate_size: int = 64
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    vocab_size: int = 32


Frozen = namedtuple("Frozen", asdict(Config()))


class Network(nn.Module):
    """Grouped queries, and names as those of Llama."""

    def __init__(self, config):
        super().__init__()
        self.config, self.head_dim = config, 4
        heads, keys = config.num_attention_heads * 4, config.num_key_value_heads * 4
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.q_proj = nn.Linear(config.hidden_size, heads)
        self.k_proj, self.v_proj = (nn.Linear(config.hidden_size, keys) for _ in range(2))
        self.o_proj = nn.Linear(heads, config.hidden_size)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        parts = (layer(x) for layer in (self.q_proj, self.k_proj, self.v_proj))
        shape = (*tokens.shape, -1, self.head_dim)
        query, key, value = (part.view(shape).transpose(1, 2) for part in parts)
        found = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        x = x + self.o_proj(found.transpose(1, 2).reshape(*tokens.shape, -1))
        return self.head(x + self.down_proj(self.up_proj(x).relu()))


@pytest.mark.parametrize("position", [1, 13, 16, 31])
def test_a_cut_is_what_its_configuration_builds(position):
    torch.manual_seed(0)
    tokens = torch.randint(32, (2, 5))
    variable = make_variable(Network(Config()), tokens)
    cut = extract(variable, position)
    twin = Network(cut.config)
    twin.load_state_dict(cut.state_dict())
    torch.testing.assert_close(twin(tokens), cut(tokens))
    assert cut.config.vocab_size == 32
    assert variable.config == Config()


def test_a_frozen_configuration_stays():
    frozen = Frozen(**asdict(Config()))
    cut = extract(make_variable(Network(frozen), torch.randint(32, (2, 5))), 3)
    assert cut.config == frozen
