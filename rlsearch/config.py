"""The frozen dataclasses an experiment is made of.

An experiment is a task, a model, and the stages in which the model is trained. A config file is a
Python file that defines `config`, an `Experiment`; any field can be set on the command line by its
path (`--search.num_simulations 32`). This file imports nothing of the package, so that every room
may import it; each class checks its own fields and says what is valid.
"""

import dataclasses


def _check(condition: bool, owner: object, field: str, valid: str) -> None:
    if not condition:
        name = type(owner).__name__
        raise ValueError(f"{name}.{field} is {getattr(owner, field)!r}: it must be {valid}")


# Of `jax.checkpoint_policies`: what a forward pass keeps for the backward one, from all to nothing.
REMAT_POLICIES = (
    "everything_saveable",
    "dots_saveable",  # results of matrix products
    "dots_with_no_batch_dims_saveable",  # of those with parameters alone
    "nothing_saveable",  # the input of every block
)


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Which problems there are."""

    cls: str = "rlsearch.tasks.game24:Game24"  # module:Class of the task
    split: str = "random"  # "random" holds out by seed; "tot" the rows of the public benchmark
    num_held_out: int = 100  # puzzles held out of training by the random split
    split_seed: int = 24  # seed of the random split
    num_numbers: int = 4  # given in a problem, each to be used once
    largest: int = 13  # of the numbers given; of arithmetic's, given or not
    num_operations: int = 12  # of the longest expression of arithmetic
    mistake_share: float = 0.0  # kinds of operations that traces of arithmetic get wrong, at times
    max_goal: int = 100  # largest number that may be a goal of random traces
    fraction_weight: float = 0.1  # weight, against 1, of a random step to a number not whole
    num_examples: int = 0  # worked examples in front of every problem (few-shot prompting)
    data_dir: str = ""  # folder with the benchmark's file; empty: the TFDS data folder

    def __post_init__(self):
        _check(0 <= self.num_examples <= 16, self, "num_examples", "from 0 to 16")
        _check(self.split in ("random", "tot"), self, "split", "'random' or 'tot'")
        _check(1 <= self.num_held_out <= 1000, self, "num_held_out", "from 1 to 1000")
        _check(3 <= self.num_numbers <= 6, self, "num_numbers", "from 3 to 6")
        _check(2 <= self.num_operations <= 20, self, "num_operations", "from 2 to 20")
        _check(0 <= self.mistake_share <= 1, self, "mistake_share", "in [0, 1]")
        _check(9 <= self.largest <= 99, self, "largest", "from 9 to 99")
        _check(24 <= self.max_goal <= 199, self, "max_goal", "from 24 to 199")
        _check(0 < self.fraction_weight <= 1, self, "fraction_weight", "in (0, 1]")


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Shape of the transformer, in the conventions of the Llama and Qwen families."""

    num_layers: int = 4  # blocks
    embed_dim: int = 128  # features of the residual stream
    num_heads: int = 4  # query heads
    num_kv_heads: int = 2  # key-value heads; divides num_heads
    head_dim: int = 32  # features of a head, even
    mlp_dim: int = 352  # hidden features of SwiGLU
    rope_theta: float = 10_000.0  # base of the rotary wavelengths
    norm_epsilon: float = 1e-6  # added to the mean square in RMSNorm
    qkv_bias: bool = False  # biases on query, key and value, as in Qwen 2
    qk_norm: bool = False  # RMSNorm on each query and key head, as in Qwen 3
    tie_embeddings: bool = True  # the output matrix is the embedding
    value_dim: int = 64  # hidden features of the value head
    dtype: str = "float32"  # dtype of the computation; parameters are float32
    scan_layers: bool = False  # parameters of all blocks stacked, and read by one loop: a deep
    # network then compiles as fast as a shallow one
    remat: str = "everything_saveable"  # what a block keeps for the backward pass

    def __post_init__(self):
        policies = f"one of {', '.join(REMAT_POLICIES)}"
        _check(self.remat in REMAT_POLICIES, self, "remat", policies)
        for field in ("num_layers", "embed_dim", "num_heads", "head_dim", "mlp_dim", "value_dim"):
            _check(getattr(self, field) > 0, self, field, "positive")
        divides = self.num_kv_heads > 0 and self.num_heads % self.num_kv_heads == 0
        _check(divides, self, "num_kv_heads", f"a divisor of num_heads, {self.num_heads}")
        _check(self.head_dim % 2 == 0, self, "head_dim", "even, for rotary positions")
        _check(self.dtype in ("float32", "bfloat16"), self, "dtype", "'float32' or 'bfloat16'")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The tree search inside the training step."""

    policy: str = "gumbel"  # "gumbel" (sequential halving at the root) or "puct"
    actions: str = "steps"  # language: "steps" (sampled, whole), "top_tokens" (likeliest) or
    # "tokens" (all); games: "moves"
    num_simulations: int = 24  # nodes added to a tree per decision
    num_candidates: int = 12  # K, actions of a node; "tokens", "moves": those tried at the root
    value_scale: float = 0.1  # Gumbel: sigma(q) = value_scale (max_visit_init + max visits) q
    max_visit_init: float = 50.0  # Gumbel: see value_scale
    gumbel_scale: float = 1.0  # noise at the root; 0 is none
    puct_constant: float = 1.25  # exploration of PUCT
    dirichlet_fraction: float = 0.0  # PUCT: share of noise in the root's prior, over legal actions
    dirichlet_alpha: float = 0.3  # PUCT: concentration of that noise
    temperature: float = 1.0  # of the draw of candidates
    min_p: float = 0.01  # steps: tokens less likely than this times the likeliest are not drawn

    def __post_init__(self):
        _check(self.policy in ("gumbel", "puct"), self, "policy", "'gumbel' or 'puct'")
        kinds = ("steps", "top_tokens", "tokens", "moves")
        _check(self.actions in kinds, self, "actions", "'steps', 'top_tokens', 'tokens' or 'moves'")
        _check(self.num_simulations >= 1, self, "num_simulations", "at least 1")
        _check(self.num_candidates >= 2, self, "num_candidates", "at least 2")
        _check(self.value_scale > 0, self, "value_scale", "positive")
        _check(self.temperature > 0, self, "temperature", "positive")
        _check(0 <= self.min_p < 1, self, "min_p", "in [0, 1)")
        _check(0 <= self.dirichlet_fraction < 1, self, "dirichlet_fraction", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, with a linear warm-up and a cosine decay over each stage."""

    learning_rate: float = 2e-3  # the peak
    final_fraction: float = 0.05  # of the peak, at the end of the stage
    warmup_steps: int = 100  # updates
    beta2: float = 0.98  # decay of the second moment
    weight_decay: float = 0.01  # per update, times the learning rate
    max_grad_norm: float = 1.0  # gradients are clipped to this global norm

    def __post_init__(self):
        _check(self.learning_rate > 0, self, "learning_rate", "positive")
        _check(self.warmup_steps >= 0, self, "warmup_steps", "at least 0")
        _check(self.max_grad_norm > 0, self, "max_grad_norm", "positive")


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Stage "base": next-token prediction on random valid traces; the goal is where they ended."""

    num_steps: int = 500  # training steps
    batch_size: int = 256  # traces a step
    contrast: float = 0.4  # share of traces shown with another goal
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self):
        _check(self.num_steps >= 1, self, "num_steps", "at least 1")
        _check(self.batch_size >= 4, self, "batch_size", "at least 4")
        _check(0 < self.contrast < 1, self, "contrast", "in (0, 1)")


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """Stage "distilled": search from every problem, then learn what it found."""

    enabled: bool = True  # whether it is trained; without it there is no control either
    num_steps: int = 60  # training steps
    num_problems: int = 128  # B, problems searched a step
    task_fraction: float = 0.5  # share of the task's own problems; the rest have hindsight goals
    other_goal_fraction: float = 0.0  # share of random numbers with a goal reached from others
    num_targets: int = 4  # M, candidates of a decision that are learnt from
    decisions_per_search: int = 1  # made in one tree before the next is grown; divides all
    critic_samples: int = 1  # solutions sampled per problem and step, for the value alone
    traces: int = 1  # random traces per problem and step, as in pre-training
    unsolved_weight: float = 0.0  # weight, against 1, of decisions below which nothing was solved
    replay_size: int = 3840  # rows kept
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 256  # rows of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, warmup_steps=20)

    def __post_init__(self):
        _check(self.num_steps >= 1, self, "num_steps", "at least 1")
        _check(self.num_problems >= 1, self, "num_problems", "at least 1")
        _check(0 <= self.task_fraction <= 1, self, "task_fraction", "in [0, 1]")
        rest = 1 - self.task_fraction
        valid = f"in [0, {rest:g}], what task_fraction leaves"
        _check(0 <= self.other_goal_fraction <= rest, self, "other_goal_fraction", valid)
        _check(self.num_targets >= 1, self, "num_targets", "at least 1")
        _check(self.decisions_per_search >= 1, self, "decisions_per_search", "at least 1")
        _check(0 <= self.unsolved_weight <= 1, self, "unsolved_weight", "in [0, 1]")
        _check(self.critic_samples >= 0, self, "critic_samples", "at least 0")
        _check(self.traces >= 0, self, "traces", "at least 0")
        rows = self.num_problems * (1 + self.critic_samples + self.traces)
        multiple = self.replay_size >= 1 and self.replay_size % rows == 0
        _check(multiple, self, "replay_size", f"a multiple of the rows of a step, {rows}")
        _check(self.updates_per_step >= 1, self, "updates_per_step", "at least 1")


@dataclasses.dataclass(frozen=True)
class ControlConfig:
    """Stage "control": plain expert iteration from the base, at the FLOPs of "distilled"."""

    enabled: bool = True  # whether the control is trained
    num_samples: int = 24  # solutions sampled per problem and step, of which one right is kept

    def __post_init__(self):
        _check(self.num_samples >= 1, self, "num_samples", "at least 1")


@dataclasses.dataclass(frozen=True)
class RevisionConfig:
    """Stage "revision": a copy of a policy learns right answers behind wrong ones that it wrote."""

    enabled: bool = False  # whether it is trained
    policy: str = "base"  # the stage that ended with the policy
    num_steps: int = 200  # training steps
    num_problems: int = 16  # sampled from in a step
    num_samples: int = 16  # n, solutions of each problem, and rows made of them
    replay_size: int = 8192  # rows kept
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 64  # rows of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, warmup_steps=20)

    def __post_init__(self):
        stages = ("base", "distilled", "control")
        _check(self.policy in stages, self, "policy", "'base', 'distilled' or 'control'")
        for field in ("num_steps", "num_problems", "updates_per_step", "batch_size"):
            _check(getattr(self, field) >= 1, self, field, "at least 1")
        _check(self.num_samples >= 4, self, "num_samples", "at least 4, as a context holds")
        rows = self.num_problems * self.num_samples
        multiple = self.replay_size >= 1 and self.replay_size % rows == 0
        _check(multiple, self, "replay_size", f"a multiple of the rows of a step, {rows}")


VERIFIERS = ("orm", "prm")


@dataclasses.dataclass(frozen=True)
class VerifierConfig:
    """Stages "orm" and "prm": verifiers, which learn from what a policy writes. It stays as it is.

    An outcome reward model learns whether a solution comes out right, a process reward model of
    each step whether it is.
    """

    train: tuple[str, ...] = ()  # which of "orm" and "prm"
    policy: str = "base"  # the stage that ended with the policy
    policy_run: str = ""  # the run that has that stage; empty: this one
    network: str = "own"  # "own" (fresh), "copy" (of the policy) or "head" (on its trunk)
    model: TransformerConfig = TransformerConfig()  # shape of a network of its own
    labels: str = "exact"  # prm: the task's own, or a folder that `rlsearch data label` has written
    aggregation: str = "prod"  # prm: one score of those of the steps: "last", "min", "prod", "mean"
    num_steps: int = 400  # training steps of each
    num_solutions: int = 128  # written a training step
    replay_size: int = 12800  # solutions kept, the newest
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 256  # solutions of a minibatch
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3)

    def __post_init__(self):
        known = set(self.train) <= set(VERIFIERS) and len(set(self.train)) == len(self.train)
        _check(known, self, "train", "'orm', 'prm', both or none")
        alone = bool(self.policy_run) and not self.train
        _check(not alone, self, "train", "'orm', 'prm' or both, in a run of verifiers alone")
        stages = ("base", "distilled", "control", "revision")
        _check(
            self.policy in stages, self, "policy", "'base', 'distilled', 'control' or 'revision'"
        )
        kinds = ("own", "copy", "head")
        _check(self.network in kinds, self, "network", "'own', 'copy' or 'head'")
        _check(bool(self.labels), self, "labels", "'exact' or the folder of labels")
        ways = ("last", "min", "prod", "mean")
        _check(self.aggregation in ways, self, "aggregation", "'last', 'min', 'prod' or 'mean'")
        for field in ("num_steps", "num_solutions", "updates_per_step", "batch_size"):
            _check(getattr(self, field) >= 1, self, field, "at least 1")
        multiple = self.replay_size >= 1 and self.replay_size % self.num_solutions == 0
        valid = f"a multiple of num_solutions, {self.num_solutions}"
        _check(multiple, self, "replay_size", valid)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What `rlsearch evaluate` does when not told otherwise."""

    strategies: tuple[str, ...] = ("greedy", "best_of_n", "tree_search")  # see rlsearch.strategies
    budgets: tuple[int, ...] = (1, 4, 16, 64)  # each allows that many mean sampled solutions
    seeds: tuple[int, ...] = (0, 1, 2)  # of the sampling
    sequential: int = 4  # attempts of a chain in the strategy `revisions`

    def __post_init__(self):
        _check(len(self.strategies) > 0, self, "strategies", "at least one strategy")
        good = len(self.budgets) > 0 and all(budget >= 1 for budget in self.budgets)
        _check(good, self, "budgets", "whole numbers of at least 1")
        _check(len(self.seeds) > 0, self, "seeds", "at least one seed")
        _check(self.sequential >= 1, self, "sequential", "at least 1")


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Which axis of the mesh splits each named axis of a parameter; "" leaves it whole.

    Networks name the axes of their parameters and nothing else: what is written here decides how
    they lie on devices. An axis whose size is no multiple of the devices stays whole, and so does
    the second of two axes that ask for the same split.
    """

    embed: str = "data"  # features between blocks: parameters and optimiser fully sharded (FSDP)
    heads: str = "model"  # query heads
    kv_heads: str = "model"  # key-value heads
    head_dim: str = ""  # features of a head
    mlp: str = "model"  # hidden features
    vocab: str = "model"  # tokens
    channels: str = "model"  # hidden features of a board's cell
    features: str = ""  # of an observation, and of what the heads of a board network give out
    norm: str = ""  # scales and biases of a normalisation
    layers: str = ""  # blocks, where they are stacked
    rows: str = ""  # of a convolution's window
    columns: str = ""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            valid = getattr(self, field.name) in ("", "data", "model")
            _check(valid, self, field.name, "'data', 'model' or ''")


@dataclasses.dataclass(frozen=True)
class ParallelConfig:
    """The mesh, and what lies where on it. Resuming may change it.

    Problems, games and minibatches are split over `replica` and `data` together.
    """

    replica: int = 1  # copies of the parameters; slow links (between slices, hosts) belong here
    data: int = -1  # devices a copy is split over, fully sharded; -1 takes all that are left
    model: int = (
        1  # devices that share every matrix product (tensor parallelism): the fastest links
    )
    accumulate: int = 1  # parts of a minibatch, one after another; their gradients are added up
    rules: ShardingRules = ShardingRules()

    def __post_init__(self):
        _check(self.replica >= 1, self, "replica", "at least 1")
        _check(self.data == -1 or self.data >= 1, self, "data", "-1 (all devices) or at least 1")
        _check(self.model >= 1, self, "model", "at least 1")
        _check(self.accumulate >= 1, self, "accumulate", "at least 1")


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """Logging and checkpoints. Resuming may change it.

    A checkpoint is kept if it is the last of its stage, one of the `keep_checkpoints` newest, at a
    multiple of `keep_every_steps`, or one of the `keep_best` best; all others are deleted.
    """

    every_steps: int = 5  # steps between two logged ones
    checkpoint_seconds: float = 60.0  # time between two checkpoints, at least
    keep_checkpoints: int = 2  # newest ones kept
    keep_every_steps: int = 0  # at each multiple of it a checkpoint is saved and kept; 0: none
    keep_best: int = 0  # kept by best_metric, as it was in the checkpoint's own step; 0: none
    best_metric: str = ""  # a stage and one of its metrics, such as "distilled/solved"
    best_mode: str = "max"  # which values of best_metric are best: "max" or "min"

    def __post_init__(self):
        _check(self.every_steps >= 1, self, "every_steps", "at least 1")
        _check(self.checkpoint_seconds >= 0, self, "checkpoint_seconds", "at least 0")
        _check(self.keep_checkpoints >= 1, self, "keep_checkpoints", "at least 1")
        _check(self.keep_every_steps >= 0, self, "keep_every_steps", "at least 0")
        _check(self.keep_best >= 0, self, "keep_best", "at least 0")
        named = bool(self.best_metric) or not self.keep_best
        _check(named, self, "keep_best", "0 where best_metric is not set")
        _check(self.best_mode in ("max", "min"), self, "best_mode", "'max' or 'min'")


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """A trace of some training steps, for JAX's profiler. Resuming may change it."""

    steps: tuple[int, ...] = ()  # the first and the last step traced, from 1 on; empty: none

    def __post_init__(self):
        pair = len(self.steps) == 2 and 1 <= self.steps[0] <= self.steps[-1]
        valid = "empty, or a first step from 1 on and a last one not before it"
        _check(not self.steps or pair, self, "steps", valid)


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """Which game is played."""

    cls: str = "rlsearch.environments.pgx_game:PgxGame"  # module:Class of the environment
    game: str = "tic_tac_toe"  # pgx's name of it
    reward_scale: float = 1.0  # rewards are multiplied by it; best so that returns are in [-1, 1]
    discount: float = 1.0  # of the next reward
    max_moves: int = 0  # games are broken off after so many; 0: never

    def __post_init__(self):
        _check(self.reward_scale > 0, self, "reward_scale", "positive")
        _check(0 < self.discount <= 1, self, "discount", "in (0, 1]")
        _check(self.max_moves >= 0, self, "max_moves", "at least 0")


