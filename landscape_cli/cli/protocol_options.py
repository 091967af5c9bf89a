"""Options that say how to train, shared by the commands that do."""

from typing import Annotated

import typer

from landscape_cli.cli.completion import complete_checkpoints, complete_presets
from landscape_cli.cli.output import print_text
from landscape_cli.compute.choices import Compile as CompileChoice
from landscape_cli.compute.choices import KeepResume
from landscape_cli.compute.training.presets import PRESETS
from landscape_cli.compute.training.protocol import OptimizerName, ScheduleName
from landscape_cli.errors import UsageError

PROTOCOL = "Protocol"
STREAMS = "Random streams"
RECORDING = "Recording"
SPEED = "Speed"
CHILDREN = "Children"
CHANGES = "What the children do differently"


def _list_presets(value: bool) -> None:
    if value:
        for name, entry in PRESETS.items():
            print_text(f"{name:31} {entry.network:13} {entry.data:8} {entry.source} {entry.axes}".rstrip())
        raise typer.Exit


Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="A published protocol; the flags below change it.",
        autocompletion=complete_presets,
        rich_help_panel=PROTOCOL,
    ),
]
ListPresets = Annotated[
    bool,
    typer.Option(
        "--list-presets",
        help="List the presets, with the flags that are a table's other axes.",
        callback=_list_presets,
        is_eager=True,
        rich_help_panel=PROTOCOL,
    ),
]
Optimizer = Annotated[
    OptimizerName,
    typer.Option("--optimizer", help="adam has L2 decay, adamw decoupled decay.", rich_help_panel=PROTOCOL),
]
Lr = Annotated[float, typer.Option("--lr", help="Peak learning rate.", rich_help_panel=PROTOCOL)]
Momentum = Annotated[float, typer.Option("--momentum", help="Of SGD, or β₁ of Adam.", rich_help_panel=PROTOCOL)]
Beta2 = Annotated[float, typer.Option("--beta2", help="β₂ of Adam.", rich_help_panel=PROTOCOL)]
WeightDecay = Annotated[float, typer.Option("--weight-decay", help="Weight decay.", rich_help_panel=PROTOCOL)]
DecayNormBias = Annotated[
    bool,
    typer.Option(
        "--decay-norm-bias/--no-decay-norm-bias",
        help="Whether normalisation parameters and biases decay too.",
        rich_help_panel=PROTOCOL,
    ),
]
Schedule = Annotated[
    ScheduleName, typer.Option("--schedule", help="Learning rate over time, per step.", rich_help_panel=PROTOCOL)
]
Milestones = Annotated[
    str | None,
    typer.Option("--milestones", help="Epochs of the step schedule, as in 80,120.", rich_help_panel=PROTOCOL),
]
Factor = Annotated[float, typer.Option("--factor", help="Factor of each step.", rich_help_panel=PROTOCOL)]
Warmup = Annotated[float, typer.Option("--warmup", help="Epochs of linear warm-up.", rich_help_panel=PROTOCOL)]
Epochs = Annotated[float, typer.Option("--epochs", help="Length.", rich_help_panel=PROTOCOL)]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Samples a step.", rich_help_panel=PROTOCOL)]
KeepLastBatch = Annotated[
    bool,
    typer.Option("--keep-last-batch", help="Train on an epoch's incomplete last batch too.", rich_help_panel=PROTOCOL),
]
LabelSmoothing = Annotated[float, typer.Option("--label-smoothing", help="Label smoothing.", rich_help_panel=PROTOCOL)]
Augment = Annotated[
    str, typer.Option("--augment", help="none, crop, flip, crop+flip, crop:2+flip.", rich_help_panel=PROTOCOL)
]
PrimeBn = Annotated[
    int,
    typer.Option("--prime-bn", help="Batches that set batch-norm statistics before step 0.", rich_help_panel=PROTOCOL),
]

Compile = Annotated[
    CompileChoice,
    typer.Option(
        "--compile",
        envvar="LANDSCAPE_COMPILE",
        help="How steps are made: recorded once and replayed with the same bits (graph; auto where a GPU can), "
        "compiled by torch with a rounding of its own (inductor), or one operation after another (none).",
        rich_help_panel=SPEED,
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic/--no-deterministic",
        help="Only kernels that give the same bits each time, or the fastest on trial (on a GPU).",
        rich_help_panel=SPEED,
    ),
]

