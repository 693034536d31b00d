//! Prometheus' text, line by line: `name{label="value",…} value [time] [# exemplar]`, and OpenMetrics', which is the same
//! as far as samples go. A line that is not of this form is left out: one odd metric must not hide the others.

use std::borrow::Cow;

/// One sample.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'t> {
    pub(super) name: &'t str,
    /// Names and values, the values without their escapes.
    pub(super) labels: Vec<(&'t str, Cow<'t, str>)>,
    pub(super) value: f64,
}

/// The samples of those metrics that are wanted.
pub(super) fn samples<'t>(text: &'t str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Sample<'t>> {
    text.lines().filter_map(move |line| sample(line.trim(), &wanted))
}

fn sample<'t>(line: &'t str, wanted: &impl Fn(&str) -> bool) -> Option<Sample<'t>> {
    if line.starts_with('#') {
        return None;
    }
    let (mut name, mut rest) = line.split_at(line.find(|c: char| c == '{' || c.is_whitespace())?);
    if !name.is_empty() && !wanted(name) {
        return None;
    }
    let mut labels = Vec::new();
    rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            if let Some((quoted, after)) = quoted(rest).filter(|_| name.is_empty()) {
                // A name that is none of the classical ones stands in quotes before the labels.
                (name, rest) = (quoted, after.trim_start());
            } else {
                let (label, after) = rest.split_once('=')?;
                let (value, after) = quoted(after.trim_start())?;
                labels.push((label.trim(), unescaped(value)));
                rest = after.trim_start();
            }
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return None,
            }
        }
        rest = &rest[1..];
    }
    if !wanted(name) {
        return None;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// What stands in quotes at the beginning, escapes included, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&inside[..end], &inside[end + 1..]))
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c }));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<Sample<'_>> {
        samples(text, |_| true).collect()
    }

    fn one<'t>(name: &'t str, labels: &[(&'t str, &'t str)], value: f64) -> Sample<'t> {
        let labels = labels.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect();
        Sample { name, labels, value }
    }

    #[test]
    fn every_form_of_a_sample_is_read() {
        let forms: [(&str, Sample<'_>); 12] = [
            ("a 1", one("a", &[], 1.0)),
            ("a\t-1.5e3\t1700000000000", one("a", &[], -1500.0)),
            ("  a{} +Inf\r", one("a", &[], f64::INFINITY)),
            ("a {x=\"1\"} 2", one("a", &[("x", "1")], 2.0)),
            ("a{ x = \"1\" , y=\"2\", } 2 -1", one("a", &[("x", "1"), ("y", "2")], 2.0)),
            (r#"a{x="q\"} 9 {\\",y="l\nm"} 2"#, one("a", &[("x", "q\"} 9 {\\"), ("y", "l\nm")], 2.0)),
            ("a{x=\"\",y=\"ä→\"} 0", one("a", &[("x", ""), ("y", "ä→")], 0.0)),
            ("a{x=\"1\"} 3 # {trace_id=\"f\"} 0.6 1700000000.1", one("a", &[("x", "1")], 3.0)),
            ("a 4 1700000000 # {trace_id=\"f 9\"} 0.6", one("a", &[], 4.0)),
            ("{\"a.b\"} 5", one("a.b", &[], 5.0)),
            ("{\"a.b\", x=\"1\"} 5", one("a.b", &[("x", "1")], 5.0)),
            ("a:b_c 0x", one("", &[], 0.0)),
        ];
        for (text, expected) in &forms[..11] {
            assert_eq!(all(text), std::slice::from_ref(expected), "{text}");
        }
        assert!(all(forms[11].0).is_empty());
        assert!(all("a NaN")[0].value.is_nan());
    }

    #[test]
    fn what_is_broken_is_left_out_and_hides_nothing() {
        for text in
            ["a", "a{x=\"1\" 2", "a{x=1} 2", "a{x=\"1} 2", "a{x=\"1\"y=\"2\"} 2", "a{x} 2", "{} 2x", "a{x=\"\\", "}"]
        {
            assert!(all(text).is_empty(), "{text}");
            assert_eq!(all(&format!("{text}\nb 7\n# EOF\n")), [one("b", &[], 7.0)], "{text}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_taken_apart() {
        let text = "a 1\nb{x=\"broken\nb 2\n{\"b\",x=\"1\"} 3\n";
        let got: Vec<f64> = samples(text, |name| name == "b").map(|sample| sample.value).collect();
        assert_eq!(got, [2.0, 3.0]);
    }

    proptest! {
        #[test]
        fn labels_come_back_as_they_were(values in prop::collection::vec("\\PC*", 0..4), value in -1e9f64..1e9) {
            let escaped = |v: &String| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let labels: Vec<String> = values.iter().enumerate().map(|(i, v)| format!("l{i}=\"{}\"", escaped(v))).collect();
            let line = format!("m{{{}}} {value}", labels.join(","));
            let got = all(&line);
            prop_assert_eq!(got.len(), 1, "{}", line);
            prop_assert_eq!(got[0].value, value);
            let back: Vec<String> = got[0].labels.iter().map(|(_, v)| v.to_string()).collect();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn no_text_breaks_it(text in "(?s)[a{}\"\\\\=, #0-9\n.é-]{0,60}") {
            let _ = all(&text);
        }
    }
}
