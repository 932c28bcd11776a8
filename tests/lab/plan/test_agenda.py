"""The plan of a study worked out by hand, with a list in place of Optuna."""

from collections.abc import Mapping

from small_study import power, study

from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.training import Speed


def ended(run: Run, valid: float | None = 10.0) -> Result:
    failed = None if valid is not None else "it diverged"
    test = valid if run.phase == "confirm" else None
    return Result(run=run.id, valid=valid, test=test, failed=failed)


def play(agenda: Agenda, valid: Mapping[str, float | None] | None = None, stop_after: int = 100) -> list[str]:
    """Runs one at a time; the ids in order, with the phase."""
    order: list[str] = []
    while len(order) < stop_after and (run := agenda.next()):
        order.append(f"{run.id} {run.phase}")
        agenda.end(ended(run, (valid or {}).get(run.trial, 10.0)))
    return order


def test_the_agenda_runs_baselines_then_proposals_then_confirms_the_best_with_every_seed() -> None:
    proposer = ListedProposer(power(2.0), power(3.0), power(4.0))
    agenda = Agenda(study(), proposer, {})
    assert play(agenda, {"trial-02": 12.0, "trial-03": 11.0}) == [
        "fixed-λ-seed1 search",
        "linear-seed1 search",
        "trial-01-seed1 search",
        "trial-02-seed1 search",
        "trial-03-seed1 search",
        "fixed-λ-seed1 confirm",
        "fixed-λ-seed2 confirm",
        "linear-seed1 confirm",
        "linear-seed2 confirm",
        "trial-02-seed1 confirm",
        "trial-02-seed2 confirm",
    ]
    assert agenda.is_finished
    assert proposer.told == {"Fixed λ": 10.0, "linear": 10.0, "trial-01": 10.0, "trial-02": 12.0, "trial-03": 11.0}
    assert [trial.name for trial in agenda.confirmed()] == ["Fixed λ", "linear", "trial-02"]


def test_a_search_by_loss_confirms_and_keeps_the_proposals_with_the_lowest_loss() -> None:
    losses = {"Fixed λ": 3.0, "linear": 3.0, "trial-01": 2.0, "trial-02": 1.0, "trial-03": 4.0}
    proposer = ListedProposer(power(2.0), power(3.0), power(4.0))
    agenda = Agenda(study(metric="valid.loss", keep_models=1), proposer, {})
    while run := agenda.next():
        agenda.end(ended(run, 10.0 if run.trial != "trial-03" else 99.0).model_copy(update={"valid_loss": losses[run.trial]}))
    assert [trial.name for trial in agenda.ranked()] == ["trial-02", "trial-01", "trial-03"]
    assert [trial.name for trial in agenda.confirmed()] == ["Fixed λ", "linear", "trial-02"]
    assert agenda.kept() == {"Fixed λ", "linear", "trial-02"}
    assert proposer.told == losses


LOOKING = {"top": 1, "seeds": [2, 3, 4, 5], "against": "linear", "looks": [2, 3, 4]}


def test_a_confirm_phase_ends_at_the_look_that_settles_the_answer() -> None:
    asked: list[tuple[int, ...]] = []

    def is_settled() -> bool:
        asked.append(agenda.seeds)
        return len(asked) == 2

    agenda = Agenda(study(trials=1, confirm=LOOKING), ListedProposer(power(2.0)), {}, is_settled=is_settled)
    assert agenda.planned == (0, 3 + 3 * 2)
    order = play(agenda)
    assert agenda.is_finished
    assert asked == [(2, 3), (2, 3, 4)]
    assert order[3:] == [
        *(f"{name}-seed{seed} confirm" for name in ("fixed-λ", "linear", "trial-01") for seed in (2, 3)),
        *(f"{name}-seed4 confirm" for name in ("fixed-λ", "linear", "trial-01")),
    ]
    assert agenda.planned == (12, 12)


def test_a_confirm_phase_that_is_never_settled_uses_all_its_seeds() -> None:
    agenda = Agenda(study(trials=1, confirm=LOOKING), ListedProposer(power(2.0)), {}, is_settled=lambda: False)
    assert len(play(agenda)) == 3 + 3 * 4
    assert agenda.seeds == (2, 3, 4, 5)


def test_a_look_waits_for_the_runs_in_progress() -> None:
    agenda = Agenda(study(trials=1, confirm=LOOKING), ListedProposer(power(2.0)), {}, is_settled=lambda: True)
    play(agenda, stop_after=8)
    last = agenda.next()
    assert last
    assert agenda.next() is None
    assert not agenda.is_finished
    agenda.end(ended(last))
    assert agenda.next() is None
    assert agenda.is_finished


