//! A straight line through points, and whether they lie on it.
//!
//! Points lie decades apart, so the line is the one with the least *relative* squares: with plain ones the last point alone
//! would decide.

use serde::{Deserialize, Serialize};

/// How a curve goes; a better shape is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// It does not grow.
    Flat,
    /// It grows by the same for each.
    Linear,
    /// It does neither.
    Bends,
}

/// A line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// Where it begins, in nanoseconds.
    pub(crate) intercept: f64,
    /// Nanoseconds for each.
    pub(crate) slope: f64,
    /// The power by which the points grow at their end, from a quarter of the way on.
    pub(crate) exponent: f64,
    pub(crate) shape: Shape,
}

/// The power up to which a curve that bends a little may be explained: caches make less, a loop in a loop makes a square.
pub(crate) const SLIGHT: f64 = 1.7;

/// What points may differ by and count as the same: caches and a busy machine make as much.
const TOLERANCE: f64 = 0.30;

impl Fit {
    /// Through these; of fewer than two points nothing is known, and they count as flat.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in points {
            let weight = 1.0 / (y * y);
            w += weight;
            wx += weight * x;
            wy += weight * y;
            wxx += weight * x * x;
            wxy += weight * x * y;
        }
        let determinant = w * wxx - wx * wx;
        let (slope, intercept) = if points.len() < 2 || determinant <= 0.0 {
            (0.0, wy / w)
        } else {
            let slope = (w * wxy - wx * wy) / determinant;
            (slope, (wy - slope * wx) / w)
        };
        let off = |(x, y): &(f64, f64)| ((intercept + slope * x) / y - 1.0).abs();
        let worst = points.iter().map(off).fold(0.0, f64::max);
        let least = points.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min);
        let most = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
        let shape = if most <= least * (1.0 + 2.0 * TOLERANCE) {
            Shape::Flat
        } else if worst <= TOLERANCE {
            Shape::Linear
        } else {
            Shape::Bends
        };
        let exponent = match points {
            [before @ .., (x2, y2)] => before
                .iter()
                .rev()
                .find(|(x1, _)| *x1 > 0.0 && *x1 <= x2 / 4.0)
                .map_or(0.0, |(x1, y1)| (y2 / y1).ln() / (x2 / x1).ln()),
            [] => 0.0,
        };
        Self {
            intercept,
            slope,
            exponent,
            shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cost: impl Fn(f64) -> f64) -> Fit {
        let points: Vec<(f64, f64)> = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]
            .into_iter()
            .map(|x| (x, cost(x)))
            .collect();
        Fit::of(&points)
    }

    #[test]
    fn shapes_are_told_apart() {
        assert_eq!(of(|_| 100.0).shape, Shape::Flat);
        assert_eq!(
            of(|x| if x > 100.0 { 130.0 } else { 100.0 }).shape,
            Shape::Flat
        );
        let line = of(|x| 1000.0 + 7.0 * x);
        assert_eq!(line.shape, Shape::Linear);
        assert!((line.slope - 7.0).abs() < 1e-6 && (line.intercept - 1000.0).abs() < 1e-6);
        let bent = of(|x| 1000.0 + x * x);
        assert_eq!(bent.shape, Shape::Bends);
        assert!((1.8..2.1).contains(&bent.exponent), "{}", bent.exponent);
    }

    #[test]
    fn a_single_point_is_flat() {
        assert_eq!(Fit::of(&[(1.0, 5.0)]).shape, Shape::Flat);
    }
}
