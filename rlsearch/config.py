"""The frozen dataclasses that no single room owns, and the experiment that they make up.

An experiment is a task, a model, and the stages in which the model is trained. A config file is a
Python file that defines `config`, an `Experiment`. Whatever an experiment names (a task, a stage, a
strategy, a study, an environment) is a frozen dataclass in the file that implements it; a field
that holds one says by its `Kind` which classes data may name there. This file imports nothing of
the package, so that every room may import it; each class checks its own fields and says what is
valid.
"""

import dataclasses
from typing import Annotated, Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """The values that a field may hold: of classes of one room, or of a user's own file."""

    noun: str  # such as "a task"
    room: str  # the package whose modules define such classes
    members: tuple[str, ...]  # that each such class has
    or_members: tuple[str, ...] = ()  # or all of these, where there are any
    maker: str = ""  # the class method that makes one; empty: a frozen dataclass is one itself


TASK = Kind(
    "a task",
    "rlsearch.tasks",
    ("held_out_prompts", "check", "draw_task_problem"),
    or_members=("problems", "check", "answer"),  # in words
)
PROMPTING = Kind("a way of prompting", "rlsearch.tasks", ("prompted",), or_members=("messages",))
STAGE = Kind("a stage", "rlsearch.stages", ("name", "ends_with", "build"))
STUDY = Kind("a study", "rlsearch.studies", ("run",))
STRATEGY = Kind("a strategy", "rlsearch.strategies", ("settings", "solve"))
VERIFIER = Kind("a verifier", "rlsearch.verifiers", ("score", "start", "read"), maker="of")
ENVIRONMENT = Kind("an environment", "rlsearch.environments", ("reset", "step", "observe"))
A_TASK = Annotated[Any, TASK]
A_PROMPTING = Annotated[Any, PROMPTING]
A_STAGE = Annotated[Any, STAGE]
A_STUDY = Annotated[Any, STUDY]
A_STRATEGY = Annotated[Any, STRATEGY]
AN_ENVIRONMENT = Annotated[Any, ENVIRONMENT]


