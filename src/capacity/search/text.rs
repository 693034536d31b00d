//! Figures in the sentences that the search speaks.

/// A share as percent with no more digits than it has meaning: "3.1 %", "98 %".
pub(super) fn percent(share: f64) -> String {
    let value = 100.0 * share.abs();
    if value < 10.0 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// A change with its sign: "+0.7 %", "−18 %".
pub(super) fn change(share: f64) -> String {
    format!("{}{}", if share < 0.0 { '−' } else { '+' }, percent(share))
}

/// N_sat for people, rounded up: whole VUs to 50, fives to 100, tens to 500, twenty-fives above.
///
/// Fives below 50 would add up to 24 % to the estimate, as much as it may be wrong by.
pub(super) fn round_up(vus: f64) -> u32 {
    let step = match vus {
        v if v <= 50.0 => 1.0,
        v if v <= 100.0 => 5.0,
        v if v <= 500.0 => 10.0,
        _ => 25.0,
    };
    // An estimate that is whole but for rounding errors stays what it is.
    ((vus / step - 1e-9).ceil() * step).max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(
            (percent(0.0312).as_str(), change(0.98).as_str(), change(-0.18).as_str()),
            ("3.1 %", "+98 %", "−18 %")
        );
        assert_eq!(change(0.007), "+0.7 %");
    }

    #[test]
    fn rounding_up() {
        let cases = [(0.3, 1), (3.0, 3), (17.2, 18), (51.0, 55), (100.0, 100), (234.0, 240), (501.0, 525)];
        assert!(cases.iter().all(|&(vus, want)| round_up(vus) == want));
    }
}
