//! The knee of a size-quality curve: where more bytes stop paying.

/// A curve that rises above its chord by less than this is taken as straight: it has no knee.
const STRAIGHT: f64 = 1e-9;

/// The knee of a curve of `(size, quality)`, in order of size: the index of the point that lies
/// furthest above the chord.
///
/// Kneedle (Satopää, Albrecht, Irwin, Raghavan: Finding a "Kneedle" in a Haystack, ICDCSW 2011, section
/// III), for a curve that is measured at few points and thus needs no smoothing: both axes are
/// scaled to 0 to 1, and the knee is where the difference to the straight line between the ends is
/// largest. Size is taken by its logarithm, since what counts of a file is how many times smaller
/// it is. The knee depends on the ends of the curve, as the chord does.
///
/// `None` where there is none: fewer than three points, sizes or qualities that do not rise from
/// the first point to the last, values that are not finite, or a curve that nowhere rises above its chord.
pub fn knee(curve: &[(f64, f64)]) -> Option<usize> {
    let points: Vec<(f64, f64)> = curve.iter().map(|&(size, y)| (size.ln(), y)).collect();
    let (&(x0, y0), &(x1, y1)) = (points.first()?, points.last()?);
    let finite = points.iter().all(|(x, y)| x.is_finite() && y.is_finite());
    if !finite || x1 <= x0 || y1 <= y0 {
        return None;
    }
    let above = |&(x, y): &(f64, f64)| (y - y0) / (y1 - y0) - (x - x0) / (x1 - x0);
    let mut best = (STRAIGHT, None);
    for (i, point) in points.iter().enumerate() {
        if above(point) > best.0 {
            best = (above(point), Some(i));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::knee;

    /// Sizes that double.
    fn doubling(qualities: &[f64]) -> Vec<(f64, f64)> {
        let sizes = (0..).map(|i| f64::from(1 << i));
        sizes.zip(qualities.iter().copied()).collect()
    }

    #[test]
    fn the_knee_is_where_the_curve_flattens() {
        assert_eq!(knee(&doubling(&[10.0, 60.0, 88.0, 90.0, 91.0])), Some(2));
        assert_eq!(knee(&doubling(&[0.0, 9.0, 9.5, 9.8, 10.0])), Some(1));
    }

    #[test]
    fn size_counts_by_its_logarithm() {
        // On a linear axis, size 16 would lie further above the chord than size 4.
        let curve = [(1.0, 0.0), (4.0, 50.0), (16.0, 75.0), (64.0, 100.0)];
        assert_eq!(knee(&curve), Some(1));
    }

    #[test]
    fn the_knee_does_not_depend_on_units() {
        let curve = doubling(&[10.0, 60.0, 88.0, 90.0, 91.0]);
        let scaled: Vec<_> = curve.iter().map(|(x, y)| (x * 1e6, y / 100.0)).collect();
        assert_eq!(knee(&curve), knee(&scaled));
    }

    #[test]
    fn a_quality_above_that_of_the_largest_counts() {
        assert_eq!(knee(&doubling(&[10.0, 92.0, 91.0, 90.0])), Some(1));
    }

    #[test]
    fn a_curve_without_a_knee_has_none() {
        for qualities in [
            &[][..],
            &[1.0],
            &[1.0, 2.0],
            &[1.0, 1.0, 1.0],
            &[3.0, 2.0, 1.0],
            &[1.0, 2.0, 3.0],
            &[0.0, 1.0, 10.0],
            &[0.0, f64::NAN, 10.0],
        ] {
            assert_eq!(knee(&doubling(qualities)), None, "{qualities:?}");
        }
        assert_eq!(knee(&[(5.0, 1.0), (5.0, 2.0), (5.0, 3.0)]), None);
        assert_eq!(knee(&[(0.0, 1.0), (5.0, 2.0), (6.0, 3.0)]), None);
    }
}
