"""An LSTM of ours inside RecurrentPPO: the same features step by step, and frozen perception stays as it is."""

from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO

from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from representation.paradigms.feedforward.model import DenseEncoder
from representation.paradigms.recurrent.model import RecurrentEncoder
from representation.paradigms.recurrent.policy import copy_lstm, input_encoder, recurrent_policy_kwargs

SMALL: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "device": "cpu", "seed": 1}


@pytest.fixture
def env() -> DeepTrafficVecEnv:
    return DeepTrafficVecEnv(4, observation="gaps", max_steps=9)


def make(env: DeepTrafficVecEnv, cell: str = "lstm") -> RecurrentEncoder:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(env.observation_space, 16, cell=cell)
    encoder.fit_normalisation(np.random.default_rng(0).random((50, 42)))
    return encoder


def test_recurrent_ppo_remembers_what_the_encoder_remembers(env: DeepTrafficVecEnv) -> None:
    encoder = make(env)
    model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=recurrent_policy_kwargs(encoder), **SMALL)
    copy_lstm(model.policy, encoder)
    policy: Any = model.policy
    obs, state = env.reset(), encoder.initial_state(4)
    lstm: Any = (torch.zeros(1, 4, 16), torch.zeros(1, 4, 16))
    for action in (1, 3, 4):
        features, state = encoder.step(torch.from_numpy(obs), state)
        seen = policy.pi_features_extractor(torch.from_numpy(obs))
        remembered, lstm = policy._process_sequence(seen, lstm, torch.zeros(4), policy.lstm_actor)
        torch.testing.assert_close(remembered, features)
        obs, *_ = env.step(np.full(4, action))


def test_frozen_perception_stays_as_it_is_while_the_memory_learns(env: DeepTrafficVecEnv) -> None:
    encoder = make(env)
    kwargs = recurrent_policy_kwargs(encoder, trainable=False)
    model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=kwargs, **SMALL)
    copy_lstm(model.policy, encoder)
    model.learn(32)
    policy: Any = model.policy
    assert policy.features_extractor.digest() == input_encoder(encoder).digest()
    learnt = policy.lstm_actor.state_dict()
    assert any(not torch.equal(learnt[name], weights) for name, weights in encoder.cell.state_dict().items())


def test_another_encoder_gets_an_lstm_behind_it(env: DeepTrafficVecEnv) -> None:
    dense = DenseEncoder(env.observation_space, 12)
    model = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=recurrent_policy_kwargs(dense, units=20), **SMALL)
    lstm: Any = model.policy.lstm_actor
    assert (lstm.input_size, lstm.hidden_size) == (12, 20)


def test_a_cell_that_no_lstm_can_take_over_is_refused(env: DeepTrafficVecEnv) -> None:
    with pytest.raises(ValueError, match="cell='lstm'"):
        recurrent_policy_kwargs(make(env, "gru"))
