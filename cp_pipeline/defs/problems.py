"""The sensor ``problems``: it keeps ``centrepoint_answers`` current, and sends one alert.

Belongs here: what is a problem, and which ones were told. Does not belong: sending (``alerts``),
the causes.

It asks CentrePoint nothing. An alert has all problems that are new, together. A problem that has
gone and comes back is new again. Nothing is sent unless CP_NOTIFY_WEBHOOK is set.
"""

import json
from collections.abc import Iterator, Mapping

import dagster as dg

from cp_pipeline.alerts import EMAIL, WEBHOOK, AlertNotDelivered, Problem, channels, new_problems
from cp_pipeline.centrepoint import redact
from cp_pipeline.defs.answer_check import CENTREPOINT_ANSWERS, TROUBLES, evaluate_answers
from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.events import EXPORT_FILES
from cp_pipeline.defs.load_outcome import reason_of_step
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import ExportKey, Version
from cp_pipeline.domain.texts import count
from cp_pipeline.settings.notifications import NotifySettings
from cp_pipeline.warehouse import FailedAttempts, failed_attempts

_WAREHOUSE_SECONDS = 5.0
_JOBS = ("sync", "load_partitions", "load_assets", "publish", "compact")
_ANSWERS = dg.AssetCheckKey(EXPORT_FILES, CENTREPOINT_ANSWERS)
_SENSORS = ("new_program_executions", "publish_after_loads", "email_on_failed_run")
# The assets with a freshness policy.
_KEPT_FRESH = (EXPORT_FILES, dg.AssetKey("published"))
_FAILED, _STALE = "FAILURE", "FAIL"
# By channel, the keys of the problems that people know of.
Told = Mapping[str, frozenset[str]]


def telling_definitions(seconds: int) -> dg.Definitions:
    """Return the sensor ``problems``, and Dagster's own for e-mail if CP_NOTIFY_EMAIL_TO is set.

    Raises:
        SettingsError: a ``CP_NOTIFY_`` variable is invalid.
    """
    settings = NotifySettings.from_environment()
    sensors = [problems_sensor(seconds)]
    if settings.email_to:
        sensors.append(
            dg.make_email_on_run_failure_sensor(
                name="email_on_failed_run",
                email_from=settings.email_from,
                email_password=settings.smtp_password,
                email_to=settings.email_to,
                email_subject_fn=_subject,
                email_body_fn=_body,
                smtp_host=settings.smtp_host,
                smtp_port=settings.smtp_port,
                smtp_type=settings.smtp_type,
                smtp_user=settings.smtp_user,
                webserver_base_url=settings.ui_url,
                default_status=dg.DefaultSensorStatus.RUNNING,
            )
        )
    return dg.Definitions(sensors=sensors)


def _subject(context: dg.RunFailureSensorContext) -> str:
    return f"cp-pipeline: the run of {context.dagster_run.job_name} failed"


def _body(context: dg.RunFailureSensorContext) -> str:
    """Say what failed, with the run's own reason: it names each partition and file."""
    reasons = [reason_of_step(event) for event in context.get_step_failure_events()]
    text = "\n".join(filter(None, reasons)) or context.failure_event.message or "no reason is known"
    return redact(text).replace("\n", "<br>\n")


