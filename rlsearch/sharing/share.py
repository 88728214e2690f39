"""Sharing what a run has learnt: a folder in the Hugging Face layout, and a run made of one.

The folder holds

    model.safetensors  the parameters at the end of one stage; when read, several files will do, as
                       model.safetensors.index.json says, and halves in the place of float32
    config.json        the format's version, the stage, its step, and the run's config as data
    README.md          the model card

What a run has made of an open model is a folder as its family has them, with the tokenizer: it is
opened as any other, here and elsewhere. The rest of config.json stands in rlsearch.json then. The
value head has no place in such a folder. An adapter is in its weights, or is written alone, as PEFT
has it.

What comes from elsewhere is data: reading it executes and unpickles nothing, and takes no more
memory than a model of its config.
"""

import dataclasses
from typing import Any

import jax
from etils import epath

from rlsearch.checkpoints.tensors import TENSORS, read_model, write_tensors
from rlsearch.config import ParallelConfig, Pretrained
from rlsearch.config_data import ConfigError, to_data
from rlsearch.config_file import load_code
from rlsearch.files import read_json
from rlsearch.networks.adapter import ADAPTER
from rlsearch.networks.by_name import of_names
from rlsearch.networks.language_model import LanguageModel
from rlsearch.parallel.mesh import make_mesh
from rlsearch.pretrained.describe import COMPUTED, describe
from rlsearch.pretrained.export import copy_tokenizer, write_model
from rlsearch.pretrained.peft import write_adapter
from rlsearch.runs.checkpoints import complete_stages, stage_checkpoints
from rlsearch.runs.directory import (
    MAX_CONFIG,
    RunDirectory,
    new_folder,
    write_json,
    write_text,
)
from rlsearch.runs.lineage import Lineage
from rlsearch.runs.opening import (
    FORMAT,
    experiment_of,
    read_run,
    with_data_dir,
    without_places,
)
from rlsearch.runs.parameters import load_params
from rlsearch.sharing.model_card import evaluations_of, model_card
from rlsearch.text import shortened

FORMAT_VERSION = 2  # written; 1 is read, too
CONFIG, CARD = "config.json", "README.md"
EXPERIMENT = "rlsearch.json"  # beside an open model, whose config.json is that of its family


def export_run(
    run_dir: str,
    folder: str,
    stage: str = "",
    data_dir: str = "",
    code: str = "",
    adapter: bool = False,
) -> dict[str, Any]:
    """Writes the parameters of a stage, with what is needed to use them, to a new folder.

    Args:
        folder: must not exist, or be empty.
        stage: by default see `Lineage.default_policy`.
        data_dir, code: as everywhere; neither is written to the folder.
        adapter: writes what an adapter adds to an open model alone, without the model.

    Returns:
        The folder, and what is in it.

    Raises:
        ValueError: if there is no such stage yet, or no adapter, or something is at `folder`
            already.
    """
    directory, config, modules = read_run(run_dir, code)
    lineage = Lineage(with_data_dir(config, data_dir), modules)
    found = _complete(directory, lineage)
    if not found:
        raise ValueError(f"run is {shortened(run_dir)}: no stage of it is complete yet")
    stage = stage or lineage.default_policy(found)
    if stage not in found:
        raise ValueError(f"stage is {shortened(stage)}: this run has {', '.join(found)}")
    step, model = found[stage], lineage.model(stage)
    opened = config.model if isinstance(config.model, Pretrained) else None
    if adapter and not (opened and opened.adapter.rank):
        raise ValueError(
            f"run is {shortened(run_dir)}: it has no adapter, as runs with a model that is "
            "Pretrained and a model.adapter.rank above 0 have"
        )
    # Evaluations of games count the steps of the stage, all others those of the run.
    counted = step if stage in lineage.of_kind("player") else lineage.ends()[stage]
    rows = evaluations_of(directory, stage, counted)
    with stage_checkpoints(directory, lineage, stage) as checkpoints:
        params = load_params(checkpoints, step, model, make_mesh(ParallelConfig(data=1)))
    if opened and isinstance(model, LanguageModel):
        params = of_names(params, (ADAPTER,)) if adapter else model.merged(params)
    number = sum(x.size for x in jax.tree.leaves(params))
    card = model_card(config, stage, step, number, rows, adapter)
    described = {
        "format_version": FORMAT_VERSION,
        "model_type": "rlsearch",
        "stage": stage,
        "step": step,
        "parameters": number,
        "experiment": {"format": FORMAT, **to_data(without_places(config))},
    }
    with new_folder(folder) as new:
        if opened:
            _write_opened(new, opened.folder, lineage.policy(stage).model, params, adapter)
            write_json(new / EXPERIMENT, described)
        else:
            write_tensors(new / TENSORS, params)
            write_json(new / CONFIG, described)
        write_text(new / CARD, card)
    return {
        "folder": folder,
        **{key: described[key] for key in ("stage", "step", "parameters", "format_version")},
        "evaluations": len(rows),
    }