@dataclasses.dataclass(frozen=True)
class TowerConfig:
    """Shape of the residual tower."""

    num_blocks: int = 4  # of two convolutions each
    channels: int = 64  # features of a cell
    squeeze_excite: int = 0  # channels / hidden features of squeeze-and-excitation; 0: none
    value_dim: int = 64  # hidden features of the value head
    value: str = "outcomes"  # "outcomes" (loss, draw, win), "bounded" (in [-1, 1]) or "unbounded"
    dtype: str = "float32"  # dtype of the computation; parameters are float32
    remat: str = "everything_saveable"  # what a block keeps for the backward pass

    def __post_init__(self):
        policies = f"one of {', '.join(REMAT_POLICIES)}"
        _check(self.remat in REMAT_POLICIES, self, "remat", policies)
        for field in ("num_blocks", "channels", "value_dim"):
            _check(getattr(self, field) > 0, self, field, "positive")
        _check(self.squeeze_excite >= 0, self, "squeeze_excite", "at least 0")
        kinds = ("outcomes", "bounded", "unbounded")
        _check(self.value in kinds, self, "value", "'outcomes', 'bounded' or 'unbounded'")
        _check(self.dtype in ("float32", "bfloat16"), self, "dtype", "'float32' or 'bfloat16'")


@dataclasses.dataclass(frozen=True)
class SelfPlayConfig:
    """Stage "self_play": games against itself that go on from step to step, and learning."""

    num_steps: int = 100  # training steps
    num_games: int = 256  # B, games played at once
    moves_per_step: int = 8  # T, moves of every game in a step
    replay_moves: int = 64  # positions kept of each game's place; the newest ones
    updates_per_step: int = 2  # minibatches learnt from a step
    batch_size: int = 1024  # positions of a minibatch
    td_lambda: float = 1.0  # 1: outcomes; below, values of later searches come into the returns
    random_opening: int = 0  # games begin behind at most so many random moves
    temperature: float = 1.0  # of the draw from the improved policy
    temperature_moves: int = 1_000_000  # behind so many moves, the best is played
    resign_below: float = -1.0  # who is worth less gives up; -1: nobody does
    reanalysed: int = 0  # stored positions of each game's place searched anew in a step
    value_weight: float = 1.0  # of the value loss, against 1 of the policy's
    symmetries: bool = True  # whether positions are learnt from all sides
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self):
        for field in ("num_steps", "num_games", "moves_per_step", "updates_per_step", "batch_size"):
            _check(getattr(self, field) >= 1, self, field, "at least 1")
        multiple = self.replay_moves >= 1 and self.replay_moves % self.moves_per_step == 0
        valid = f"a multiple of moves_per_step, {self.moves_per_step}"
        _check(multiple, self, "replay_moves", valid)
        _check(0 <= self.td_lambda <= 1, self, "td_lambda", "in [0, 1]")
        _check(self.random_opening >= 0, self, "random_opening", "at least 0")
        _check(self.temperature > 0, self, "temperature", "positive")
        _check(self.temperature_moves >= 0, self, "temperature_moves", "at least 0")
        _check(-1 <= self.resign_below < 1, self, "resign_below", "in [-1, 1)")
        _check(self.reanalysed >= 0, self, "reanalysed", "at least 0")
        _check(self.value_weight > 0, self, "value_weight", "positive")


