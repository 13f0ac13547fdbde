"""Networks of the world-model agent: an encoder into latent states, and a model of the environment in latent space.

    encoder     z = h(o)               the state behind an observation; a perception encoder may stand in front
    dynamics    z' = g(z, a)           the state one decision later
    reward      r(z, a)                the reward of the decision
    critics     Q(z, a)                the discounted return; two of them, whose mean counts
    policy      p(a | z)               encoder and policy alone are exported as a policy file
    decoder     o = d(z)               the observation, to show what the model imagines

A frozen perception encoder turns observations into features once, when they are made: the replay buffer holds the
features, and they are the observations of all of the above. Any other encoder is learned with the model.

Latent states are trained by the predictions of their heads (Schrittwieser et al. 2020, MuZero, arXiv:1911.08265) and by
consistency with the encoding of the next observation (Schwarzer et al. 2021, SPR, arXiv:2007.05929; Ye et al. 2021,
EfficientZero, arXiv:2111.00210). Every hidden layer is Linear, LayerNorm, activation: a policy file can hold it.

Letters in shapes: B observations or states, D latent features, A actions, E critics, N entries of an observation.
"""

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.algorithms.pqn.torch_learner import Obs, extractor_of, hidden_layers
from agents.perception import fit_normalisation
from representation.encoder import Encoder

CRITICS = 2


