"""Autoencoders (paradigm 5): plain and variational; a compressed code, learned without labels.

    >>> model = Autoencoder(ConvEncoder(space, features_dim=64), "grid")
    >>> fit(model, {"obs": grids}, {"obs": other_grids}, FitConfig())
    >>> model.encoder.save("autoencoder.safetensors")      # a plain encoder, for any agent
    >>> model.reconstruct(grids)                           # (B, 4, 60, 7)

Plain (Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647) and variational (Kingma and Welling 2013,
arXiv:1312.6114); `denoiser.py` has the denoising one.

Letters in shapes: B observations, D features, Z latents, (...) the shape of one observation.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from representation.encoder import Encoder
from representation.encoders.dense import dense_layers
from representation.fit import Batch, Trainable
from representation.paradigms.autoencoder.likelihood import choose_likelihood, expected_grid, target_of, target_shape

ACTIVE = 0.01  # variance of a latent's mean over the data from which it counts as in use
LOGVAR_RANGE = (-10.0, 10.0)  # of the logarithm of a latent's variance


class Autoencoder(Trainable):
    """An encoder and a decoder trained to reconstruct the input: minimise -log p(x | decode(encode(x))).

    Args:
        encoder: its features are the code
        likelihood: of p, a name in `representation.paradigms.autoencoder.likelihood.LIKELIHOODS`
        hidden: units of each hidden layer of the decoder
    """

    def __init__(self, encoder: Encoder, likelihood: str = "gaussian", hidden: Sequence[int] = (128,)) -> None:
        super().__init__()
        self.encoder = encoder
        self.likelihood = likelihood
        self.nats = choose_likelihood(likelihood)
        shape = target_shape(encoder.observation_space)
        self.decoder = nn.Sequential(
            dense_layers(self.code_size, hidden, math.prod(shape)), nn.Unflatten(1, tuple(shape))
        )

    @property
    def code_size(self) -> int:
        """Size of the code."""
        return self.encoder.features_dim

    def code(self, obs: Any) -> Tensor:
        """Return the code of observations, (B, code_size)."""
        return self.encoder(obs)

    def output(self, obs: Any) -> Tensor:
        """Return the parameters of the likelihood, (B, ...)."""
        return self.decoder(self.code(obs))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean negative log-likelihood of batch["obs"] [nats], no further metrics)."""
        return self.nats(self.output(batch["obs"]), target_of(self.encoder, batch["obs"])).mean(), {}

    def decode(self, code: Tensor) -> Tensor:
        """Return the reconstructions of codes, (B, ...), in the encoder's normalised input."""
        return self.expected(self.decoder(code))

    def expected(self, output: Tensor) -> Tensor:
        """Return the expected observations of an output, (B, ...)."""
        if self.likelihood == "gaussian":
            return output
        return expected_grid(output) if self.likelihood == "grid" else torch.sigmoid(output)

    def reconstruct(self, observations: Any) -> NDArray[np.float32]:
        """Return the reconstructions of NumPy observations, (B, ...) float32, in evaluation mode."""
        return self.in_chunks(lambda obs: self.expected(self.output(obs)), observations)


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose code is a normal distribution, regularised towards the standard one, for sampling.

    Maximise the evidence lower bound (Kingma and Welling 2013, equations 3 and 10, with one sample of z):

        ELBO = log p(x | z) - KL(q(z | x) || N(0, I)),  z = mean + exp(logvar / 2) * noise,  noise ~ N(0, I)
        KL = 1/2 * sum over Z of (mean^2 + exp(logvar) - 1 - logvar)

    Args:
        encoder: mean and logvar are linear in its features
        likelihood, hidden: as for `Autoencoder`
        latents: Z
        beta: weight of KL in training; 1 is the bound itself (more: Higgins et al. 2017, "beta-VAE")
        warm_up: steps over which this weight grows from 0, so that latents come into use before they cost
            (Bowman et al. 2016, arXiv:1511.06349, section 3.1); 0 for none
    """

    steps: Tensor

    def __init__(
        self,
        encoder: Encoder,
        likelihood: str = "gaussian",
        hidden: Sequence[int] = (128,),
        latents: int = 16,
        beta: float = 1.0,
        warm_up: int = 0,
    ) -> None:
        self.latents, self.beta, self.warm_up = latents, beta, warm_up
        super().__init__(encoder, likelihood, hidden)
        self.posterior = nn.Linear(encoder.features_dim, 2 * latents)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # of training

    @property
    def code_size(self) -> int:
        """Size of the code: Z."""
        return self.latents

    def distribution(self, obs: Any) -> tuple[Tensor, Tensor]:
        """Return (mean, logvar) of q(z | obs), (B, Z) each."""
        mean, logvar = self.posterior(self.encoder(obs)).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def code(self, obs: Any) -> Tensor:
        """Return the mean code, (B, Z)."""
        return self.distribution(obs)[0]

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean of -log p(x | z) + beta * KL, metrics -ELBO and KL) [nats]."""
        mean, logvar = self.distribution(batch["obs"])
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)  # (B, Z)
        nats = self.nats(self.decoder(z), target_of(self.encoder, batch["obs"])).mean()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1.0 - logvar).sum(1).mean()
        return nats + self._kl_weight() * kl, {"negative_elbo": nats + kl, "kl": kl}

    def _kl_weight(self) -> float:
        """Return the weight of KL at this step of training; in evaluation mode the full one."""
        if not self.training or not self.warm_up:
            return self.beta
        self.steps += 1
        return self.beta * min(1.0, float(self.steps) / self.warm_up)

    def bound(self, observations: Any, seed: int = 0) -> tuple[float, float]:
        """Return means of (-ELBO, KL) over NumPy observations [nats], with one z for each."""

        def both(obs: Any) -> Tensor:
            watched = self.loss({"obs": obs})[1]
            return torch.stack([watched["negative_elbo"], watched["kl"]]).expand(len(target_of(self.encoder, obs)), 2)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            means = self.in_chunks(both, observations).mean(0)
        return float(means[0]), float(means[1])

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """Return `count` samples from the prior, (count, ...) float32: their expected values given z."""
        z = torch.randn(count, self.latents, generator=torch.Generator().manual_seed(seed))
        return self.in_chunks(self.decode, z.numpy())

    def interpolate(self, first: Any, last: Any, steps: int) -> NDArray[np.float32]:
        """Return the linear interpolation of two observations' mean codes, (steps, ...) float32."""
        ends = self.in_chunks(self.code, np.stack([first, last]))  # (2, Z)
        fraction = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]  # (steps, 1)
        return self.in_chunks(self.decode, (1.0 - fraction) * ends[0] + fraction * ends[1])

    def active_units(self, observations: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which latents are active, (Z,): those whose mean varies over the observations.

        Burda, Grosse and Salakhutdinov 2016, arXiv:1509.00519, appendix C: A_u = Cov_x(E[u | x]) > 0.01.
        """
        return self.in_chunks(self.code, observations).var(0) > ACTIVE
