"""Stable-Baselines3: MaskablePPO of sb3-contrib with an evaluation callback that keeps the best model.

    python -m agents.examples.sb3_maskable_ppo --total-timesteps 300000

Actions that could have no effect, such as a lane change off the road, are masked while it trains; `evaluate` asks
without masks.
"""

import tempfile

import typer
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback

import deeptraffic
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv


def main(total_timesteps: int = 300_000, num_envs: int = 64, seed: int = 0) -> None:
    """Train, and print the official score of the model that drove best on the way."""
    envs, eval_envs = (DeepTrafficVecEnv(num_envs, observation="gaps") for _ in range(2))
    eval_envs.seed(500_000_000)  # runs of their own
    model = MaskablePPO("MlpPolicy", envs, 1e-3, n_steps=64, batch_size=512, gamma=0.92, seed=seed, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        callback = MaskableEvalCallback(
            eval_envs,
            best_model_save_path=folder,
            n_eval_episodes=num_envs,
            eval_freq=max(1, total_timesteps // num_envs // 5),
            warn=False,
        )
        model.learn(total_timesteps, callback)
        best = MaskablePPO.load(f"{folder}/best_model", device="cpu")
    score = deeptraffic.evaluate(best, "gaps")
    print(f"{score.score:.2f} mph official, best mean return {callback.best_mean_reward:.1f}")


if __name__ == "__main__":
    typer.run(main)