class WorldModel(BasePolicy):
    """All networks in one; as an SB3 policy it acts by its policy head.

    Args:
        observation_space, action_space: of a single env
        lr_schedule: learning rate by the fraction of training that remains
        net_arch: units of each encoder layer; the last is D
        activation_fn: after each hidden layer
        features_extractor_class, features_extractor_kwargs: an encoder in front; None for SB3's own
        normalize_images: whether images are divided by 255 before it
    """

    # parameters: the keywords of SB3's policies
    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        features_extractor_class: Callable[..., BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or extractor_of(observation_space),
            features_extractor_kwargs,
            normalize_images=normalize_images,
        )
        self.optimizer_class = optimizer_class
        self.net_arch = [128, 128] if net_arch is None else list(net_arch)
        self.activation_fn, self.num_actions = activation_fn, int(action_space.n)
        self.features_extractor = self.make_features_extractor()
        self.encoder = hidden_layers([self.features_extractor.features_dim, *self.net_arch], activation_fn)
        latent, actions = self.net_arch[-1], self.num_actions
        self.dynamics = hidden_layers([latent + actions, latent, latent], activation_fn)
        self.reward_head = self._head(actions)
        self.critics = nn.ModuleList([self._head(actions) for _ in range(CRITICS)])
        self.policy_head = self._head(actions)
        self.decoder = self._head(get_flattened_obs_dim(self.stored_space))
        self.target = copy.deepcopy(nn.ModuleList([self.features_extractor, self.encoder, self.critics]))
        self.target.requires_grad_(False)
        learned = [weight for name, weight in self.named_parameters() if not name.startswith("target.")]
        self.optimizer = optimizer_class(learned, lr=lr_schedule(1.0))  # type: ignore[call-arg]

    def _head(self, outputs: int) -> nn.Sequential:
        latent = self.net_arch[-1]
        return nn.Sequential(*hidden_layers([latent, latent], self.activation_fn), nn.Linear(latent, outputs))

    # --- encoding and imagining ---------------------------------------------------------------------------------------

    @property
    def is_frozen(self) -> bool:
        """Whether the perception encoder is frozen, so that its features stand for observations."""
        return isinstance(self.features_extractor, Encoder) and self.features_extractor.is_frozen

    @property
    def stored_space(self) -> spaces.Space:
        """Space of what the replay buffer holds of an observation: itself, or its features by a frozen encoder."""
        if not self.is_frozen:
            return self.observation_space
        return spaces.Box(-np.inf, np.inf, (cast(Encoder, self.features_extractor).features_dim,), np.float32)

    def stored(self, obs: Obs) -> Obs:
        """Return observations (B, ...) as the replay buffer holds them."""
        return self._features(obs) if self.is_frozen else obs

    def encode(self, obs: Obs) -> Tensor:
        """Return the latent states (B, D) of observations (B, ...)."""
        return self.encoder(self._features(obs))

    def encode_stored(self, stored: Obs) -> Tensor:
        """As `encode`, for observations as the replay buffer holds them."""
        return self.encoder(stored if self.is_frozen else self._features(stored))

    def _features(self, obs: Obs) -> Tensor:
        assert self.features_extractor is not None
        return self.extract_features(obs, self.features_extractor)

    def fit_normalisation(self, stored: Any) -> None:
        """Fit the normalisation of a perception encoder that is learned from scratch to observations (N, ...)."""
        encoder, target = cast(Any, self.features_extractor), cast(Any, self.target[0])
        fit_normalisation(encoder, stored)
        target.load_state_dict(encoder.state_dict())

    def imagine(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Return the latent states (B, D) one decision after `latents` (B, D), given actions (B,) int64."""
        chosen = nn.functional.one_hot(actions, self.num_actions).to(latents.dtype)
        return self.dynamics(torch.cat([latents, chosen], 1))

    def imagine_all(self, latents: Tensor) -> Tensor:
        """Return the latent states (B, A, D) after each of the actions."""
        first = cast(nn.Linear, self.dynamics[0])
        of_state, of_action = first.weight.split([latents.shape[1], self.num_actions], 1)
        parts = nn.functional.linear(latents, of_state, first.bias)[:, None] + of_action.T  # (B, A, D)
        return self.dynamics[1:](parts)

    def values(self, latents: Tensor) -> Tensor:
        """Return each critic's action values, (E, B, A)."""
        return torch.stack([critic(latents) for critic in self.critics])

    # --- the target network -------------------------------------------------------------------------------------------

    def target_encode(self, stored: Obs) -> Tensor:
        """As `encode_stored`, by the target network."""
        extractor, encoder, _ = self.target
        if self.is_frozen:
            return encoder(stored)
        return encoder(self.extract_features(stored, cast(BaseFeaturesExtractor, extractor)))

    def target_values(self, latents: Tensor) -> Tensor:
        """Return the target critics' mean action values, (B, A)."""
        return torch.stack([critic(latents) for critic in cast(nn.ModuleList, self.target[2])]).mean(0)

    @torch.no_grad()
    def update_target(self, rate: float) -> None:
        """Move the target network's weights towards the learned ones, as a moving average."""
        learned = nn.ModuleList([cast(nn.Module, self.features_extractor), self.encoder, self.critics])
        torch._foreach_lerp_(list(self.target.parameters()), list(learned.parameters()), rate)
        for old, new in zip(self.target.buffers(), learned.buffers(), strict=True):
            old.copy_(new)

    # --- acting -------------------------------------------------------------------------------------------------------

    def forward(self, obs: Obs) -> Tensor:
        """Return the policy's logits (B, A) for observations (B, ...)."""
        return self.policy_head(self.encode(obs))

    def _predict(self, observation: Obs, deterministic: bool = True) -> Tensor:
        """Return the policy's most likely actions (B,), or draws from it."""
        logits = self(observation)
        return logits.argmax(1) if deterministic else torch.distributions.Categorical(logits=logits).sample()

    def flat(self, stored: Obs) -> Tensor:
        """Return stored observations as the decoder gives them, (B, N).

        Prepared and normalised as for the encoder, parts side by side; the features of a frozen encoder as they are.
        """
        encoder = self.features_extractor
        if self.is_frozen:
            return cast(Tensor, stored)
        prepared: Any = preprocess_obs(stored, self.observation_space, normalize_images=self.normalize_images)
        if isinstance(encoder, Encoder) and not isinstance(prepared, dict):
            prepared = encoder.normalise(encoder.aligned(prepared.float()))
        parts = list(prepared.values()) if isinstance(prepared, dict) else [prepared]
        return torch.cat([part.flatten(1).float() for part in parts], 1)
