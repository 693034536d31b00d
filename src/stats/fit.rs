//! Weighted nonlinear least squares within bounds: Levenberg–Marquardt, on request with a robust loss.
//!
//! Minimises ½ Σ ρ(rᵢ²) with rᵢ = (f(xᵢ; θ) − yᵢ)/σᵢ. Marquardt's scaling; a parameter at a bound that is pushed
//! outwards is held for that step. Checked against NIST's certified fits.

/// What a large residual costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// ρ(z) = z.
    Squares,
    /// ρ(z) = 2(√(1 + z) − 1): like squares below one σ, like the absolute value beyond.
    SoftL1,
}

impl Loss {
    fn rho(self, z: f64) -> f64 {
        match self {
            Self::Squares => z,
            // The form without the difference of nearly equal numbers.
            Self::SoftL1 => 2.0 * z / ((1.0 + z).sqrt() + 1.0),
        }
    }

    fn weight(self, z: f64) -> f64 {
        match self {
            Self::Squares => 1.0,
            Self::SoftL1 => 1.0 / (1.0 + z).sqrt(),
        }
    }
}

/// The data of a fit. `x`, `y` and `sigma` go together; a missing or unusable σ is 1.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// Where it was measured.
    pub x: &'a [f64],
    /// What was measured.
    pub y: &'a [f64],
    /// Standard error of each `y`.
    pub sigma: &'a [f64],
    /// Lowest values of the parameters; a missing one is −∞.
    pub lower: &'a [f64],
    /// Highest values of the parameters; a missing one is ∞.
    pub upper: &'a [f64],
    /// What a large residual costs.
    pub loss: Loss,
    /// A step that gains less than this share of the cost is the last one; 1e-15 asks for all digits.
    pub tolerance: f64,
    /// No more steps than this, good or bad.
    pub max_iterations: u32,
}

/// A fitted curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The parameters θ.
    pub parameters: Vec<f64>,
    /// ½ Σ ρ(rᵢ²).
    pub cost: f64,
    /// Σ rᵢ², the weighted sum of squares without the loss.
    pub rss: f64,
    /// Standard error of each parameter, scaled by √(rss/(n − k)); `None` where the data does not determine it.
    pub sd: Option<Vec<f64>>,
    /// Whether it stopped because nothing was left to gain.
    pub converged: bool,
}

/// Fits `model(x, θ)` from `start`. `None` where there is no data or the model is not finite at the start.
#[must_use]
pub fn least_squares(problem: &Problem<'_>, model: impl Fn(f64, &[f64]) -> f64, start: &[f64]) -> Option<Fit> {
    if problem.x.is_empty() || problem.x.len() != problem.y.len() || start.is_empty() {
        return None;
    }
    let solver = Solver { problem, model };
    let mut at = solver.point(solver.clamp(start))?;
    let (mut damping, mut growth) = (1e-3, 2.0);
    let mut scale = vec![0.0_f64; start.len()];
    let mut converged = false;
    let mut normal = solver.normal_equations(&at);
    for _ in 0..problem.max_iterations {
        for (s, i) in scale.iter_mut().zip(0..) {
            *s = s.max(normal.matrix[i][i]);
        }
        let Some((next, gain_ratio)) = solver.step(&at, &normal, &scale, damping) else {
            damping *= growth;
            growth *= 2.0;
            converged = damping > 1e24;
            if converged {
                break;
            }
            continue;
        };
        converged = at.cost - next.cost <= problem.tolerance * at.cost;
        at = next;
        damping = (damping * (1.0 - (2.0 * gain_ratio - 1.0).powi(3)).max(1.0 / 3.0)).max(1e-18);
        growth = 2.0;
        if converged || at.cost == 0.0 {
            converged = true;
            break;
        }
        normal = solver.normal_equations(&at);
    }
    let sd = solver.standard_errors(&at);
    let rss = at.residuals.iter().map(|r| r * r).sum();
    Some(Fit { parameters: at.parameters, cost: at.cost, rss, sd, converged })
}

struct Point {
    parameters: Vec<f64>,
    residuals: Vec<f64>,
    cost: f64,
}

/// Jᵀ W J and Jᵀ W r.
struct Normal {
    matrix: Vec<Vec<f64>>,
    gradient: Vec<f64>,
}

struct Solver<'a, M> {
    problem: &'a Problem<'a>,
    model: M,
}