def test_a_seed_used_in_both_phases_is_one_run_of_one_experiment() -> None:
    agenda = Agenda(study(), ListedProposer(), {})
    trial = agenda.trials["linear"]
    first, second = agenda.runs(trial).confirm
    assert agenda.runs(trial).full.experiment == first.experiment
    assert agenda.runs(trial).full.id == first.id
    assert (second.experiment.seed, second.id) == (2, "linear-seed2")


def test_baselines_are_confirmed_early_but_proposals_only_after_the_search_has_ended() -> None:
    agenda = Agenda(study(trials=1), ListedProposer(power(2.0)), {})
    for _ in range(2):
        run = agenda.next()
        assert run
        agenda.end(ended(run))
    proposal = agenda.next()
    assert proposal
    assert proposal.trial == "trial-01"
    confirms = [agenda.next() for _ in range(4)]
    assert [run.phase for run in confirms if run] == ["confirm"] * 4
    assert agenda.next() is None
    assert not agenda.is_finished
    agenda.end(ended(proposal))
    run = agenda.next()
    assert run
    assert (run.trial, run.phase) == ("trial-01", "confirm")


def test_the_confirm_phase_starts_its_longest_runs_first() -> None:
    agenda = Agenda(study(trials=1), ListedProposer(power(2.0)), {})
    for seconds in (50.0, 80.0, 60.0):
        run = agenda.next()
        assert run
        agenda.end(ended(run).model_copy(update={"seconds": seconds}))
    confirms = [run.id for _ in range(6) if (run := agenda.next())]
    assert confirms[:3] == ["linear-seed2", "trial-01-seed2", "fixed-λ-seed2"]
    # These were trained in the search phase and only need their test scores.
    assert sorted(confirms[3:]) == ["fixed-λ-seed1", "linear-seed1", "trial-01-seed1"]


def test_failed_trials_are_not_confirmed_and_failed_proposals_are_reported() -> None:
    proposer = ListedProposer(power(2.0), power(3.0))
    agenda = Agenda(study(trials=2), proposer, {})
    order = play(agenda, {"Fixed λ": None, "trial-01": None})
    assert [line for line in order if "confirm" in line] == [
        "linear-seed1 confirm",
        "linear-seed2 confirm",
        "trial-02-seed1 confirm",
        "trial-02-seed2 confirm",
    ]
    assert proposer.told == {"linear": 10.0, "trial-01": None, "trial-02": 10.0}


def test_a_trial_that_fails_in_the_confirm_phase_stays_among_the_confirmed() -> None:
    agenda = Agenda(study(trials=2), ListedProposer(power(2.0), power(3.0)), {})
    play(agenda, {"trial-01": 12.0}, stop_after=8)
    run = agenda.next()
    assert run
    assert run.id == "trial-01-seed1"
    agenda.end(Result(run=run.id, valid=12.0, failed="no memory"))
    assert [trial.name for trial in agenda.confirmed()][-1] == "trial-01"
    assert play(agenda) == ["trial-01-seed2 confirm"]


def test_proposals_that_are_duplicates_or_invalid_experiments_are_skipped() -> None:
    proposer = ListedProposer({"objective.schedule.kind": "linear"}, power(2.0), power(2.0), power(-1.0), power(3.0))
    agenda = Agenda(study(confirm=None), proposer, {})
    assert play(agenda)[2:] == ["trial-01-seed1 search", "trial-02-seed1 search"]
    assert list(proposer.made.values()) == [power(2.0), power(3.0)]
    assert agenda.is_finished


def test_a_resumed_study_keeps_ended_runs_and_hands_out_unfinished_runs_again() -> None:
    proposer = ListedProposer(power(2.0), power(3.0), power(4.0))
    first = Agenda(study(), proposer, {})
    play(first, stop_after=3)
    under_way = first.next()
    assert under_way
    assert under_way.id == "trial-02-seed1"
    # The kill came after the third result was written and before the proposer was told.
    del proposer.told["trial-01"]

    again = Agenda(study(), proposer, first.results)
    assert proposer.told["trial-01"] == 10.0
    resumed = again.next()
    assert resumed == under_way
    again.end(ended(under_way))
    assert play(again)[0] == "trial-03-seed1 search"


