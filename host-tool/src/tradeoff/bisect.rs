//! A search for the smallest size that is good enough.

/// Sizes closer than this ratio count as the same.
const RESOLUTION: f64 = 1.02;
/// Most sizes that are tried. Ten halve the logarithm of a range of 1 to 10^8 down to 2 %.
const TRIALS: usize = 12;

/// Narrows `low..high` by its geometric mean down to 2 %, and returns the last size that was good
/// enough with what `attempt` made of it: `best`, of `high` bytes, if no smaller one was.
///
/// `attempt` gets a limit. It returns the true size, at most that limit, and what it made if that is good
/// enough, or `None`. Quality need not rise evenly with size: the result was always tried, and was
/// good enough; a smaller one below a size that failed may be missed.
///
/// # Errors
/// The first error of `attempt`.
pub fn bisect<T, E>(
    mut low: u64,
    (mut high, mut best): (u64, T),
    mut attempt: impl FnMut(u64) -> Result<Option<(u64, T)>, E>,
) -> Result<(u64, T), E> {
    for _ in 0..TRIALS {
        let limit = middle(low, high);
        if high as f64 <= low as f64 * RESOLUTION || limit >= high {
            break;
        }
        match attempt(limit)? {
            Some((size, value)) => (high, best) = (size.min(limit), value),
            None => low = limit,
        }
    }
    Ok((high, best))
}

/// The geometric mean, rounded; sizes halve in as many steps wherever the range is.
fn middle(low: u64, high: u64) -> u64 {
    (low.max(1) as f64 * high as f64).sqrt().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Searches `low..high` where all sizes of `least` or more are good enough; returns the result
    /// and the limits that were tried.
    fn search(low: u64, high: u64, least: u64) -> (u64, Vec<u64>) {
        let mut tried = Vec::new();
        let Ok::<_, Infallible>((size, ())) = bisect(low, (high, ()), |limit| {
            tried.push(limit);
            Ok((limit >= least).then_some((limit, ())))
        });
        (size, tried)
    }

    #[test]
    fn the_least_size_is_found_to_two_per_cent() {
        for least in [1_000, 1_001, 5_000, 77_777, 999_000, 25_000_000] {
            let (size, tried) = search(1_000, 25_000_000, least);
            assert!(size >= least, "{size} for {least}");
            assert!(size as f64 <= least as f64 * 1.021, "{size} for {least}");
            assert!(tried.len() <= TRIALS, "{tried:?}");
        }
    }

    #[test]
    fn the_start_is_returned_where_nothing_smaller_serves() {
        assert_eq!(search(1_000, 50_000, 50_000).0, 50_000);
        assert_eq!(search(50_000, 50_000, 0), (50_000, vec![]));
        assert_eq!(search(60_000, 50_000, 0), (50_000, vec![]));
        assert_eq!(search(0, 0, 0), (0, vec![]));
    }

    #[test]
    fn a_file_smaller_than_its_limit_narrows_the_search_further() {
        let mut tried = Vec::new();
        let found: Result<_, Infallible> = bisect(1_000, (100_000, 0), |limit| {
            tried.push(limit);
            Ok((limit >= 9_000).then_some((9_000, 1)))
        });
        assert_eq!(found, Ok((9_000, 1)));
        assert_eq!(tried[..2], [10_000, 3_000]);
    }

    #[test]
    fn an_error_ends_the_search() {
        let failed = bisect(1, (100, ()), |_| Err::<Option<(u64, ())>, _>("broken"));
        assert_eq!(failed, Err("broken"));
    }
}