impl<M: Fn(f64, &[f64]) -> f64> Solver<'_, M> {
    fn low(&self, i: usize) -> f64 {
        self.problem.lower.get(i).copied().unwrap_or(f64::NEG_INFINITY)
    }

    fn high(&self, i: usize) -> f64 {
        self.problem.upper.get(i).copied().unwrap_or(f64::INFINITY)
    }

    fn clamp(&self, parameters: &[f64]) -> Vec<f64> {
        parameters.iter().enumerate().map(|(i, p)| p.max(self.low(i)).min(self.high(i))).collect()
    }

    fn sigma(&self, i: usize) -> f64 {
        self.problem.sigma.get(i).copied().filter(|s| s.is_finite() && *s > 0.0).unwrap_or(1.0)
    }

    fn residuals(&self, parameters: &[f64]) -> Vec<f64> {
        let points = self.problem.x.iter().zip(self.problem.y).enumerate();
        points.map(|(i, (&x, &y))| ((self.model)(x, parameters) - y) / self.sigma(i)).collect()
    }

    fn point(&self, parameters: Vec<f64>) -> Option<Point> {
        let residuals = self.residuals(&parameters);
        let cost = 0.5 * residuals.iter().map(|r| self.problem.loss.rho(r * r)).sum::<f64>();
        cost.is_finite().then_some(Point { parameters, residuals, cost })
    }

    /// One column per parameter, by central differences.
    fn jacobian(&self, at: &Point) -> Vec<Vec<f64>> {
        (0..at.parameters.len())
            .map(|i| {
                let h = 6e-6 * at.parameters[i].abs().max(1e-9);
                let shifted = |by: f64| {
                    let mut parameters = at.parameters.clone();
                    parameters[i] += by;
                    self.residuals(&parameters)
                };
                let (above, below) = (shifted(h), shifted(-h));
                above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * h)).collect()
            })
            .collect()
    }

    fn normal_equations(&self, at: &Point) -> Normal {
        let columns = self.jacobian(at);
        let weights: Vec<f64> = at.residuals.iter().map(|r| self.problem.loss.weight(r * r)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).zip(&weights).map(|((a, b), w)| a * b * w).sum::<f64>();
        let matrix = columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
        let gradient = columns.iter().map(|a| dot(a, &at.residuals)).collect();
        Normal { matrix, gradient }
    }

    /// The point after a damped step and the share of the promised gain that it brought; `None` where it gains nothing.
    fn step(&self, at: &Point, normal: &Normal, scale: &[f64], damping: f64) -> Option<(Point, f64)> {
        let k = at.parameters.len();
        let held: Vec<bool> = (0..k)
            .map(|i| {
                let (p, g) = (at.parameters[i], normal.gradient[i]);
                (p <= self.low(i) && g > 0.0) || (p >= self.high(i) && g < 0.0)
            })
            .collect();
        let mut matrix = normal.matrix.clone();
        let mut right: Vec<f64> = normal.gradient.iter().map(|g| -g).collect();
        for i in 0..k {
            if held[i] {
                matrix[i].fill(0.0);
                matrix.iter_mut().for_each(|row| row[i] = 0.0);
                matrix[i][i] = 1.0;
                right[i] = 0.0;
            } else {
                matrix[i][i] += damping * scale[i].max(1e-30);
            }
        }
        let step = solve(matrix, right)?;
        let target: Vec<f64> = at.parameters.iter().zip(&step).map(|(p, s)| p + s).collect();
        let next = self.point(self.clamp(&target))?;
        let taken: Vec<f64> = next.parameters.iter().zip(&at.parameters).map(|(a, b)| a - b).collect();
        let gain = at.cost - next.cost;
        let promised = -(0..k)
            .map(|i| {
                let curvature: f64 = (0..k).map(|j| normal.matrix[i][j] * taken[j]).sum();
                taken[i] * (normal.gradient[i] + 0.5 * curvature)
            })
            .sum::<f64>();
        (gain > 0.0).then(|| (next, if promised > 0.0 { (gain / promised).min(1.0) } else { 0.5 }))
    }

    fn standard_errors(&self, at: &Point) -> Option<Vec<f64>> {
        let (n, k) = (at.residuals.len(), at.parameters.len());
        let matrix = self.normal_equations(at).matrix;
        if n <= k {
            return None;
        }
        let variance = at.residuals.iter().map(|r| r * r).sum::<f64>() / (n - k) as f64;
        (0..k)
            .map(|i| {
                let unit = (0..k).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
                let inverse = solve(matrix.clone(), unit)?[i];
                (inverse > 0.0).then(|| (variance * inverse).sqrt())
            })
            .collect()
    }
}