def test_a_resumed_confirm_phase_runs_only_the_runs_without_a_test_score() -> None:
    proposer = ListedProposer(power(2.0))
    first = Agenda(study(trials=1), proposer, {})
    play(first, stop_after=5)  # the last two: both seeds of the first baseline
    again = Agenda(study(trials=1), proposer, first.results)
    assert play(again) == [
        "linear-seed1 confirm",
        "linear-seed2 confirm",
        "trial-01-seed1 confirm",
        "trial-01-seed2 confirm",
    ]


def test_planned_counts_each_training_once() -> None:
    agenda = Agenda(study(), ListedProposer(power(2.0), power(3.0), power(4.0)), {})
    assert agenda.planned == (0, 8)  # 2 + 3 with the search's seed, 2 + 1 with the other
    play(agenda, stop_after=5)
    assert agenda.planned == (5, 8)
    scored, trained = agenda.next(), agenda.next()
    assert scored
    assert trained
    assert [scored.id, trained.id] == ["fixed-λ-seed1", "fixed-λ-seed2"]
    assert agenda.planned == (5, 8)  # a trained run stays one that has ended while it is scored
    for run in (scored, trained):
        agenda.end(ended(run, 10.0))
    play(agenda)
    assert agenda.planned == (8, 8)


def test_speed_is_measured_once_for_each_trial_when_nothing_else_runs() -> None:
    confirm = {"top": 1, "seeds": [2, 3], "against": "linear", "speed_sentences": 10}
    agenda = Agenda(study(confirm=confirm), ListedProposer(power(2.0), power(3.0), power(4.0)), {})
    order = play(agenda, {"trial-02": 12.0}, stop_after=5 + 3 * 2 - 1)
    assert not any(run.endswith("speed") for run in order)
    last = agenda.next()
    assert last
    assert agenda.next() is None  # it waits for the last run
    assert not agenda.is_finished
    agenda.end(ended(last, 10.0))
    measured = []
    while run := agenda.next():
        assert agenda.next() is None
        assert run.speed_sentences == 10
        measured.append(f"{run.id} {run.phase}")
        speed = Speed(sentences_per_second=9.0, latency=0.1, passes=4, layers=14)
        is_unlucky = run.trial == "linear"  # its speed could not be measured
        agenda.end(agenda.results[run.id].model_copy(update={"speed": None if is_unlucky else speed}))
    assert measured == ["fixed-λ-seed2 speed", "linear-seed2 speed", "trial-02-seed2 speed"]
    assert agenda.is_finished
    assert agenda.planned == (11, 11)


ANALYSIS = {"every": 5, "similarity": {"against": ["linear"]}, "probing": {}}


def test_encoders_are_analysed_when_all_runs_that_they_are_compared_with_have_ended() -> None:
    confirm = {"top": 1, "seeds": [2, 3], "against": "linear", "speed_sentences": 10}
    proposer = ListedProposer(power(2.0), power(3.0), power(4.0))
    agenda = Agenda(study(confirm=confirm, analysis=ANALYSIS), proposer, {})
    trained = 5 + 3 * 2
    for _ in range(trained - 1):
        run = agenda.next()
        assert run
        # Only runs that will be analysed keep their encoders.
        assert (run.phase, run.encoder_every) in [("search", 0), ("confirm", 5)]
        fails = run.id == "linear-seed3"
        agenda.end(Result(run=run.id, failed="it diverged") if fails else ended(run, {"trial-02": 12.0}.get(run.trial, 10.0)))
    last = agenda.next()
    assert last
    assert agenda.next() is None  # nothing is analysed before the last run has ended
    agenda.end(ended(last, 10.0))
    compared = {}
    runs = []
    while (run := agenda.next()) and run.phase == "analysis":
        assert run.analysis
        compared[run.id] = run.analysis.others
        runs.append(run)
    assert run is None  # the speed is measured alone
    # Runs of one seed are compared only if there is no other. The failed run is compared with nothing.
    assert compared == {
        "fixed-λ-seed2": {"linear": ("linear-seed2",), "Fixed λ": ("fixed-λ-seed3",)},
        "fixed-λ-seed3": {"linear": ("linear-seed2",), "Fixed λ": ("fixed-λ-seed2",)},
        "linear-seed2": {"linear": ()},
        "trial-02-seed2": {"linear": ("linear-seed2",), "trial-02": ("trial-02-seed3",)},
        "trial-02-seed3": {"linear": ("linear-seed2",), "trial-02": ("trial-02-seed2",)},
    }
    assert [run.id for run in runs if run.analysis and run.analysis.has_context] == ["fixed-λ-seed2"]
    for number, each in enumerate(runs):
        known = agenda.results[each.id]
        agenda.end(known.model_copy(update={"unmeasured": "no"} if number == 1 else {"is_analysed": True}))
    speed = agenda.next()
    assert speed
    assert speed.phase == "speed"
    assert agenda.planned == (trained, trained)
    again = Agenda(study(confirm=confirm, analysis=ANALYSIS), proposer, agenda.results)
    resumed = again.next()
    assert resumed
    assert (resumed.id, resumed.phase) == (runs[1].id, "analysis")  # a resumed study tries again


