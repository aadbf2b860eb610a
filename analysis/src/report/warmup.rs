//! Whether the warm-up that was cut is long enough, by MSER-5.

use shardpay_run::{WarmUpCut, WarmupRule};

use crate::runs::Run;

/// What was cut and by which rule; of a fixed cut, what MSER-5 would have cut.
pub(super) fn told(run: &Run) -> anyhow::Result<String> {
    let cut = run.summary.warmup;
    let spec = run.spec();
    if cut.rule == WarmupRule::Mser5 {
        return Ok(format!("{} s were cut by MSER-5", cut.cut_s));
    }
    let mut by_mser = spec.clone();
    (by_mser.warmup, by_mser.warmup_s) = (WarmupRule::Mser5, 0.0);
    let found = WarmUpCut::of(&by_mser, &run.latencies()?);
    Ok(if spec.duration_s < WarmupRule::MSER5_SECONDS_MIN {
        format!("{} s were cut; MSER-5 needs a load of {} s", cut.cut_s, WarmupRule::MSER5_SECONDS_MIN)
    } else if !found.steady {
        format!("{} s were cut; MSER-5 finds no steady part", cut.cut_s)
    } else if found.cut_s > cut.cut_s {
        format!("{} s were cut, too few: MSER-5 would cut {} s", cut.cut_s, found.cut_s)
    } else {
        format!("{} s were cut, MSER-5 would cut {} s", cut.cut_s, found.cut_s)
    })
}
