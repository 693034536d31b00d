//! Numbers for people: three significant digits, units said, a dash for what is not known.

/// A dash: no data. Never a zero.
pub const MISSING: &str = "–";

/// A number with three significant digits, with thousands grouped by spaces: `0.0123`, `4.56`, `78.9`, `1 270`.
#[must_use]
pub fn significant(value: f64) -> String {
    match value {
        v if !v.is_finite() => MISSING.to_owned(),
        v => grouped(&format!("{v:.*}", decimals(v, 3))),
    }
}

/// [`significant`] without zeros that say nothing, for what was asked and not measured: `10`, `2.5`.
#[must_use]
pub fn short(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A value and the half-width of its interval, in two digits or as fine as the value says anything: `400 ± 3.3`.
#[must_use]
pub fn plus_minus(value: f64, half_width: f64) -> String {
    let decimals = decimals(half_width, 2).min(decimals(value, 3) + 1);
    format!("{} ± {}", significant(value), grouped(&format!("{half_width:.decimals$}")))
}

/// Decimals that show a value with so many digits.
fn decimals(value: f64, digits: i32) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let of = |magnitude: f64| digits - 1 - magnitude.log10().floor() as i32;
    let units = 10_f64.powi(of(value.abs()));
    // Where rounding gives one digit more, as 99.96 does, there is one decimal less.
    usize::try_from(of((value.abs() * units).round() / units)).unwrap_or(0).min(9)
}

/// A count, with thousands grouped: `1 675 800`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("−", digits));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A narrow space that does not break.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// [`significant`], or a dash.
#[must_use]
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| MISSING.to_owned(), significant)
}

/// A share as a percentage: `0 %`, `0.02 %`, `4.6 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let text = match share * 100.0 {
        p if !p.is_finite() => MISSING.to_owned(),
        0.0 => "0 %".to_owned(),
        p if p.abs() < 0.001 => format!("{p:.5} %"),
        p if p.abs() < 0.1 => format!("{p:.3} %"),
        p if p.abs() < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    };
    text.replacen('-', "−", 1)
}

/// A change as a percentage with its sign: `+1.2 %`.
#[must_use]
pub fn change(share: f64) -> String {
    let text = percent(share);
    if share > 0.0 { format!("+{text}") } else { text }
}

/// A number of VUs, whole where it is: a mean over seconds is seldom exactly that.
#[must_use]
pub fn vus(mean: f64) -> String {
    if (mean - mean.round()).abs() < 0.05 { grouped(&format!("{mean:.0}")) } else { significant(mean) }
}

/// A duration given in ms as seconds, to the millisecond: `0.302`, `12.4`.
#[must_use]
pub fn in_seconds(ms: Option<f64>) -> String {
    match ms.map(|ms| ms / 1000.0) {
        Some(s) if s > 0.0 && s < 0.001 => "<0.001".to_owned(),
        Some(s) if s < 9.9995 => format!("{s:.3}"),
        s => maybe(s),
    }
}

/// A length of time: `45 s`, `7 min 12 s`, `30 min`, `1 h 05 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0 if seconds > 0.0 => format!("{:.0} ms", seconds * 1000.0),
        0..60 => format!("{s} s"),
        60..3600 if s.is_multiple_of(60) => format!("{} min", s / 60),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// Bytes: `14.2 MB` (powers of ten).
#[must_use]
pub fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{} kB", significant(n as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", significant(n as f64 / 1e6)),
        _ => format!("{} GB", significant(n as f64 / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_no_more() {
        let shown: Vec<String> =
            [0.0, 0.012_345, 0.999_9, 4.563, 78.94, 99.96, 1270.4, 1_675_800.0].map(significant).into();
        assert_eq!(shown, ["0", "0.0123", "1.00", "4.56", "78.9", "100", "1\u{202f}270", "1\u{202f}675\u{202f}800"]);
        assert_eq!(maybe(None), MISSING);
        assert_eq!(significant(f64::NAN), MISSING);
        assert_eq!(significant(-1270.0), "−1\u{202f}270");
        assert_eq!(
            (plus_minus(400.2, 3.342), plus_minus(76.6, 0.996)),
            ("400 ± 3.3".to_owned(), "76.6 ± 1.0".to_owned())
        );
        assert_eq!([29.97, 29.5, 1270.0].map(vus), ["30", "29.5", "1\u{202f}270"]);
        let times = [Some(0.07), Some(302.04), Some(12_400.0), None].map(in_seconds);
        assert_eq!(times, ["<0.001", "0.302", "12.4", MISSING]);
    }

    #[test]
    fn shares_and_times() {
        assert_eq!(
            [0.0, 0.000_002, 0.000_2, 0.046, 0.5].map(percent),
            ["0 %", "0.00020 %", "0.020 %", "4.6 %", "50 %"]
        );
        assert_eq!((change(0.012), change(-0.3)), ("+1.2 %".to_owned(), "−30 %".to_owned()));
        assert_eq!(percent(-0.000_13), "−0.013 %");
        let times = [0.25, 45.0, 432.0, 1800.0, 3900.0].map(duration);
        assert_eq!(times, ["250 ms", "45 s", "7 min 12 s", "30 min", "1 h 05 min"]);
        assert_eq!((bytes(512), bytes(14_230_000)), ("512 B".to_owned(), "14.2 MB".to_owned()));
    }
}
