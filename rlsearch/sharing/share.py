"""Sharing what a run has learnt: a folder in the Hugging Face layout, and a run made of one.

The folder holds

    model.safetensors  the parameters at the end of one stage; when read, several files will do, as
                       model.safetensors.index.json says, and halves in the place of float32
    config.json        the format's version, the stage, its step, and the run's config as data
    README.md          the model card

What comes from elsewhere is data: reading it executes and unpickles nothing, and takes no more
memory than a model of its config.
"""

import dataclasses
from typing import Any

import jax
from etils import epath

from rlsearch.checkpoints.store import CheckpointStore
from rlsearch.checkpoints.tensors import TENSORS, read_model, write_tensors
from rlsearch.config import Experiment, ParallelConfig, SelfPlayExperiment
from rlsearch.config_file import ConfigError, from_dict, to_dict
from rlsearch.files import read_json
from rlsearch.parallel.mesh import make_mesh
from rlsearch.runs.directory import (
    MAX_CONFIG,
    RunDirectory,
    new_folder,
    write_json,
    write_text,
)
from rlsearch.runs.opening import check_trusted, read_run, trusted_modules
from rlsearch.runs.parameters import load_params, warn
from rlsearch.runs.stage import Stage
from rlsearch.sharing.model_card import evaluations_of, model_card
from rlsearch.text import shortened
from rlsearch.training.loop import ends
from rlsearch.training.setup import model_and_stages

FORMAT_VERSION = 1
CONFIG, CARD = "config.json", "README.md"

AnyExperiment = Experiment | SelfPlayExperiment


def export_run(
    run_dir: str, folder: str, stage: str = "", data_dir: str = "", code: str = ""
) -> dict[str, Any]:
    """Writes the parameters of a stage, with what is needed to use them, to a new folder.

    Args:
        folder: must not exist, or be empty.
        stage: by default "distilled" where that is complete, else the last that is.
        data_dir, code: as everywhere; neither is written to the folder.

    Returns:
        The folder, and what is in it.

    Raises:
        ValueError: if there is no such stage yet, or something is at `folder` already.
    """
    directory, config = read_run(run_dir, code)
    model, stages = model_and_stages(_with_data_dir(config, data_dir))
    with CheckpointStore(directory.checkpoints, config.log.keep_checkpoints, warn) as store:
        found = _complete(config, stages, store.steps())
        if not found:
            raise ValueError(f"run is {shortened(run_dir)}: no stage of it is complete yet")
        stage = stage or ("distilled" if "distilled" in found else list(found)[-1])
        if stage not in found:
            raise ValueError(f"stage is {shortened(stage)}: this run has {', '.join(found)}")
        step = found[stage]
        rows = evaluations_of(directory, stage, step)
        params = load_params(store, step, model, make_mesh(ParallelConfig(data=1)))
    described = {
        "format_version": FORMAT_VERSION,
        "model_type": "rlsearch",
        "stage": stage,
        "step": step,
        "parameters": model.num_params(),
        "experiment": to_dict(_with_data_dir(config, "", forget=True)),
    }
    with new_folder(folder) as new:
        write_tensors(new / TENSORS, params)
        write_json(new / CONFIG, described)
        write_text(new / CARD, model_card(config, stage, step, model.num_params(), rows))
    return {
        "folder": folder,
        **{key: described[key] for key in ("stage", "step", "parameters", "format_version")},
        "evaluations": len(rows),
    }


def import_run(folder: str, run_dir: str, data_dir: str = "", code: str = "") -> dict[str, Any]:
    """Makes a run of what `export_run` wrote: it can be evaluated, and not trained on.

    Its config is the exported one, but for `parallel`, which becomes the default: the devices are
    others here.

    Args:
        run_dir: must not exist, or be empty.
        data_dir: where the task's files are here; empty for none.
        code: a Python file whose classes the config may name; all others must be the package's.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if something in the folder is not as it must be, or something is at `run_dir`
            already; nothing is written then.
    """
    source = epath.Path(folder)
    described = _read_description(source / CONFIG)
    try:
        config = from_dict(described["experiment"])
        check_trusted(config, trusted_modules(code))
        config = _with_data_dir(config, data_dir, forget=True)
        model, stages = model_and_stages(config)
    except ConfigError as error:
        raise ConfigError(f"{source / CONFIG}: {error}") from error
    stage, step = described["stage"], described["step"]
    if _complete(config, stages, [step]) != {stage: step}:
        raise ValueError(
            f"{source / CONFIG} says stage {shortened(stage)} and step {shortened(step)}: by its "
            "config that is the end of no stage"
        )
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    arrays, sha256 = read_model(source, shapes)
    params = jax.tree.map(jax.numpy.asarray, arrays)
    origin = {key: described[key] for key in ("format_version", "stage", "step")}
    origin["sha256"] = sha256
    with new_folder(run_dir) as new:
        directory = RunDirectory(new)
        directory.write_config(to_dict(dataclasses.replace(config, parallel=ParallelConfig())))
        write_json(directory.imported, origin)
        with CheckpointStore(directory.checkpoints, 1, warn) as store:
            store.save(step, {"params": params}, permanent=True, wait=True)
    return {"run": run_dir, **origin, "parameters": model.num_params()}


def _complete(config: AnyExperiment, stages: tuple[Stage, ...], steps: list[int]) -> dict[str, int]:
    """The step of what each stage has come to, as evaluations take it, by the stage's name."""
    if isinstance(config, SelfPlayExperiment):  # any of its checkpoints can play
        last = ends(stages)[-1]
        return {stages[-1].name: steps[-1]} if steps and 0 < steps[-1] <= last else {}
    pairs = zip(stages, ends(stages), strict=True)
    return {stage.name: end for stage, end in pairs if end in steps}


def _with_data_dir(config: AnyExperiment, data_dir: str, forget: bool = False) -> AnyExperiment:
    """`config` with the task's files in `data_dir`; where they were elsewhere may be forgotten."""
    if isinstance(config, SelfPlayExperiment) or not (data_dir or forget):
        return config
    return dataclasses.replace(config, task=dataclasses.replace(config.task, data_dir=data_dir))


def _read_description(path: epath.Path) -> dict[str, Any]:
    """What config.json of a folder says, its own fields checked, and not yet its experiment."""
    described = read_json(path, MAX_CONFIG, "a config")
    if not isinstance(described, dict) or "format_version" not in described:
        raise ValueError(f"{path} has no format_version: it is no export of rlsearch")
    version = described["format_version"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version is {shortened(version)}: this version of rlsearch reads "
            f"{FORMAT_VERSION} alone"
        )
    for name, kind in (("stage", str), ("step", int), ("experiment", dict)):
        if type(described.get(name)) is not kind:
            raise ValueError(
                f"{path}: {name} is {shortened(described.get(name))}: it must be a {kind.__name__}"
            )
    return described
