//! Isotonic regression: the non-decreasing series nearest to the data.

/// Weighted least-squares fit of a non-decreasing series (pool adjacent violators, O(n)). `values` and `weights`
/// go together; a missing weight, or one that is not positive, counts as 1.
#[must_use]
pub fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    // Blocks of (weighted mean, weight, length), means strictly increasing.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(values.len());
    for (i, &value) in values.iter().enumerate() {
        let weight = weights.get(i).copied().filter(|w| *w > 0.0).unwrap_or(1.0);
        let mut block = (value, weight, 1);
        while let Some(&(mean, total, length)) = blocks.last() {
            if mean < block.0 {
                break;
            }
            blocks.pop();
            let sum = total + block.1;
            block = ((mean * total + block.0 * block.1) / sum, sum, length + block.2);
        }
        blocks.push(block);
    }
    blocks.iter().flat_map(|&(mean, _, length)| std::iter::repeat_n(mean, length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn violators_are_pooled_by_weight() {
        assert_eq!(isotonic(&[1.0, 3.0, 2.0, 4.0], &[1.0; 4]), vec![1.0, 2.5, 2.5, 4.0]);
        assert_eq!(isotonic(&[4.0, 1.0], &[3.0, 1.0]), vec![3.25, 3.25]);
        assert!(isotonic(&[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn monotone_same_mean_and_a_fixed_point(pairs in prop::collection::vec((-1e3f64..1e3, 0.1f64..10.0), 1..60)) {
            let (values, weights): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let fitted = isotonic(&values, &weights);
            prop_assert_eq!(fitted.len(), values.len());
            prop_assert!(fitted.windows(2).all(|w| w[0] <= w[1]));
            let total = |v: &[f64]| v.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>();
            prop_assert!((total(&fitted) - total(&values)).abs() < 1e-6);
            let again = isotonic(&fitted, &weights);
            prop_assert!(again.iter().zip(&fitted).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
}
