"""Everything that a run can show of test-time compute, by one command.

The suite of strategies always; that of verifiers where the run has trained all that it is to, that
of revisions where a policy of it revises, and the exchange with pre-training where there is a
larger model to hold it against. Each writes its own table and pictures.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rlsearch.measuring.evaluate import complete, open_run
from rlsearch.studies.exchange import run_exchange
from rlsearch.studies.revisions import run_revision_suite
from rlsearch.studies.test_time_compute import run_suite
from rlsearch.studies.verifiers import run_verifier_suite
from rlsearch.training.setup import policy_stages, trained_verifiers


def run_whole_suite(
    run_dir: str,
    strategies: Sequence[str] = (),
    budgets: Sequence[int] = (),
    seeds: Sequence[int] = (),
    names: Sequence[str] = (),
    verifier: str = "value_head",
    against: str = "",
    report: Callable[[str], None] = lambda line: None,
    **common: Any,
) -> dict[str, Any]:
    """What `run_suite` returns; beside it, by their names, what the other suites do.

    Args:
        strategies, names, verifier: see `run_suite`; the other suites take their own.
        budgets, seeds: empty for those of the run's config.
        against: the run of a larger model; empty: no exchange.
        common: `num_problems`, `aggregation`, `data_dir`, `code` and `split`, of all suites.
    """
    given = {**common, "budgets": budgets, "report": report}
    others = {}
    if against:  # first: whether the two can be compared is known at once
        report("the exchange with pre-training")
        others["exchange"] = run_exchange(run_dir, against, seeds=seeds, verifier=verifier, **given)
        report("the suite of strategies")
    result = run_suite(
        run_dir, strategies=strategies, seeds=seeds, names=names, verifier=verifier, **given
    )
    directory, config, setup = open_run(run_dir, common.get("data_dir", ""), common.get("code", ""))
    stages = (*policy_stages(config, setup), *trained_verifiers(config, setup))
    present = complete(directory, config, stages)
    if config.verifier.train and present.keys() >= {config.verifier.policy, *config.verifier.train}:
        report("the suite of verifiers")
        seed = (seeds or config.evaluation.seeds)[0]
        others["verifiers"] = run_verifier_suite(run_dir, seed=seed, **given)
    if "revision" in present:
        report("the suite of revisions")
        others["revisions"] = run_revision_suite(run_dir, seeds=seeds, verifier=verifier, **given)
    return {**result, **others}
