"""deepqlearn: the original game's own learning, in one compiled loop with the simulator.

    >>> from agents.deepqlearn import DeepQLearn
    >>> from agents.deepqlearn_config import build_deepqlearn_config
    >>> learner = DeepQLearn(build_deepqlearn_config("mit-basic", {"seed": 1}))
    >>> learner.train()                                    # 30,000 decisions, about a second
    >>> evaluate_official(learner.export().policy()).score          # 65 to 67, or 51 to 60 where it failed to learn

Source: Andrej Karpathy's ConvNetJS (its deepqlearn module and SGD trainer), as the published game used it; Q-learning
with replay after Mnih et al. 2013 (arXiv:1312.5602), without a target network. What is reproduced:

- Each decision stores (s, a, r, s'); a full replay memory replaces a random entry. Once more than
  `start_learn_threshold` are stored, each decision draws `batch_size` of them with replacement, one after another:
  target r + gamma * max Q(s', .) by the same network, squared loss on the taken action alone.
- One step per batch: (summed gradient + decay) / batch_size, momentum, then the weights; biases do not decay.
- Weights start as Gaussians of deviation sqrt(1 / inputs), biases as 0.1 before relu, else 0.
- A random action with probability epsilon, which falls from 1 after `learning_steps_burnin` decisions to `epsilon_min`
  at `learning_steps_total`. The page leaves that at 10,000, also for its basic network's 30,000 decisions, which
  therefore drives its last 20,000 without exploring: that is why some trainings fail to learn.

Assumed, where the published game is silent: training is one long run without resets, on an open run that the seed
chooses; other agents drive by the network as it is now, with the same epsilon, and nothing is learned from them; an
agent whose temporal window is not yet full acts at random. The original multiplies `l1_decay` by a layer setting that
is 0 unless a file sets it; here it acts as given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.deepqlearn_config import ACTIVATIONS, DeepQLearnConfig
from agents.deepqlearn_learning import TALLY, Brain, epsilon_at, train_block
from agents.deepqlearn_network import BIASES, INPUTS, LINEAR, OUTPUTS, RELU, WEIGHTS, LearningSettings
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.file import PolicyFile, pack_policy
from deeptraffic.policies.layers import Dense, Layer, Relu, Sigmoid, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import input_size
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import MPH_PER_PX, Action
from deeptraffic.sim.state import F64, I64

LAYERS: dict[str, Layer] = {"relu": Relu(), "tanh": Tanh(form="convnetjs"), "sigmoid": Sigmoid()}
BLOCK = 1000  # decisions between two reports
RELU_BIAS = 0.1  # the original starts biases before relu so, to keep them alive
REPLAY = ("states", "next_states", "actions", "rewards")


# --- the learner ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockReport:
    """One block of training.

    decisions: made since the start; mean_mph: of the exploring driver in this block; epsilon: at its end
    loss: mean squared error / 2 of the block's samples, NaN before learning starts
    """

    decisions: int
    mean_mph: float
    loss: float
    epsilon: float


class DeepQLearn:
    """A network that learns to drive as the original's did, and the game in which it does.

    Its whole state is `state()`: a learner that is given it by `restore` goes on to the same bits.
    """

    def __init__(self, config: DeepQLearnConfig) -> None:
        self.config = config
        self.layers = layer_table(config)
        self.brain = new_brain(config, self.layers)
        self.sim = Simulator(config.road.build(), num_envs=1, threads=1)
        self.sim.reset_open([config.seed])
        names = LearningSettings._fields
        self.settings = LearningSettings(**{name: getattr(config, name) for name in names})

    @property
    def decisions(self) -> int:
        """Decisions of the ego car made so far."""
        return int(self.brain.tally["age"][0])

    def train(self, progress: Callable[[BlockReport], None] | None = None) -> None:
        """Train on until `config.iterations` decisions, calling progress after every 1,000 and at the end."""
        while self.decisions < self.config.iterations:
            report = self.learn(min(BLOCK - self.decisions % BLOCK, self.config.iterations - self.decisions))
            if progress:
                progress(report)

    def learn(self, decisions: int) -> BlockReport:
        """Let the ego car make so many decisions, and learn after each.

        Raises RuntimeError if the weights have grown beyond all bounds.
        """
        train_block(
            self.sim.table, self.config.sensor, self.sim.games, self.layers, self.settings, self.brain, decisions
        )
        if not np.isfinite(self.brain.params).all():
            raise RuntimeError(
                f"the weights grew beyond all bounds within {self.decisions:,} decisions; lower "
                f"learning_rate={self.config.learning_rate:g} or momentum={self.config.momentum:g}"
            )
        tally = self.brain.tally[0]
        mean_speed = (60.0 + 20.0 * tally["reward_sum"] / decisions) / 30.0  # RULES: reward = (N - 60) / 20
        loss = tally["loss_sum"] / tally["losses"] if tally["losses"] else float("nan")
        epsilon = epsilon_at(self.settings, self.decisions)
        return BlockReport(self.decisions, MPH_PER_PX * float(mean_speed), float(loss), float(epsilon))

    # --- what came of it ----------------------------------------------------------------------------------------------

    def network(self) -> Network:
        """Return the network as it is now."""
        neurons = [*self.config.layers, (len(Action), "")]
        layers: list[Layer] = []
        tensors: dict[str, F64] = {}
        for row, (outputs, activation) in zip(self.layers, neurons, strict=True):
            layers.append(Dense(outputs=outputs))
            weights = self.brain.params[row[WEIGHTS] : row[BIASES]].copy()
            tensors[f"{len(layers)}.weight"] = weights.reshape(outputs, row[INPUTS])
            tensors[f"{len(layers)}.bias"] = self.brain.params[row[BIASES] : row[BIASES] + outputs].copy()
            if activation:
                layers.append(LAYERS[activation])
        return Network(int(self.layers[0, INPUTS]), tuple(layers), tensors)

    def export(self, label: str = "deepqlearn") -> PolicyFile:
        """Return the network as a policy file: the original's Brain at test time, without exploration."""
        c = self.config
        facts = {"algorithm": "deepqlearn", "decisions": self.decisions, "gamma": c.gamma, "seed": c.seed}
        return pack_policy(self.network(), c.sensor, label, c.temporal_window, c.rules, c.other_agents, training=facts)

    def export_original(self, label: str = "deepqlearn") -> str:
        """Return the network as a file that the original game loads and drives with."""
        c = self.config
        facts = {"gamma": c.gamma, "trainIterations": c.iterations}
        return write_convnetjs(self.network(), c.sensor, c.temporal_window, c.other_agents, label, facts)

    # --- saving and restoring -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all that the future depends on; the replay memory's unused part is left out."""
        stored = int(self.brain.tally["stored"][0])
        parts = self._arrays().items()
        return {name: array[: stored if name in REPLAY else len(array)].copy() for name, array in parts}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state of a learner with the same configuration; ValueError if it is of another."""
        arrays = self._arrays()
        for name, array in arrays.items():
            saved = state[name] if name in state else np.zeros(0)
            fits = len(saved) == len(array) or (name in REPLAY and len(saved) < len(array))
            if not fits or saved.shape[1:] != array.shape[1:] or saved.dtype != array.dtype:
                raise ValueError(f"the saved state's {name!r} is not of this configuration; train again")
        for name, array in arrays.items():
            array[: len(state[name])] = state[name]

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return the state's arrays themselves, records as bytes."""
        records = {"tally": self.brain.tally, "games": self.sim.games}
        views = {name: array.view(np.uint8).reshape(-1) for name, array in records.items()}
        return {**self.brain._asdict(), **views}


