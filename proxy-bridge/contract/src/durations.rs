//! The durations of requests: the buckets that they are counted in, and what the counts say.

/// The upper bounds of the buckets, in microseconds; one more bucket has everything above. From a
/// file that is in memory to the default limit of a request.
pub const BOUNDS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The number of buckets.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Returns the bucket of a duration.
pub fn bucket(micros: u64) -> usize {
    // Most requests are quick, so most searches are short.
    BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_US.len())
}

/// Returns the duration that the share `quantile` of all requests does not exceed, in milliseconds:
/// interpolated in its bucket, so it can be wrong by as much as a bucket is wide. `None`: nothing was
/// counted.
pub fn quantile_ms(counts: &[u64], quantile: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let rank = quantile * all as f64;
    let mut below = 0;
    for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        if (below + count) as f64 >= rank {
            let bound = |bucket: usize| BOUNDS_US.get(bucket).map(|bound| *bound as f64 / 1e3);
            let from = bucket.checked_sub(1).and_then(bound).unwrap_or(0.0);
            // Nothing is known of those above the last bound, except that they are.
            let to = bound(bucket).unwrap_or(from);
            return Some(from + (to - from) * ((rank - below as f64) / *count as f64).clamp(0.0, 1.0));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        assert_eq!([0, 100, 101, 60_000_000, u64::MAX].map(bucket), [0, 0, 1, BUCKETS - 2, BUCKETS - 1]);
    }

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantile_ms(&counts, 0.5), None);
        counts[bucket(400)] = 10;
        assert_eq!(quantile_ms(&counts, 0.5), Some(0.375));
        counts[bucket(2_000)] = 10;
        assert_eq!(quantile_ms(&counts, 0.5), Some(0.5));
        assert_eq!(quantile_ms(&counts, 1.0), Some(2.5));
        counts[BUCKETS - 1] = 1_000;
        assert_eq!(quantile_ms(&counts, 0.99), Some(60_000.0));
    }
}
