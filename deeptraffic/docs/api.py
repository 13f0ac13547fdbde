"""Pages of the API reference: the public modules, each documented from its docstrings by mkdocstrings."""

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "environments": (
        "API: environments",
        (
            "deeptraffic.envs.gym_env",
            "deeptraffic.envs.vector_env",
            "deeptraffic.envs.sb3_vec_env",
            "deeptraffic.envs.aec_env",
            "deeptraffic.envs.observations",
            "deeptraffic.envs.observations.observation",
            "deeptraffic.envs.reward",
            "deeptraffic.envs.masks",
            "deeptraffic.envs.rendering",
        ),
    ),
    "simulator": (
        "API: simulator",
        (
            "deeptraffic.sim.rules",
            "deeptraffic.sim.engine",
            "deeptraffic.sim.state",
            "deeptraffic.sim.kernel",
            "deeptraffic.sim.observation",
            "deeptraffic.sim.random",
        ),
    ),
    "policies": (
        "API: policies and evaluation",
        (
            "deeptraffic.policies.base",
            "deeptraffic.policies.builtin",
            "deeptraffic.policies.file",
            "deeptraffic.policies.manifest",
            "deeptraffic.policies.torch_export",
            "deeptraffic.evaluation.model",
            "deeptraffic.evaluation.protocol",
            "deeptraffic.evaluation.comparison",
            "deeptraffic.evaluation.statistics",
        ),
    ),
    "agents": (
        "API: agents",
        (
            "agents.algorithm",
            "agents.config",
            "agents.trainer",
            "agents.run",
            "agents.loader",
            "agents.export",
            "agents.planner",
            "agents.champions.registry",
        ),
    ),
    "perception": (
        "API: perception",
        (
            "representation.encoder",
            "representation.registry",
            "representation.perception",
            "representation.fit",
            "representation.experiment",
            "representation.data.recording",
        ),
    ),
    "images": (
        "API: images and recordings",
        (
            "deeptraffic.render.painter",
            "deeptraffic.render.layers",
            "deeptraffic.render.recorder",
            "deeptraffic.render.notebook",
            "deeptraffic.episodes.trace",
            "deeptraffic.episodes.track",
        ),
    ),
}
OPTIONS = {
    "show_source": False,
    "show_root_heading": True,
    "show_root_full_path": True,
    "show_if_no_docstring": False,
    "show_signature_annotations": True,
    "separate_signature": True,
    "members_order": "source",
    "heading_level": 2,
    "warn_unknown_params": False,
    "extensions": ["deeptraffic.docs.griffe_lists"],
}


def api_page(title: str, name: str) -> str:
    """Return the page of a group of modules."""
    return "\n".join([f"# {title}\n", *(f"::: {module}\n" for module in MODULES[name][1])])