# --- the network ------------------------------------------------------------------------------------------------------


def layer_table(config: DeepQLearnConfig) -> I64:
    """Return (layers, 7): sizes, activation and places of every dense layer; columns as in `deepqlearn_network`."""
    sizes = [(neurons, ACTIVATIONS[activation]) for neurons, activation in config.layers]
    rows, inputs = [], input_size(config.sensor, config.temporal_window)
    parameter = neuron = 0
    for outputs, activation in [*sizes, (len(Action), LINEAR)]:
        biases = parameter + inputs * outputs
        rows.append([inputs, outputs, activation, parameter, biases, neuron, neuron + inputs])
        parameter, neuron, inputs = biases + outputs, neuron + inputs, outputs
    return np.array(rows, np.int64)


def new_brain(config: DeepQLearnConfig, layers: I64) -> Brain:
    """Return a Brain that has seen nothing, its weights drawn from the seed."""
    generator = np.random.default_rng(config.seed)
    params = np.zeros(layers[-1, BIASES] + layers[-1, OUTPUTS])
    for inputs, outputs, activation, weights, biases, *_ in layers:
        params[weights:biases] = generator.standard_normal(inputs * outputs) * np.sqrt(1.0 / inputs)
        params[biases : biases + outputs] = RELU_BIAS if activation == RELU else 0.0
    tally = np.zeros(1, TALLY)
    tally["rng"] = generator.integers(2**63)
    size, inputs = config.sensor.size, layers[0, INPUTS]
    entries, window, agents = config.experience_size, config.temporal_window, config.other_agents + 1
    return Brain(
        params=params,
        velocity=np.zeros(params.size),
        states=np.zeros((entries, inputs)),
        next_states=np.zeros((entries, inputs)),
        actions=np.zeros(entries, np.int64),
        rewards=np.zeros(entries),
        window_obs=np.zeros((agents, window, size)),
        window_actions=np.zeros((agents, window), np.int64),
        calls=np.zeros(agents, np.int64),
        inputs=np.zeros((2, inputs)),
        chosen=np.zeros(2, np.int64),
        received=np.zeros(2),
        tally=tally,
    )