def test_a_run_that_serves_both_phases_keeps_its_encoders_from_the_beginning() -> None:
    confirm = {"top": 0, "seeds": [1, 2], "against": "linear"}
    agenda = Agenda(study(confirm=confirm, analysis=ANALYSIS, search={}, trials=0), ListedProposer(), {})
    assert [run.encoder_every for trial in agenda.trials.values() for run in agenda.runs(trial).all] == [5] * 6
    without = Agenda(study(confirm=confirm, search={}, trials=0), ListedProposer(), {})
    assert [run.encoder_every for trial in without.trials.values() for run in without.runs(trial).all] == [0] * 6


HORIZON = {"horizon": {"steps": [5, 10, 20], "keep": 0.5}}


def test_the_best_of_a_rung_train_from_scratch_in_the_next_rung() -> None:
    proposer = ListedProposer(power(0.5), power(2.0), power(3.0))
    agenda = Agenda(study(**HORIZON), proposer, {})
    scores = {"trial-01": 8.0, "trial-02": 12.0, "trial-03": 11.0}
    assert agenda.planned == (0, 2 + 3 + 2 + 1 + 3)
    assert play(agenda, scores)[2:] == [
        "trial-01-seed1-5steps search",
        "trial-02-seed1-5steps search",
        "trial-03-seed1-5steps search",
        "trial-02-seed1-10steps search",  # two of three: half, rounded up
        "trial-03-seed1-10steps search",
        "trial-02-seed1 search",
        "fixed-λ-seed1 confirm",
        "fixed-λ-seed2 confirm",
        "linear-seed1 confirm",
        "linear-seed2 confirm",
        "trial-02-seed1 confirm",
        "trial-02-seed2 confirm",
    ]
    assert proposer.told == scores  # of the one T at which all were trained; a baseline has no such score
    assert agenda.is_finished
    assert agenda.planned == (11, 11)
    last = {name: agenda.last_run(trial).rung for name, trial in agenda.trials.items()}
    assert last == {"Fixed λ": None, "linear": None, "trial-01": 5, "trial-02": None, "trial-03": 10}


def test_the_next_rung_starts_only_after_all_runs_of_a_rung_have_ended() -> None:
    agenda = Agenda(study(**HORIZON, baselines={}, confirm=None), ListedProposer(power(0.5), power(2.0)), {})
    first, second = agenda.next(), agenda.next()
    assert first
    assert second
    agenda.end(ended(first, 20.0))
    assert agenda.next() is None
    assert not agenda.is_finished
    agenda.end(ended(second, 30.0))
    third = agenda.next()
    assert third
    assert (third.trial, third.rung) == (second.trial, 10)


def test_a_rungs_schedule_and_warm_up_are_compressed() -> None:
    agenda = Agenda(study(**HORIZON, baselines={}, confirm=None), ListedProposer(power(2.0)), {})
    run = agenda.next()
    assert run
    training = run.experiment.training
    assert (training.steps, training.warmup_steps) == (5, 1)  # 5 of 20 steps are a quarter of 20 and of 5
    assert run.experiment.objective.schedule(2, training.steps) == (2 / 5) ** 2


def test_a_resumed_horizon_search_continues_with_the_same_runs() -> None:
    whole = Agenda(study(**HORIZON), ListedProposer(power(0.5), power(2.0), power(3.0)), {})
    scores = {"trial-01": 8.0, "trial-02": 12.0, "trial-03": 11.0}
    order = play(whole, scores)
    for stop in range(len(order)):
        proposer = ListedProposer(power(0.5), power(2.0), power(3.0))
        before = Agenda(study(**HORIZON), proposer, {})
        begun = play(before, scores, stop_after=stop)
        rest = play(Agenda(study(**HORIZON), proposer, before.results), scores)
        assert begun + rest == order


