"""From the runs of experiment.py to the tables of results.json."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product

import numpy as np
from contestants import CONTROL, DERIVED, LOTTERY, METRICS, PLAIN, RULES, TASKS, TWINS
from scipy import stats

from eokeras import evaluate
from eokeras.evaluate.intervals import ReplicateComparison
from eokeras.evaluate.scores import ILLUSTRATION
from eokeras.evaluate.sharing_replicates import SharingReplicates

Runs = Mapping[tuple[str, str, str], Sequence[dict]]
"""(labels, contestant, length) -> the answer of every world, in the order of the worlds."""

TIME, STEPS = "equal_time", "equal_steps"
FEWEST_LEARNED = 2
"""Tasks of three that must be learned for a comparison to be more than one of failures."""


def sharing_table(runs: Runs, blind: Mapping[str, Sequence[dict]]) -> dict:
    """Labels -> contestant -> relative changes against twins of equal time; scores and baselines beside them.

    Args:
        blind: labels -> scores in every world of answers that know the labels alone.
    """
    plain = runs["100", PLAIN, TIME]
    primary, swapped = (against_twins(runs, "10", PLAIN, TIME, swapped=way).mean for way in (False, True))
    found = {labels: learned(runs, blind, labels, TIME) for labels in blind}
    tasks = [task for task in TASKS if found["10"][task]["learned"]] or TASKS
    of_learned, of_learned_swapped = (
        against_twins(runs, "10", PLAIN, TIME, swapped=way, tasks=tasks).mean for way in (False, True)
    )
    return {
        **{labels: changes_against_twins(runs, labels, TIME) for labels in blind},
        "primary": primary.to_dict(),
        "primary_swapped": swapped.to_dict(),
        "primary_learned": of_learned.to_dict(),
        "primary_learned_swapped": of_learned_swapped.to_dict(),
        "verdict": verdict(primary, swapped, found["10"]["count"]),
        "learned": found,
        "scores": {labels: side_scores(runs, labels) for labels in blind},
        "baselines": {
            labels: {task: float(np.mean([baseline(answer, task) for answer in answers])) for task in TASKS}
            for labels, answers in blind.items()
        },
        "oracle": {
            task: float(np.mean([answer["information"][task]["s2"] for answer in plain]))
            for task in ("climate_zone", "season")
        },
    }


def steps_table(runs: Runs, blind: Mapping[str, Sequence[dict]]) -> dict:
    """Labels -> contestant -> relative changes against twins of equal steps; how many tasks either side has learned.

    `longer`: what their longer training gave the twins, relative to those of equal time.
    """
    found = {labels: learned(runs, blind, labels, STEPS) for labels in blind}
    longer: dict = {labels: {} for labels in blind}
    for labels, (task, twin) in product(blind, TWINS.items()):
        pair = between(runs[labels, twin, STEPS], runs[labels, twin, TIME], (task,), ("longer", "shorter"))
        longer[labels][task] = pair.to_dict()["tasks"][task]["relative_change"]
    changes = {labels: changes_against_twins(runs, labels, STEPS) for labels in blind}
    return {**changes, "learned": found, "longer": longer}


def changes_against_twins(runs: Runs, labels: str, length: str) -> dict:
    """Contestant -> its relative changes, of all that answer the three tasks on every budget."""
    return {name: trimmed(against_twins(runs, labels, name, length)) for name in (PLAIN, *DERIVED)}


def tuning_table(learning_rates: Sequence[float], rates: Mapping, tried: Mapping) -> dict:
    """Of each entry of `rates` the one chosen, and the mean relative change of every rate."""
    return {
        "learning_rates": list(learning_rates),
        "chosen": {" ".join(entry): rate for entry, rate in rates.items()},
        "mean_relative_change": {" ".join(entry): tried[entry] for entry in rates},
    }


def against_twins(
    runs: Runs, labels: str, contestant: str, length: str, swapped: bool = False, tasks: Sequence[str] = TASKS
) -> SharingReplicates:
    """A model for all tasks against its single-task twins, over worlds; `swapped`: the twins relative to the model.

    A relative change is not symmetric: from 0.1 to 0.2 is + 100 %, back is - 50 %, and their mean over worlds that
    vary is above zero. Roles swapped tell whether a mean comes from that alone.
    """
    models = runs[labels, contestant, TIME]
    twins = {task: runs[labels, name, length] for task, name in TWINS.items()}
    names = (contestant, "single-task")
    pairs = [
        {task: (value(model, task), value(twins[task][world], task)) for task in tasks}
        for world, model in enumerate(models)
    ]
    if swapped:
        names, pairs = names[::-1], [{task: pair[::-1] for task, pair in each.items()} for each in pairs]
    return evaluate.sharing_over_replicates(pairs, multitask=names[0], reference=names[1], simulated=True)


def verdict(primary: ReplicateComparison, swapped: ReplicateComparison, learned_tasks: int) -> str:
    """What the primary comparison may be called: it must hold with roles swapped, for tasks that were learned."""
    if learned_tasks < FEWEST_LEARNED:
        return ILLUSTRATION
    if primary.excludes_zero and swapped.excludes_zero and primary.mean * swapped.mean < 0:
        return "excludes zero, with roles swapped, too"
    return "does not exclude zero both ways"


def learned(runs: Runs, blind: Mapping[str, Sequence[dict]], labels: str, length: str) -> dict:
    """Task -> whether the plain sum or its twin beats an answer that does not look, paired over worlds.

    `count`: how many tasks; `reading`: what comparisons at this budget may be called.
    """
    table: dict = {}
    for task, metric in METRICS.items():
        trivial = [baseline(answer, task) for answer in blind[labels]]
        sides = {"plain sum": runs[labels, PLAIN, TIME], "twin": runs[labels, TWINS[task], length]}
        found = {
            side: evaluate.paired_over_replicates([value(each, task) for each in answers], trivial, metric=metric)
            for side, answers in sides.items()
        }
        beats = {side: each.excludes_zero and (each.mean < 0) == each.less_is_better for side, each in found.items()}
        table[task] = {side: each.to_dict() | {"beats": beats[side]} for side, each in found.items()}
        table[task]["learned"] = any(beats.values())
    count = sum(found["learned"] for found in table.values())
    reading = f"{count} of {len(TASKS)} tasks learned"
    return table | {
        "count": count,
        "reading": reading if count >= FEWEST_LEARNED else f"{reading}: {ILLUSTRATION}",
    }


def between(first: Sequence[dict], second: Sequence[dict], tasks: Sequence[str], names) -> SharingReplicates:
    """One model against another on tasks that both have, over worlds."""
    pairs = [{task: (value(a, task), value(b, task)) for task in tasks} for a, b in zip(first, second, strict=True)]
    return evaluate.sharing_over_replicates(pairs, multitask=names[0], reference=names[1], simulated=True)


def rules_table(runs: Runs) -> dict:
    """Labels -> rule -> relative changes against the plain sum; Holm's correction over all of them together.

    `control`: the other rules against random weights, with all labels.
    """
    raced = [(labels, rule) for labels, rule, _ in runs if rule in RULES]
    found = {pair: between(runs[*pair, TIME], runs[pair[0], PLAIN, TIME], TASKS, (pair[1], PLAIN)) for pair in raced}
    p_values = {pair: float(stats.ttest_1samp(replicate_means(each), 0).pvalue) for pair, each in found.items()}
    kept, table = holm(p_values), {}
    for (labels, rule), each in found.items():
        table.setdefault(labels, {})[rule] = trimmed(each) | {"holm": kept[labels, rule]}
    control = runs["100", CONTROL, TIME]
    against = {
        rule: between(runs["100", rule, TIME], control, TASKS, (rule, CONTROL)) for rule in RULES if rule != CONTROL
    }
    return table | {"control": {rule: trimmed(each) for rule, each in against.items()}}


def replicate_means(found: SharingReplicates) -> np.ndarray:
    """Mean relative change over the tasks, of every world."""
    changes = [evaluate.relative_change(metric, *found.values[task].T) for task, metric in found.metrics.items()]
    return np.mean(changes, axis=0)


def holm(p_values: Mapping[Hashable, float], level: float = 0.05) -> dict[Hashable, bool]:
    """Which of a family of tests reject at a joint level (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})  # 0.01 <= 0.05 / 3, 0.03 > 0.05 / 2
    {'a': True, 'c': False, 'b': False}
    """
    rejects, found = True, {}
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        rejects = rejects and p <= level / (len(p_values) - place)
        found[name] = rejects
    return found


def lottery_table(lottery: Sequence[dict], plain: Sequence[dict]) -> dict:
    """Three heads and a lottery against three heads, with all labels; how far the lottery was learned by heart."""
    changes = trimmed(between(lottery, plain, TASKS, (LOTTERY, PLAIN)))
    return changes | {"training_loss": float(np.mean([each["lottery_loss"] for each in lottery]))}


def stamp_table(shared: Sequence[dict], twins: Sequence[Sequence[dict]]) -> dict:
    """Squared correlation of stamp and reading by world: untrained, shared, mean of the twins."""
    readable = {
        "untrained": [each["untrained"] for each in shared],
        "plain sum": [each["readable"] for each in shared],
        "twins": np.mean([[each["readable"] for each in twin] for twin in twins], axis=0).tolist(),
    }
    table = {name: {"mean": float(np.mean(values)), "values": values} for name, values in readable.items()}
    by_task = {
        task: float(np.mean([each["readable"] for each in twin])) for task, twin in zip(TASKS, twins, strict=True)
    }
    difference = evaluate.paired_over_replicates(readable["plain sum"], readable["twins"])
    return table | {"by_twin": by_task, "difference": difference.to_dict()}


def conflict_table(plain: Sequence[dict]) -> dict:
    """Cosines of the gradients of every two tasks by world and stage; at the end of one task on other patches, too."""
    pairs = ("climate_zone+land_cover_map", "climate_zone+season", "land_cover_map+season")
    by_epoch = {
        pair: [np.round(each["history"]["cosine_" + pair.replace("+", "_")], 3).tolist() for each in plain]
        for pair in pairs
    }
    halves = np.mean([each["halves"] for each in plain], axis=0)
    return {
        "by_epoch": by_epoch,
        "last": {pair: float(np.mean([values[-1] for values in worlds])) for pair, worlds in by_epoch.items()},
        "same_task": {task: float(halves[index, index]) for index, task in enumerate(TASKS)},
    }


def weights_table(runs: Runs, rule: str) -> dict:
    """Labels -> task -> the last weight that a rule gave it, mean over the worlds."""
    return {
        labels: {task: float(np.mean([each["history"][f"weight_{task}"][-1] for each in cards])) for task in TASKS}
        for (labels, name, length), cards in runs.items()
        if (name, length) == (rule, TIME)
    }


# --- Pieces --------------------------------------------------------------------------------------------


def value(answer: dict, task: str) -> float:
    """Main score of a task in one run."""
    return answer["scores"][task][METRICS[task]]


def baseline(answer: dict, task: str) -> float:
    """What an answer scores that does not look at the picture."""
    return next(found[task][METRICS[task]] for found in answer["baselines"].values() if task in found)


def side_scores(runs: Runs, labels: str) -> dict:
    """Contestant (twins together) -> task -> its main scores by world and their mean."""
    sides = {name: dict.fromkeys(TASKS, runs[labels, name, TIME]) for name in (PLAIN, *DERIVED)}
    sides["twins"] = {task: runs[labels, name, TIME] for task, name in TWINS.items()}
    table: dict = {}
    for name, by_task in sides.items():
        for task, answers in by_task.items():
            values = [value(answer, task) for answer in answers]
            table.setdefault(name, {})[task] = {"mean": float(np.mean(values)), "values": values}
    return table


def trimmed(found: SharingReplicates) -> dict:
    """What text and figures need of a comparison."""
    table = found.to_dict()
    return {name: table[name] for name in ("tasks", "mean_relative_change", "replicates")}