InitSeed = Annotated[
    int | None, typer.Option("--init-seed", help="Of initial weights; default --seed.", rich_help_panel=STREAMS)
]
Init = Annotated[
    str,
    typer.Option(
        "--init",
        metavar="default|corners|corners:SEED",
        help="Initial weights: as the network draws them, or those of linear layers from N(0, 1); with a seed, that "
        "one's corner plus the network's own draw.",
        rich_help_panel=STREAMS,
    ),
]
InitFrom = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="RUN[@TIME]",
        help="Begin with the weights and buffers of another run or a .safetensors file; the optimiser begins afresh.",
        autocompletion=complete_checkpoints,
        rich_help_panel=STREAMS,
    ),
]
OrderSeed = Annotated[
    int | None, typer.Option("--order-seed", help="Of the data order; default --seed.", rich_help_panel=STREAMS)
]
AugmentSeed = Annotated[
    int | None, typer.Option("--augment-seed", help="Of augmentation; default --seed.", rich_help_panel=STREAMS)
]
DropoutSeed = Annotated[
    int | None,
    typer.Option("--dropout-seed", help="Of dropout and the like; default --seed.", rich_help_panel=STREAMS),
]

Checkpoints = Annotated[
    str,
    typer.Option(
        "--checkpoints",
        help="auto, every:1ep, every:step:100, log:40, mao2023, last, a list 0ep,0.5ep,2ep; join with +.",
        rich_help_panel=RECORDING,
    ),
]
ResumeStates = Annotated[
    KeepResume,
    typer.Option(
        "--resume-states",
        help="Optimiser states to keep: beside all checkpoints, of the last, or none.",
        rich_help_panel=RECORDING,
    ),
]
EvalTrain = Annotated[
    int | None,
    typer.Option(
        "--eval-train",
        min=1,
        help="Training samples in the metrics; default 10,000 or all.",
        rich_help_panel=RECORDING,
    ),
]

SpawnTimes = Annotated[
    str, typer.Option("--at", help="Spawn times, as in 0ep,0.5ep,step:390.", rich_help_panel=CHILDREN)
]
Children = Annotated[int, typer.Option("--children", min=1, help="At each time.", rich_help_panel=CHILDREN)]
FirstChild = Annotated[
    int,
    typer.Option("--first-child", min=0, help="Number of the first, to add more later.", rich_help_panel=CHILDREN),
]
Until = Annotated[
    str,
    typer.Option(
        "--until", help="end (of the parent's protocol), 20ep, or +10ep after the spawn time.", rich_help_panel=CHILDREN
    ),
]
FreshOptimizer = Annotated[
    bool,
    typer.Option("--fresh-optimizer", help="Zero momentum, as published tools have it.", rich_help_panel=CHILDREN),
]
SameStream = Annotated[
    bool,
    typer.Option(
        "--same-stream",
        help="The parent's own streams: a check, such a child repeats it bit for bit.",
        rich_help_panel=CHILDREN,
    ),
]
NamePattern = Annotated[
    str, typer.Option("--name", help="Pattern of their names; {letter} is a, b, c, …", rich_help_panel=CHILDREN)
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Runs at once; default one a core.", rich_help_panel=CHILDREN),
]
ChildCheckpoints = Annotated[
    str | None,
    typer.Option("--checkpoints", help="When to record; default as the parent.", rich_help_panel=CHILDREN),
]

NewLr = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.", rich_help_panel=CHANGES)]
NewSchedule = Annotated[ScheduleName | None, typer.Option("--schedule", help="Schedule.", rich_help_panel=CHANGES)]
NewMilestones = Annotated[str | None, typer.Option("--milestones", help="Of its steps.", rich_help_panel=CHANGES)]
NewFactor = Annotated[float | None, typer.Option("--factor", help="Of each step.", rich_help_panel=CHANGES)]
NewEpochs = Annotated[float | None, typer.Option("--epochs", help="Of the schedule.", rich_help_panel=CHANGES)]
NewWeightDecay = Annotated[float | None, typer.Option("--weight-decay", help="Decay.", rich_help_panel=CHANGES)]
NewAugment = Annotated[str | None, typer.Option("--augment", help="Augmentation.", rich_help_panel=CHANGES)]


NewCompile = Annotated[
    CompileChoice | None,
    typer.Option("--compile", help="auto, none, graph or inductor; default the parent's.", rich_help_panel=SPEED),
]
NewDeterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic",
        help="Only kernels that give the same bits each time; default as the parent.",
        rich_help_panel=SPEED,
    ),
]


def given(context: typer.Context, name: str) -> bool:
    """Whether the user gave an option, on the command line, in the environment or in a file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def parse_milestones(text: str | None) -> tuple[float, ...]:
    """Read a comma-separated list of epochs.

    Raises:
        UsageError: If an item is no number.
    """
    try:
        return tuple(float(part.removesuffix("ep")) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"'{text}' is no list of epochs", "as in --milestones 80,120") from None