def problems_sensor(seconds: int) -> dg.SensorDefinition:
    """Return the sensor, which ticks every ``seconds``."""

    @dg.sensor(
        name="problems",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags=TAGS,
        description=(
            "Keeps the check `centrepoint_answers` of `export_files` current, and tells people "
            "once of each new problem: CentrePoint does not answer, a partition failed, a check is "
            "red, a sensor fails, an asset is stale. Sends to CP_NOTIFY_WEBHOOK and to "
            "CP_NOTIFY_EMAIL_TO, if they are set."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.SkipReason:
        # All checks of the code location, those of the models too.
        repository = context.repository_def
        checks = list(repository.asset_graph.asset_check_keys) if repository else []
        words, told = watch(context.instance, source, checks, _told(context.cursor))
        context.update_cursor(json.dumps({name: sorted(keys) for name, keys in told.items()}))
        return dg.SkipReason(words)

    return sensor


def watch(
    instance: dg.DagsterInstance,
    source: PipelineResource,
    checks: list[dg.AssetCheckKey],
    told: Told,
) -> tuple[str, Told]:
    """Find problems, and send one alert of the new ones; return words, and what is told now.

    Red results of ``checks`` are problems. ``told``: what the last tick returned.
    """
    try:
        settings = NotifySettings.from_environment()
    except PipelineError as error:
        return str(error), told
    answers = evaluate_answers(source, settings)
    _store_if_different(instance, answers)
    try:
        found = list(_problems(instance, source, checks, settings))
    except PipelineError as error:
        return str(error), told
    now = frozenset(each.key for each in found)
    new = new_problems(found, frozenset[str]().union(*told.values()))
    words = [count(len(found), "problem") + (f", {len(new):,} of them new" if new else "")]
    # A channel that is not set has told everything: setting it does not repeat old problems.
    after = dict.fromkeys((WEBHOOK, EMAIL), now)
    for channel, send in channels(settings).items():
        before = told.get(channel, frozenset())
        unknown = new_problems(found, before, channel)
        if not unknown:
            continue
        try:
            send(unknown)
        except AlertNotDelivered as error:
            words.append(str(error))
            after[channel] = before & now
        else:
            words.append(f"told by {channel}")
    return "; ".join(words), after


def _told(cursor: str | None) -> Told:
    try:
        said = json.loads(cursor or "{}")
        # A list: up to 0.1.0 there was one channel.
        by_channel = said if isinstance(said, dict) else {WEBHOOK: said, EMAIL: said}
        return {str(name): frozenset(keys) for name, keys in by_channel.items()}
    except (ValueError, TypeError):
        return {}


def _store_if_different(instance: dg.DagsterInstance, found: dg.AssetCheckEvaluation) -> None:
    """Store the check's result, unless the newest one says the same: a tick is no event."""
    newest = _newest(instance, [_ANSWERS]).get(_ANSWERS)
    if newest is None or (newest.passed, newest.description) != (found.passed, found.description):
        instance.report_runless_asset_event(found)


def _newest(
    instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """Return the newest result of each check that was ever executed."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    results = {}
    for key, record in records.items():
        event = record.event.dagster_event if record.event else None
        if event is not None and isinstance(event.event_specific_data, dg.AssetCheckEvaluation):
            results[key] = event.event_specific_data
    return results


def _problems(
    instance: dg.DagsterInstance,
    source: PipelineResource,
    checks: list[dg.AssetCheckKey],
    settings: NotifySettings,
) -> Iterator[Problem]:
    yield from _of_checks(instance, checks, settings.ui_url)
    yield from _of_sensors(instance, settings.ui_url)
    yield from _of_freshness(instance, settings.ui_url)
    pipeline = source.open()
    pipeline.wait_at_most(_WAREHOUSE_SECONDS)
    yield from _of_runs(instance, failed_attempts(pipeline.questions), settings.ui_url)


def _of_checks(
    instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey], ui_url: str
) -> Iterator[Problem]:
    results = _newest(instance, [_ANSWERS, *checks])
    for key, result in sorted(results.items(), key=lambda each: each[0].to_user_string()):
        if not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
            asset = "/".join(key.asset_key.path)
            yield Problem(
                f"check {key.to_user_string()}",
                f"Check {key.name} of {asset} is red: {result.description or 'see its page'}",
                f"{ui_url}/assets/{asset}?view=checks",
            )


def _of_sensors(instance: dg.DagsterInstance, ui_url: str) -> Iterator[Problem]:
    """Yield the sensors whose last three ticks failed, with the last error.

    A tick that cannot ask CentrePoint is skipped and has not failed: that is
    ``centrepoint_answers``. Stopped sensors are left out.
    """
    for state in instance.all_instigator_state():
        name = state.name
        if name not in _SENSORS or not state.is_running:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TROUBLES)
        if len(ticks) == TROUBLES and all(each.status.value == _FAILED for each in ticks):
            error = ticks[0].error
            # With the cause: Dagster wraps the error of our code in one of its own.
            while error is not None and error.cause is not None:
                error = error.cause
            words = error.message.strip() if error is not None else ""
            yield Problem(
                f"sensor {name}",
                f"The sensor {name} failed {TROUBLES} times in a row: {words}",
                f"{ui_url}/locations/cp_pipeline.definitions/sensors/{name}",
            )


def _of_freshness(instance: dg.DagsterInstance, ui_url: str) -> Iterator[Problem]:
    """Yield the assets that are stale by their freshness policy, as Dagster's daemon judges."""
    for key, record in instance.get_freshness_state_records(_KEPT_FRESH).items():
        if record.freshness_state.value == _STALE:
            asset = "/".join(key.path)
            yield Problem(
                f"stale {asset}",
                f"The asset {asset} is stale (by its freshness policy, since "
                f"{record.updated_at:%F %R} UTC): see its sensor.",
                f"{ui_url}/assets/{asset}",
            )


def _of_runs(
    instance: dg.DagsterInstance,
    failures: Mapping[tuple[ExportKey, Version], FailedAttempts],
    ui_url: str,
) -> Iterator[Problem]:
    for (key, version), failed in sorted(failures.items(), key=_place):
        run = instance.get_run_by_id(failed.run_id) if failed.run_id else None
        yield Problem(
            f"failed {key.study_id} {key.subject_id} {key.dataset_name} "
            f"{key.study_program_id} {version.file_name}",
            f"Study {key.study_id}, subject {key.subject_id}, data set "
            f"{key.dataset_name}, file {version.file_name}: {failed.error}",
            f"{ui_url}/runs/{failed.run_id}" if failed.run_id else "",
            by_run=_has_location(run),
        )
    runs_named = {failed.run_id for failed in failures.values()}
    for job in _JOBS:
        for run in instance.get_runs(dg.RunsFilter(job_name=job), limit=1):
            if run.status is dg.DagsterRunStatus.FAILURE and run.run_id not in runs_named:
                yield Problem(
                    f"run {run.run_id}",
                    f"The newest run of the job {job} failed.",
                    f"{ui_url}/runs/{run.run_id}",
                    by_run=_has_location(run),
                )


def _place(failure: tuple[tuple[ExportKey, Version], FailedAttempts]) -> tuple[int, int, str, str]:
    (key, _), _ = failure
    return key.study_id, key.subject_id, key.dataset_name, key.study_program_id


def _has_location(run: dg.DagsterRun | None) -> bool:
    """Whether Dagster's own sensor sees the run fail: it does not see the runs of commands."""
    return run is not None and run.remote_job_origin is not None