MOVES = SearchConfig(actions="moves", num_simulations=32, num_candidates=16, value_scale=0.5)


@dataclasses.dataclass(frozen=True)
class SelfPlayExperiment:
    """Everything that decides what a run of self-play computes."""

    kind: str = "self_play"  # tells this class from `Experiment` where a config is data
    name: str = "game"  # of the run's directory under runs/
    seed: int = 0  # of parameters, games and searches
    environment: EnvironmentConfig = EnvironmentConfig()
    model: TowerConfig = TowerConfig()
    search: SearchConfig = MOVES  # while training
    play: SearchConfig = dataclasses.replace(MOVES, num_simulations=128, gumbel_scale=0.0)  # after
    self_play: SelfPlayConfig = SelfPlayConfig()
    parallel: ParallelConfig = ParallelConfig()
    log: LogConfig = LogConfig()
    profile: ProfileConfig = ProfileConfig()

    def __post_init__(self):
        _check(self.kind == "self_play", self, "kind", "'self_play'")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run on a language task computes."""

    kind: str = "language"  # tells this class from `SelfPlayExperiment` where a config is data
    name: str = "game24"  # of the run's directory under runs/
    seed: int = 0  # of parameters, problems and searches
    task: TaskConfig = TaskConfig()
    model: TransformerConfig = TransformerConfig()
    search: SearchConfig = SearchConfig()
    pretrain: PretrainConfig = PretrainConfig()
    distill: DistillConfig = DistillConfig()
    control: ControlConfig = ControlConfig()
    revision: RevisionConfig = RevisionConfig()
    verifier: VerifierConfig = VerifierConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    parallel: ParallelConfig = ParallelConfig()
    log: LogConfig = LogConfig()
    profile: ProfileConfig = ProfileConfig()

    def __post_init__(self):
        _check(self.kind == "language", self, "kind", "'language'")
