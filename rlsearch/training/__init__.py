"""Training a run, stage after stage.

`loop.py` runs the stages and resumes them. `language.py`, `revisions.py`, `verifiers.py` and
`self_play.py` say what each stage learns from, `step.py` makes its one jitted step, and `state.py`,
`replay.py` and `optimizer.py` hold what that step carries. `setup.py` builds task and model from a
config, for evaluation too. `metrics.py` writes what is measured and `progress.py` shows how far it
is. `stopping.py` ends a run that is asked to, and `trace.py` traces steps for JAX's profiler.
"""
