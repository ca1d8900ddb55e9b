"""Results of an analysis as flat tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.study import StudyAnalysis


def correlation_table(analysis: StudyAnalysis) -> pa.Table:
    """One row per configuration: n, slope and R² with intervals, p and its corrections, leave-one-out range."""
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                "configuration": result.label,
                "n": result.correlation.n,
                "slope": result.correlation.slope,
                "slope_low": result.slope_bounds[0],
                "slope_high": result.slope_bounds[1],
                "change_over_range": result.gain[0],
                "r_squared": result.correlation.r_squared,
                "r_squared_low": result.r_squared_bounds[0],
                "r_squared_high": result.r_squared_bounds[1],
                "r_squared_adjusted": result.correlation.r_squared_adjusted,
                "p": result.p,
                "p_holm": result.p_holm,
                "p_benjamini_hochberg": result.p_benjamini_hochberg,
                "leave_one_out_low": result.correlation.leave_one_out_low,
                "leave_one_out_high": result.correlation.leave_one_out_high,
                "n_for_80_percent_power": result.n_required,
            }
            for result in analysis.configurations
        ]
    )
