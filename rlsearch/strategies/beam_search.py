"""Beam search against a verifier (Snell et al. 2024): many steps drawn, the best prefixes kept."""

import dataclasses

import jax

from rlsearch.decoding.policy import Policy
from rlsearch.decoding.writer import Writer
from rlsearch.strategies.base import Budget, Solutions
from rlsearch.strategies.beams import Beams, search_beams
from rlsearch.strategies.candidates import answer_with
from rlsearch.strategies.drawing import Drawing, drawing_of
from rlsearch.strategies.vote import best_by_weight
from rlsearch.verifiers.base import Judge


@dataclasses.dataclass(frozen=True)
class BeamSearch(Drawing):
    """N drafts, of which N / M are kept after each step. Costs what N samples cost.

    A budget that M does not divide is not spent to the end; a budget below M has M = N.
    """

    expansions: int = 4  # M
    lookahead: int = 0  # k, steps that a draft is rolled on before it is compared

    def groups(self, num_drafts: int, expansions: int) -> int:
        """Counts the groups in which drafts compete."""
        del num_drafts, expansions
        return 1

    def settings(self, policy: Policy, budget: Budget) -> dict | None:
        paid = budget.solutions // (self.lookahead + 1)
        if paid == 0:
            return None
        expansions = min(self.expansions, paid)
        drafts = paid // expansions * expansions
        return {
            "n": drafts,
            "m": expansions,
            "groups": self.groups(drafts, expansions),
            "lookahead": self.lookahead,
            **drawing_of(self),
        }

    def solve(
        self,
        writer: Writer,
        judge: Judge,
        prompts: jax.Array,
        keys: jax.Array,
        budget: Budget,
    ) -> Solutions:
        settings = self.settings(writer.policy, budget)
        assert settings is not None, "settings() says which budgets can be spent"
        beams = Beams(
            num_drafts=settings["n"],
            expansions=settings["m"],
            groups=settings["groups"],
            lookahead=settings["lookahead"],
            sampling=self.sampling,
        )
        found = search_beams(writer, judge, prompts, keys, beams)
        weights = self.confidence(found.scores, found.log_probs)
        return answer_with(found, best_by_weight(found.answers, weights))