def check(condition: bool, owner: object, field: str, valid: str) -> None:
    """Raises ValueError unless `condition` holds, with the field's value and what is valid."""
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
ADAPTABLE = ("query", "key", "value", "out", "gate", "up", "down")  # weights of a block


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Slower rotary waves, for a context longer than a model was first trained on.

    Waves that are longer than `original_length / low_frequency` tokens are slowed by `factor`,
    those shorter than `original_length / high_frequency` stay, and between them it goes smoothly,
    as in Llama 3. With `high_frequency` 0 all are slowed (linear scaling).
    """

    factor: float = 1.0  # 1: none
    low_frequency: float = 0.0
    high_frequency: float = 0.0
    original_length: int = 0  # tokens

    def __post_init__(self):
        check(self.factor >= 1, self, "factor", "at least 1")
        parts = 0 < self.low_frequency < self.high_frequency and self.original_length >= 1
        none = self.low_frequency == self.high_frequency == self.original_length == 0
        valid = "0, or above low_frequency, which is then positive, as original_length is"
        check(parts or none, self, "high_frequency", valid)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """Low-rank additions to the weights of a transformer's blocks (LoRA, Hu et al. 2021, section
    4.1): `W + alpha / rank A B`, of which B begins as zeros.

    A stage whose `optimizer.learnt` is ("adapter", "value_head") learns them and leaves W alone.
    """

    rank: int = 0  # features between A and B; 0: there are none
    alpha: float = 16.0  # times 1 / rank, the scale of what is added
    targets: tuple[str, ...] = ADAPTABLE  # the weights that have one

    def __post_init__(self):
        check(self.rank >= 0, self, "rank", "at least 0")
        check(self.alpha > 0, self, "alpha", "positive")
        good = bool(self.targets) and set(self.targets) <= set(ADAPTABLE)
        check(good, self, "targets", f"some of {', '.join(ADAPTABLE)}")


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Shape of the transformer: with its defaults as Llama's, and fields for what others change."""

    num_layers: int = 4  # blocks
    embed_dim: int = 128  # features of the residual stream
    num_heads: int = 4  # query heads
    num_kv_heads: int = 2  # key-value heads; divides num_heads
    head_dim: int = 32  # features of a head, even
    mlp_dim: int = 352  # hidden features of the gated MLP
    rope_theta: float = 10_000.0  # base of the rotary wavelengths
    rope_scaling: RopeScaling = RopeScaling()  # of layers that see everything
    window: int = 0  # tokens that a local layer sees, its own among them; 0: no layer is local
    global_every: int = 0  # each layer whose number, from 1, is a multiple sees all; 0: none does
    local_rope_theta: float = 0.0  # of local layers; 0: that of all, as in Gemma 2
    norm_epsilon: float = 1e-6  # added to the mean square in RMSNorm
    qkv_bias: bool = False  # biases on query, key and value, as in Qwen 2
    qk_norm: bool = False  # RMSNorm on each query and key head, as in Qwen 3
    tie_embeddings: bool = True  # the output matrix is the embedding
    scale_embeddings: bool = True  # by sqrt(embed_dim) where they are read, as in Gemma
    activation: str = "silu"  # of the MLP's gate: "silu" or "gelu" (by tanh)
    post_norms: bool = False  # RMSNorm on what attention and the MLP add, too, as in Gemma 2
    query_scale: float = 0.0  # of the attention's scores; 0: head_dim ** -0.5
    attention_cap: float = 0.0  # scores become cap tanh(score / cap), as in Gemma 2; 0: as they are
    logit_cap: float = 0.0  # the same for the policy's logits
    value_dim: int = 64  # hidden features of the value head
    dtype: str = "float32"  # dtype of the computation; parameters are float32
    scan_layers: bool = False  # parameters of all blocks stacked, and read by one loop: a deep
    # network then compiles as fast as a shallow one
    remat: str = "everything_saveable"  # what a block keeps for the backward pass
    adapter: Adapter = Adapter()  # beside the weights of blocks

    def __post_init__(self):
        policies = f"one of {', '.join(REMAT_POLICIES)}"
        check(self.remat in REMAT_POLICIES, self, "remat", policies)
        for field in ("num_layers", "embed_dim", "num_heads", "head_dim", "mlp_dim", "value_dim"):
            check(getattr(self, field) > 0, self, field, "positive")
        divides = self.num_kv_heads > 0 and self.num_heads % self.num_kv_heads == 0
        check(divides, self, "num_kv_heads", f"a divisor of num_heads, {self.num_heads}")
        check(self.head_dim % 2 == 0, self, "head_dim", "even, for rotary positions")
        check(self.dtype in ("float32", "bfloat16"), self, "dtype", "'float32' or 'bfloat16'")
        for field in ("window", "query_scale", "attention_cap", "logit_cap", "local_rope_theta"):
            check(getattr(self, field) >= 0, self, field, "at least 0")
        alone = self.window > 0 or not (self.global_every or self.local_rope_theta)
        check(self.global_every >= 0, self, "global_every", "at least 0")
        check(alone, self, "window", "positive, as other fields are about local layers")
        check(self.activation in ("silu", "gelu"), self, "activation", "'silu' or 'gelu'")


