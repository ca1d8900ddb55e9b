"""Which attempts of a run count, in SQL: a run that went on from a checkpoint consists of a chain of them."""

from __future__ import annotations


def chain_of_attempts(resumes: str) -> str:
    """Common table expressions for a ``with recursive``, see docs/format.md, "Rows that need a rule".

    Args:
        resumes: The table, or view, with the rows of ``resumes``.

    Returns:
        ``attempt`` (those that have a row), ``known`` (these and the first one, -1), ``parent`` (of each attempt), and
        ``chain``: the attempts that a run consists of, the newest first, with ``until``, ``step`` and ``child`` of the
        one that went on from it.
    """
    return f"""
    attempt as (select run_id, segment as first, from_segment, until, step from {resumes}),
    known as (select run_id, first from attempt union select run_id, -1 from attempt),
    parent as (
        select attempt.run_id, attempt.first, until, step, max(known.first) as before
        from attempt join known on known.run_id = attempt.run_id and known.first <= from_segment
        group by all),
    chain as (
        select run_id, max(first) as first, null::timestamptz as until, null::bigint as step, null::bigint as child
        from attempt group by run_id
        union all
        select parent.run_id, before, parent.until, parent.step, parent.first
        from chain join parent on parent.run_id = chain.run_id and parent.first = chain.first)"""