/// Solves a small linear system, scaled to a unit diagonal, by elimination with pivots; `None` where it is singular.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    let scale: Vec<f64> = (0..n).map(|i| if a[i][i] > 0.0 { 1.0 / a[i][i].sqrt() } else { 1.0 }).collect();
    for i in 0..n {
        b[i] *= scale[i];
        for j in 0..n {
            a[i][j] *= scale[i] * scale[j];
        }
    }
    for column in 0..n {
        let pivot = (column..n).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        if a[pivot][column].abs() < 1e-200 || !a[pivot][column].is_finite() {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[row][column] / a[column][column];
            let (above, below) = a.split_at_mut(row);
            below[0].iter_mut().zip(&above[column]).skip(column).for_each(|(x, y)| *x -= factor * y);
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|j| a[row][j] * b[j]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    let solution: Vec<f64> = b.iter().zip(&scale).map(|(x, s)| x * s).collect();
    solution.iter().all(|v| v.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::reference;
    use serde_json::Value;

    type Model = fn(f64, &[f64]) -> f64;

    const MODELS: [(&str, Model); 5] = [
        ("Misra1a", |x, b| b[0] * (1.0 - (-b[1] * x).exp())),
        ("MGH09", |x, b| b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3])),
        ("Rat42", |x, b| b[0] / (1.0 + (b[1] - b[2] * x).exp())),
        ("DanWood", |x, b| b[0] * x.powf(b[1])),
        ("Kirby2", |x, b| (b[0] + b[1] * x + b[2] * x * x) / (1.0 + b[3] * x + b[4] * x * x)),
    ];

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn data(entry: &Value) -> Option<(Vec<f64>, Vec<f64>)> {
        if let Some(rows) = entry["y_x"].as_array() {
            return Some(rows.iter().map(|row| (numbers(row)[0], numbers(row)[1])).unzip());
        }
        let rows = reference("nist_Kirby2.csv")?;
        Some(
            rows.lines()
                .skip(1)
                .map(|line| {
                    let (y, x) = line.split_once(',').unwrap();
                    (y.trim().parse::<f64>().unwrap(), x.trim().parse::<f64>().unwrap())
                })
                .unzip(),
        )
    }

    fn unbounded<'a>(x: &'a [f64], y: &'a [f64]) -> Problem<'a> {
        Problem {
            x,
            y,
            sigma: &[],
            lower: &[],
            upper: &[],
            loss: Loss::Squares,
            tolerance: 1e-15,
            max_iterations: 1500,
        }
    }

    #[test]
    fn nist_certified_fits() {
        let Some(text) = reference("nist_nls_expected.json") else { return };
        let all: Value = serde_json::from_str(&text).unwrap();
        for (name, model) in MODELS {
            let entry = &all[name];
            let Some((y, x)) = data(entry) else { continue };
            for start in ["start1", "start2"] {
                let fit = least_squares(&unbounded(&x, &y), model, &numbers(&entry[start])).unwrap();
                let rss = entry["rss"].as_f64().unwrap();
                assert!((fit.rss / rss - 1.0).abs() < 1e-8, "{name} {start}: {} is not {rss}", fit.rss);
                for (got, want) in fit.parameters.iter().zip(numbers(&entry["certified"])) {
                    assert!((got / want - 1.0).abs() < 1e-5, "{name} {start}: {got} is not {want}");
                }
                for (got, want) in fit.sd.unwrap().iter().zip(numbers(&entry["certified_sd"])) {
                    assert!((got / want - 1.0).abs() < 1e-4, "{name} {start}: sd {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn a_bound_holds_and_the_rest_is_fitted() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x).collect();
        let mut problem = unbounded(&x, &y);
        problem.upper = &[f64::INFINITY, 1.5];
        let fit = least_squares(&problem, |x, b| b[0] + b[1] * x, &[0.0, 0.0]).unwrap();
        assert!((fit.parameters[1] - 1.5).abs() < 1e-12 && (fit.parameters[0] - 5.25).abs() < 1e-6, "{fit:?}");
    }

    #[test]
    fn soft_l1_shrugs_at_an_outlier() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x).collect();
        y[11] += 60.0;
        let line = |x: f64, b: &[f64]| b[0] + b[1] * x;
        let slope = |loss| {
            let problem = Problem { loss, ..unbounded(&x, &y) };
            least_squares(&problem, line, &[0.0, 1.0]).unwrap().parameters[1]
        };
        assert!(slope(Loss::Squares) > 4.0);
        assert!((slope(Loss::SoftL1) - 2.0).abs() < 0.2, "{}", slope(Loss::SoftL1));
    }

    #[test]
    fn nothing_to_fit_is_none() {
        assert!(least_squares(&unbounded(&[], &[]), |x, _| x, &[1.0]).is_none());
        assert!(least_squares(&unbounded(&[1.0], &[1.0]), |_, _| f64::NAN, &[1.0]).is_none());
    }
}
