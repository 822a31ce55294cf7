//! What has come since it was last told: of a count, and of a histogram.

use histogram::Histogram;

/// What came since `published`, which becomes `now`. A count that is lower has begun anew: the
/// kernel's drops wrap.
pub(super) fn growth(published: &mut u64, now: u64) -> u64 {
    let before = std::mem::replace(published, now);
    now.checked_sub(before).unwrap_or(now)
}

/// Records what came since the last time, each value as the end of its bucket.
pub(super) fn more(now: Histogram, published: &mut Histogram, into: &metrics::Histogram) {
    for (bucket, before) in now.iter().zip(published.iter()) {
        let new = bucket.count().saturating_sub(before.count());
        if new > 0 {
            #[expect(clippy::cast_precision_loss, reason = "microseconds below 2^42")]
            into.record_many(bucket.end() as f64 / 1e6, usize::try_from(new).unwrap_or(usize::MAX));
        }
    }
    *published = now;
}
