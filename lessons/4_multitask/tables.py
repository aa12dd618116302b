"""From the runs of experiment.py to the tables of results.json."""

from collections.abc import Mapping, Sequence

import numpy as np
from contestants import LOTTERY, METRICS, PLAIN, RULES, TASKS, TWINS
from scipy import stats

from eokeras import evaluate
from eokeras.evaluate.sharing_replicates import SharingReplicates

Runs = Mapping[tuple[str, str, str], Sequence[dict]]
"""(labels, contestant, length) -> the answer of every world, in the order of the worlds."""

TIME, STEPS = "equal_time", "equal_steps"


def sharing_table(runs: Runs) -> dict:
    """Labels -> which twins -> contestant -> relative changes against those twins; scores and baselines beside them."""
    table: dict = {}
    for labels, contestant, _ in runs:
        if contestant == PLAIN or contestant in RULES:
            for length in (TIME, STEPS):
                if (labels, TWINS["season"], length) in runs:
                    found = against_twins(runs, labels, contestant, length)
                    table.setdefault(labels, {}).setdefault(length, {})[contestant] = trimmed(found)
    plain = runs["100", PLAIN, TIME]
    return table | {
        "primary": table["10"][TIME][PLAIN]["mean_relative_change"],
        "scores": {labels: side_scores(runs, labels) for labels in table},
        "baselines": {task: float(np.mean([baseline(answer, task) for answer in plain])) for task in TASKS},
        "oracle": {
            task: float(np.mean([answer["information"][task]["s2"] for answer in plain]))
            for task in ("climate_zone", "season")
        },
    }  # fmt: skip


def against_twins(runs: Runs, labels: str, contestant: str, length: str) -> SharingReplicates:
    """A model for all tasks against its single-task twins, over worlds."""
    models = runs[labels, contestant, TIME]
    twins = {task: runs[labels, name, length] for task, name in TWINS.items()}
    pairs = [
        {task: (value(model, task), value(twins[task][world], task)) for task in TASKS}
        for world, model in enumerate(models)
    ]
    return evaluate.sharing_over_replicates(pairs, multitask=contestant, reference="single-task", simulated=True)


def between(first: Sequence[dict], second: Sequence[dict], tasks: Sequence[str], names) -> SharingReplicates:
    """One model against another on tasks that both have, over worlds."""
    pairs = [{task: (value(a, task), value(b, task)) for task in tasks} for a, b in zip(first, second, strict=False)]
    return evaluate.sharing_over_replicates(pairs, multitask=names[0], reference=names[1], simulated=True)


def rules_table(runs: Runs) -> dict:
    """Labels -> rule -> relative changes against the plain sum; Holm's correction over the rules of a budget."""
    table: dict = {}
    for labels in ("100", "10"):
        rules = [rule for rule in RULES if (labels, rule, TIME) in runs]
        found = {
            rule: between(runs[labels, rule, TIME], runs[labels, PLAIN, TIME], TASKS, (rule, PLAIN)) for rule in rules
        }
        means = {rule: replicate_means(each) for rule, each in found.items()}
        kept = holm({rule: float(stats.ttest_1samp(values, 0).pvalue) for rule, values in means.items()})
        table[labels] = {rule: trimmed(each) | {"holm": kept[rule]} for rule, each in found.items()}
    return table


def replicate_means(found: SharingReplicates) -> np.ndarray:
    """Mean relative change over the tasks, of every world."""
    changes = [evaluate.relative_change(metric, *found.values[task].T) for task, metric in found.metrics.items()]
    return np.mean(changes, axis=0)


def holm(p_values: Mapping[str, float], level: float = 0.05) -> dict[str, bool]:
    """Which of a family of tests reject at a joint level (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})  # 0.01 <= 0.05 / 3, 0.03 > 0.05 / 2
    {'a': True, 'c': False, 'b': False}
    """
    rejects, found = True, {}
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        rejects = rejects and p <= level / (len(p_values) - place)
        found[name] = rejects
    return found


def lottery_table(runs: Runs) -> dict:
    """Labels -> three heads and a lottery against three heads; how far the lottery was learned by heart."""
    table = {}
    for labels in ("100", "10"):
        if (labels, LOTTERY, TIME) in runs:
            found = runs[labels, LOTTERY, TIME]
            changes = trimmed(between(found, runs[labels, PLAIN, TIME], TASKS, (LOTTERY, PLAIN)))
            table[labels] = changes | {"training_loss": float(np.mean([each["lottery_loss"] for each in found]))}
    return table


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


# --- Pieces --------------------------------------------------------------------------------------------


def value(answer: dict, task: str) -> float:
    """Main score of a task in one run."""
    return answer["scores"][task][METRICS[task]]


def baseline(answer: dict, task: str) -> float:
    """What an answer scores that does not look at the picture."""
    return next(found[task][METRICS[task]] for found in answer["baselines"].values() if task in found)


def side_scores(runs: Runs, labels: str) -> dict:
    """Contestant (twins together) -> task -> its main scores by world and their mean."""
    sides = {
        name: dict.fromkeys(TASKS, runs[labels, name, TIME]) for name in (PLAIN, *RULES) if (labels, name, TIME) in runs
    }
    for length in (TIME, STEPS):
        sides[f"twins_{length}"] = {task: runs[labels, name, length] for task, name in TWINS.items()}
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