@dataclasses.dataclass(frozen=True)
class Lines:
    """The shape of solutions in words, written line by line."""

    max_steps: int = 8  # S; a solution of more lines is cut there
    max_step_tokens: int = 48  # L; a longer line is several steps
    delimiter: str = "\n"  # a token whose text holds it ends a step

    def __post_init__(self):
        check(self.max_steps >= 1, self, "max_steps", "at least 1")
        check(self.max_step_tokens >= 1, self, "max_step_tokens", "at least 1")
        check(bool(self.delimiter), self, "delimiter", "a text")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An open model in a local folder, and the shape of what it writes."""

    folder: str  # with config.json, safetensors files and tokenizer.json
    max_tokens: int = 256  # T, tokens of the longest solution
    lines: Lines = Lines()
    dtype: str = "float32"  # dtype of the computation; parameters are float32
    scan_layers: bool = False  # see `TransformerConfig`
    remat: str = "everything_saveable"  # what a block keeps for the backward pass
    adapter: Adapter = Adapter()  # beside the weights of blocks

    def __post_init__(self):
        policies = f"one of {', '.join(REMAT_POLICIES)}"
        check(self.remat in REMAT_POLICIES, self, "remat", policies)
        check(bool(self.folder), self, "folder", "the folder of an open model")
        check(self.max_tokens >= 1, self, "max_tokens", "at least 1")
        check(self.dtype in ("float32", "bfloat16"), self, "dtype", "'float32' or 'bfloat16'")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The tree search inside the training step."""

    policy: str = "gumbel"  # "gumbel" (halving at the root), "puct", or, of steps, "draw"
    actions: str = "steps"  # language: "steps" (sampled, whole), "top_tokens" (likeliest) or
    # "tokens" (all); games: "moves"
    num_simulations: int = 24  # nodes added to a tree per decision, at most
    num_candidates: int = 12  # K, actions of a node; "tokens", "moves": those tried at the root
    value_scale: float = 0.1  # Gumbel: sigma(q) = value_scale (max_visit_init + max visits) q
    max_visit_init: float = 50.0  # Gumbel: see value_scale
    gumbel_scale: float = 1.0  # noise at the root; 0 is none
    puct_constant: float = 1.25  # exploration of PUCT
    dirichlet_fraction: float = 0.0  # PUCT: share of noise in the root's prior, over legal actions
    dirichlet_alpha: float = 0.3  # PUCT: concentration of that noise
    tilt: float = 10.0  # draw: beta, what a difference of 1 in value adds to a log-probability
    trust: float = 1.0  # steps: chance that a simulation ends at a new node with the critic's word;
    # with 0 each goes on to the end of a solution
    max_tokens: int = 0  # steps: most tokens of a tree; 0: as many as its nodes take
    temperature: float = 1.0  # of the draw of candidates
    min_p: float = 0.01  # steps: tokens less likely than this times the likeliest are not drawn

    def __post_init__(self):
        rules = self.policy in ("gumbel", "puct", "draw")
        check(rules, self, "policy", "'gumbel', 'puct' or 'draw'")
        kinds = ("steps", "top_tokens", "tokens", "moves")
        check(self.actions in kinds, self, "actions", "'steps', 'top_tokens', 'tokens' or 'moves'")
        steps = self.policy != "draw" or self.actions == "steps"
        check(steps, self, "actions", "'steps' where policy is 'draw'")
        check(0 <= self.tilt <= 1000, self, "tilt", "from 0 to 1000")
        check(0 <= self.trust <= 1, self, "trust", "in [0, 1]")
        check(self.max_tokens >= 0, self, "max_tokens", "at least 0")
        check(self.num_simulations >= 1, self, "num_simulations", "at least 1")
        check(self.num_candidates >= 2, self, "num_candidates", "at least 2")
        check(self.value_scale > 0, self, "value_scale", "positive")
        check(self.temperature > 0, self, "temperature", "positive")
        check(0 <= self.min_p < 1, self, "min_p", "in [0, 1)")
        check(0 <= self.dirichlet_fraction < 1, self, "dirichlet_fraction", "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, with a linear warm-up and a cosine decay over each stage."""

    learning_rate: float = 2e-3  # the peak
    final_fraction: float = 0.05  # of the peak, at the end of the stage
    warmup_steps: int = 100  # updates
    beta2: float = 0.98  # decay of the second moment
    weight_decay: float = 0.01  # per update, times the learning rate
    max_grad_norm: float = 1.0  # gradients are clipped to this global norm
    learnt: tuple[str, ...] = ()  # parameters with one of these names in their paths are learnt, as
    # with ("adapter", "value_head"); the others stay as they are. Empty: all are

    def __post_init__(self):
        check(self.learning_rate > 0, self, "learning_rate", "positive")
        check(self.warmup_steps >= 0, self, "warmup_steps", "at least 0")
        check(self.max_grad_norm > 0, self, "max_grad_norm", "positive")


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """The axis of the mesh that splits each named axis of a parameter; "" leaves it whole.

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
    rank: str = ""  # features between the two parts of an adapter
    rows: str = ""  # of a convolution's window
    columns: str = ""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            valid = getattr(self, field.name) in ("", "data", "model")
            check(valid, self, field.name, "'data', 'model' or ''")


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
        check(self.replica >= 1, self, "replica", "at least 1")
        check(self.data == -1 or self.data >= 1, self, "data", "-1 (all devices) or at least 1")
        check(self.model >= 1, self, "model", "at least 1")
        check(self.accumulate >= 1, self, "accumulate", "at least 1")


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
        check(self.every_steps >= 1, self, "every_steps", "at least 1")
        check(self.checkpoint_seconds >= 0, self, "checkpoint_seconds", "at least 0")
        check(self.keep_checkpoints >= 1, self, "keep_checkpoints", "at least 1")
        check(self.keep_every_steps >= 0, self, "keep_every_steps", "at least 0")
        check(self.keep_best >= 0, self, "keep_best", "at least 0")
        named = bool(self.best_metric) or not self.keep_best
        check(named, self, "keep_best", "0 where best_metric is not set")
        check(self.best_mode in ("max", "min"), self, "best_mode", "'max' or 'min'")


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """A trace of some training steps, for JAX's profiler. Resuming may change it."""

    steps: tuple[int, ...] = ()  # the first and the last step traced, from 1 on; empty: none

    def __post_init__(self):
        pair = len(self.steps) == 2 and 1 <= self.steps[0] <= self.steps[-1]
        valid = "empty, or a first step from 1 on and a last one not before it"
        check(not self.steps or pair, self, "steps", valid)


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
        check(self.remat in REMAT_POLICIES, self, "remat", policies)
        for field in ("num_blocks", "channels", "value_dim"):
            check(getattr(self, field) > 0, self, field, "positive")
        check(self.squeeze_excite >= 0, self, "squeeze_excite", "at least 0")
        kinds = ("outcomes", "bounded", "unbounded")
        check(self.value in kinds, self, "value", "'outcomes', 'bounded' or 'unbounded'")
        check(self.dtype in ("float32", "bfloat16"), self, "dtype", "'float32' or 'bfloat16'")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run computes."""

    name: str = "experiment"  # of the run's directory under runs/
    seed: int = 0  # of parameters, problems, games and searches
    task: A_TASK = None  # a task of language; None in a run of games, whose stage has its own
    prompting: A_PROMPTING = None  # what stands in front of a problem; None: the problem alone
    # Of all stages that have no model of their own. An open one is what `start="pretrained"` means.
    model: TransformerConfig | Pretrained = TransformerConfig()
    stages: tuple[A_STAGE, ...] = ()  # in their order
    evaluation: tuple[A_STUDY, ...] = ()  # what `rlsearch evaluate` does when not told otherwise
    parallel: ParallelConfig = ParallelConfig()
    log: LogConfig = LogConfig()
    profile: ProfileConfig = ProfileConfig()

    def __post_init__(self):
        check(len(self.stages) > 0, self, "stages", "at least one stage")
        names = [stage.name for stage in self.stages]
        for name in names:
            plain = name.isidentifier() and len(name) <= 60
            if not plain:
                raise ValueError(
                    f"Experiment.stages has one named {name[:60]!r}: a name must be a word of "
                    "letters, digits and underscores"
                )
            if names.count(name) > 1:
                raise ValueError(f"Experiment.stages has two named {name!r}: each needs its own")
            if name in {field.name for field in dataclasses.fields(self)}:
                raise ValueError(
                    f"Experiment.stages has one named {name!r}, which is a field of experiments"
                )