def test_a_pruned_proposal_is_reported_to_the_proposer_and_never_confirmed() -> None:
    proposer = ListedProposer(power(2.0), power(3.0), prunes_below=5.0)
    pruner = {"kind": "asha", "first_step": 5}
    agenda = Agenda(study(trials=2, pruner=pruner, baselines={"linear": {}}), proposer, {})
    baseline, first, second = agenda.next(), agenda.next(), agenda.next()
    assert baseline
    assert first
    assert second
    assert not agenda.report(baseline, 10, {"valid/bleu": 1.0})  # a baseline is never pruned
    assert not agenda.report(first, 10, {"train/loss": 1.0})
    assert agenda.report(first, 10, {"valid/bleu": 1.0})
    agenda.end(Result(run=first.id, valid=1.0, pruned=10))
    agenda.end(ended(second, 0.5))
    agenda.end(ended(baseline, 9.0))
    assert (proposer.told["trial-01"], proposer.pruned) == (1.0, ["trial-01"])
    assert [trial.name for trial in agenda.confirmed()] == ["linear", "trial-02"]
    assert not any("trial-01" in run for run in play(agenda))


def test_a_run_that_is_put_back_is_handed_out_next() -> None:
    agenda = Agenda(study(), ListedProposer(power(2.0)), {})
    first, second = agenda.next(), agenda.next()
    assert first
    assert second
    agenda.put_back(first)
    assert not agenda.is_finished
    assert agenda.next() == first
    assert set(agenda.handed_out) == {first.id, second.id}


def test_the_budget_ends_the_search_but_not_the_confirm_phase() -> None:
    spent: list[bool] = []
    agenda = Agenda(study(), ListedProposer(power(0.5), power(2.0), power(3.0)), {}, is_spent=lambda: bool(spent))
    play(agenda, stop_after=3)
    spent.append(True)
    assert [run.rpartition(" ")[2] for run in play(agenda)] == ["confirm"] * 6
    hours = study(budget={"gpu_hours": 1.0})
    agenda = Agenda(hours, ListedProposer(power(0.5), power(2.0), power(3.0)), {})
    for _ in range(2):
        run = agenda.next()
        assert run
        agenda.end(ended(run).model_copy(update={"gpu_seconds": 1800.0}))
    assert agenda.planned[0] == 2
    assert not any("trial" in run for run in play(agenda))


def test_an_inherited_trial_is_confirmed_and_not_proposed_again() -> None:
    proposer = ListedProposer(power(2.0), power(3.0), power(4.0))
    results = {"other-trial-01-seed1": Result(run="other-trial-01-seed1", valid=15.0)}
    agenda = Agenda(study(trials=2), proposer, results, inherited={"other/trial-01": power(2.0)})
    order = play(agenda)
    assert proposer.told["other/trial-01"] == 15.0
    assert [run for run in order if run.startswith("other")] == [
        "other-trial-01-seed1 confirm",
        "other-trial-01-seed2 confirm",
    ]
    assert list(proposer.made.values()) == [power(3.0), power(4.0)]  # what is known is not proposed again


def test_trials_on_the_front_of_several_metrics_rank_first() -> None:
    metrics = [{"valid.bleu": "max"}, {"decode.seconds": "min"}]
    agenda = Agenda(study(metrics=metrics), ListedProposer(power(0.5), power(2.0), power(3.0)), {})
    figures = {"trial-01": (20.0, 5.0), "trial-02": (19.0, 6.0), "trial-03": (12.0, 1.0)}
    while (run := agenda.next()) and run.phase == "search":
        bleu, seconds = figures.get(run.trial, (10.0, 9.0))
        agenda.end(ended(run, bleu).model_copy(update={"decode_seconds": seconds}))
    assert [trial.name for trial in agenda.ranked()] == ["trial-01", "trial-03", "trial-02"]  # the last is dominated


def test_trials_with_equal_scores_rank_in_the_order_of_proposal_even_after_a_resume() -> None:
    proposer = ListedProposer(power(0.5), power(2.0), power(3.0), power(4.0))
    agenda = Agenda(study(trials=4), proposer, {})
    runs: list[Run] = []
    while (run := agenda.next()) and run.phase == "search":
        runs.append(run)
    figures = {"trial-01": 12.0, "trial-02": 15.0, "trial-03": 12.0, "trial-04": 12.0}
    for run in reversed(runs):
        agenda.end(ended(run, figures.get(run.trial)))
    names = ["trial-02", "trial-01", "trial-03", "trial-04"]
    assert [trial.name for trial in agenda.ranked()] == names
    resumed = Agenda(study(trials=4), proposer, agenda.results)
    assert [trial.name for trial in resumed.ranked()] == names