def _write_opened(
    new: epath.Path, folder: str, model: LanguageModel, params: Any, adapter: bool
) -> None:
    """Writes what a run has made of the open model in `folder`, or the adapter alone.

    Args:
        params: of the adapter, or of the model with the adapter in its weights.
    """
    shape = model.config if adapter else model.without_adapter.config
    described = describe(folder, **{name: getattr(shape, name) for name in COMPUTED})
    if adapter:
        write_adapter(new, described, params, epath.Path(folder).name)
    else:
        write_model(new, described, params)
        copy_tokenizer(folder, new)


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
        modules = (load_code(code),) if code else ()
        config = without_places(experiment_of(described["experiment"], modules))
        lineage = Lineage(with_data_dir(config, data_dir), modules)
    except ConfigError as error:
        raise ConfigError(f"{source / CONFIG}: {error}") from error
    stage, said = described["stage"], described["step"]
    step = _stage_step(lineage, described)
    if step is None:
        raise ValueError(
            f"{source / CONFIG} says stage {shortened(stage)} and step {shortened(said)}: by its "
            "config that is the end of no stage"
        )
    model = lineage.model(stage)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    arrays, sha256 = read_model(source, shapes)
    params = jax.tree.map(jax.numpy.asarray, arrays)
    origin = {"format_version": described["format_version"], "stage": stage, "step": step}
    origin["sha256"] = sha256
    with new_folder(run_dir) as new:
        directory = RunDirectory(new)
        here = dataclasses.replace(lineage.config, parallel=ParallelConfig())
        directory.write_config({"format": FORMAT, **to_data(here)})
        write_json(directory.imported, origin)
        with stage_checkpoints(directory, lineage, stage) as checkpoints:
            checkpoints.save(step, {"params": params}, permanent=True, wait=True)
    return {"run": run_dir, **origin, "parameters": model.num_params()}


def _complete(directory: RunDirectory, lineage: Lineage) -> dict[str, int]:
    """The stages whose parameters can be used, with the step of each; of a game any that it has."""
    found = complete_stages(directory, lineage)
    for name in lineage.of_kind("player"):
        with stage_checkpoints(directory, lineage, name) as checkpoints:
            steps = checkpoints.steps()
        found |= {name: steps[-1]} if steps else {}
    return found


def _stage_step(lineage: Lineage, described: dict[str, Any]) -> int | None:
    """The step of the stage that an export is of; None where its config has no such end."""
    name, step = described["stage"], described["step"]
    if name not in [stage.name for stage in lineage.config.stages]:
        return None
    last, end = lineage.num_steps(name), lineage.ends()[name]
    if described["format_version"] == 1:  # it counts the steps of the run
        step -= end - last
    good = 0 < step <= last if name in lineage.of_kind("player") else step == last
    return step if good else None


def _read_description(path: epath.Path) -> dict[str, Any]:
    """Reads config.json of a folder, its own fields checked, and not yet its experiment."""
    described = read_json(path, MAX_CONFIG, "a config")
    if not isinstance(described, dict) or "format_version" not in described:
        raise ValueError(f"{path} has no format_version: it is no export of rlsearch")
    version = described["format_version"]
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version is {shortened(version)}: this version of rlsearch reads 1 to "
            f"{FORMAT_VERSION}"
        )
    for name, kind in (("stage", str), ("step", int), ("experiment", dict)):
        if type(described.get(name)) is not kind:
            raise ValueError(
                f"{path}: {name} is {shortened(described.get(name))}: it must be a {kind.__name__}"
            )
    return described
