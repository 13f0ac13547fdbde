"""Transfer of a trained LSTM encoder to RecurrentPPO (sb3-contrib), which carries its state from decision to decision.

    >>> encoder = RecurrentEncoder(env.observation_space, 64, cell="lstm")       # of one observation, no window
    >>> model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=recurrent_policy_kwargs(encoder))
    >>> copy_lstm(model.policy, encoder)                                    # its trained LSTM, for actor and critic

RecurrentPPO has a features extractor and, behind it, LSTMs of its own (Schulman et al. 2017, arXiv:1707.06347, with
truncated back-propagation through time). So the encoder is transferred in two parts: its input layer becomes the
extractor, its LSTM is copied. Any other encoder can be the extractor as well.
"""

from typing import Any

import torch
from torch import nn

from representation.encoder import Encoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.paradigms.recurrent.model import RecurrentEncoder


def recurrent_policy_kwargs(encoder: Encoder, trainable: bool = True, units: int = 64) -> dict[str, Any]:
    """Return `policy_kwargs` with which RecurrentPPO starts from a copy of this encoder.

    trainable: whether the agent fine-tunes the extractor
    units: of the LSTM behind an encoder without one

    Raises ValueError for a recurrent encoder that is not an LSTM on vectors.
    """
    if isinstance(encoder, RecurrentEncoder):
        encoder, units = input_encoder(encoder), encoder.features_dim
    return {**encoder.policy_kwargs(trainable), "lstm_hidden_size": units, "n_lstm_layers": 1}


def input_encoder(encoder: RecurrentEncoder) -> DenseEncoder:
    """Return the input layer of a recurrent encoder as an encoder: relu(W o + b)."""
    shape = encoder.observation_space.shape
    if not isinstance(encoder.cell, nn.LSTM) or shape is None or len(shape) != 1 or encoder.temporal_window:
        raise ValueError(
            f"RecurrentPPO needs an LSTM on vectors, one at a time, not cell="
            f"{encoder.architecture['cell']!r} on observations of {shape} with temporal_window="
            f"{encoder.temporal_window}; make a RecurrentEncoder with cell='lstm' for vectors (n,)"
        )
    dense = DenseEncoder(encoder.observation_space, encoder.features_dim, hidden=())
    weights = {name: tensor for name, tensor in encoder.state_dict().items() if name in ("offset", "scale")}
    layer = {f"layers.0.{part}": encoder.state_dict()[f"embed.{part}"] for part in ("weight", "bias")}
    dense.load_state_dict({**weights, **layer})
    dense.observed, dense.summary = encoder.observed, encoder.summary
    return dense.mark_pretrained()


def copy_lstm(policy: nn.Module, encoder: RecurrentEncoder) -> None:
    """Copy the encoder's LSTM into those of a RecurrentPPO policy that was made with `recurrent_policy_kwargs`."""
    with torch.no_grad():
        for name in ("lstm_actor", "lstm_critic"):
            lstm = getattr(policy, name, None)
            if lstm is not None:
                lstm.load_state_dict(encoder.cell.state_dict())
