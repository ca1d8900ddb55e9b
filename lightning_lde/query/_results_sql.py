"""The SQL behind tables of past results: what runs reached, and with which settings."""

from __future__ import annotations

from lightning_lde.errors import ConfigurationError
from lightning_lde.query._ranking import OF_RUN, json_pointer
from lightning_lde.schema import RunStatus

OF_TASKS = {"episodes.accuracy": "accuracy", "episodes.loss": "loss"}
"""Metrics that are means over evaluated tasks, and their columns."""

FLAGS = ("accumulate_grad_batches", "gradient_clip_val", "max_epochs", "max_steps", "precision")
"""Flags of the Trainer that change what is learned."""

_NO_CHOICE = (
    r"(^|[._])(seeds?|seed_everything|random_state|num_workers|verbose|paths?|dirs?|folder|files?|root|uri|url)$"
)
"""Keys that say where something lies, or that only tell repetitions apart."""

_FINISHED = f"""
    select run_id, seed, started_at, dataset_config_id, pipeline_config_id as config_id, project, summary
    from runs where status = '{RunStatus.FINISHED}' and pipeline_config_id is not null
                    and ($1::varchar is null or project = $1)"""

# The same content under two ids is one data set: two ways to load it, or two names for it.
CONTENT = """
    select dataset_id, arg_max(name, recorded_at) over (partition by content) as name, content
    from (select *, coalesce(fingerprint_method || ':' || fingerprint, dataset_id) as content from datasets)"""


def cells_sql(metric: str, of_run: str, *, aggregate: bool) -> str:
    """What each configuration reached on each data set, over its finished runs.

    Parameters are the project and keys that are no settings. A value that is no finite number counts as the worst of
    its data set, so the statement says with ``$2`` whether more is better.
    """
    source = _of_tasks(OF_TASKS[metric]) if metric in OF_TASKS else _of_runs(metric, of_run)
    cell = "content, config_id, module_class, batch_size, method, inner_steps, ways, shots"
    return f"""
        with finished as ({_FINISHED}), content as ({CONTENT}), result as ({source}),
        finite as (
            select * replace (case when isfinite(value) then value when $2 then lowest else highest end as value),
                   not isfinite(value) as lost
            from (select *, min(value) filter (isfinite(value)) over same as lowest,
                         max(value) filter (isfinite(value)) over same as highest
                  from result window same as (partition by content, ways, shots)))
        select any_value(name) as name, {cell}, avg(value) as mean, stddev_samp(value) as sd, count(*) as n,
               list(run_id order by value, run_id) as runs, count(*) filter (lost) as n_lost
        from finite left join (
            select pipeline_config_id as config_id, module_class
            from pipeline_configs join pipelines using (pipeline_id)
        ) using (config_id)
        where value is not null
        group by {cell} {"" if aggregate else ", run_id"} order by {cell}"""


def _of_runs(metric: str, of_run: str) -> str:
    if of_run not in OF_RUN:
        raise ConfigurationError(f"of_run={of_run!r}: expected one of {', '.join(OF_RUN)}")
    pointer = json_pointer(metric, of_run).replace("'", "''")
    return f"""
        select run_id, config_id, content, name, batch_size, null as method, null as inner_steps, null as ways,
               null as shots, value
        from (select *, json_extract_string(summary, '{pointer}')::double as value from finished)
        join dataset_configs using (dataset_config_id) join content using (dataset_id)
        where value is not null"""


def _of_tasks(column: str) -> str:
    return f"""
        select run_id, config_id, content, name, null as batch_size, method, inner_steps, ways, shots,
               avg({column}) as value
        from episodes join finished using (run_id) join content using (dataset_id) group by all"""


def settings_sql() -> str:
    """Settings that were chosen: those that differ between runs of one module on one data set.

    What never does so is a fact of the data (a number of classes) or of the module, and no choice. ``$1`` is the
    project, ``$2`` are keys to leave out.
    """
    return f"""
        with finished as ({_FINISHED}), content as ({CONTENT}),
        used as (
            select distinct config_id, content from finished
            join dataset_configs using (dataset_config_id) join content using (dataset_id)),
        config as (
            select pipeline_config_id as config_id, module_class, hparams, trainer, optimizers
            from (select * from pipeline_configs where pipeline_config_id in (select config_id from used))
            join pipelines using (pipeline_id)),
        place as (
            select config_id, content, coalesce(module_class, '') as module_class
            from used left join config using (config_id)),
        setting as (
            select config_id, key, value_text, type from params
            union all
            select config_id, 'trainer.' || flag, json_extract_string(trainer, '/' || flag), 'json'
            from config, (select unnest({list(FLAGS)!r}) as flag)
            union all
            select config_id, 'optimizer.class', json_extract_string(optimizers, '/0/class'), 'str' from config
            union all
            select config_id, 'optimizer.' || name,
                   json_extract_string(optimizers, '/0/param_groups/0/' || name), 'json'
            from config, (select unnest(['lr', 'weight_decay']) as name) where hparams = '{{}}'),
        kept as (
            select * from setting
            where value_text is not null and not regexp_matches(key, '{_NO_CHOICE}')
                  and key not in (select unnest($2::varchar[]))),
        size as (select content, module_class, count(*) as n from place group by all),
        choice as (
            select distinct key from (
                select key, content, module_class, count(*) as n_set, count(distinct value_text) as n_values
                from kept join place using (config_id) group by all)
            join size using (content, module_class) where n_values > 1 or n_set < n)
        select config_id, key, value_text, type from kept semi join choice using (key)
        where config_id in (select config_id from used)"""
