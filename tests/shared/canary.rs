//! Looks for a secret in everything that a run left behind, in any of the forms in which one gets about.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// A key that looks different in each form: letters, and what base64, URLs and JSON write otherwise.
pub(crate) const KEY: &str = "kAnary+7/e3%b9=ZqTr&v4~w1N'8x<5y";

/// Every form of a secret that is looked for.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex = |upper: bool| {
        let digits = bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") });
        digits.collect::<String>()
    };
    let coded = |keep: fn(u8) -> bool, upper: bool| -> String {
        let one = |&b: &u8| match (keep(b), upper) {
            (true, _) => char::from(b).to_string(),
            (false, true) => format!("%{b:02X}"),
            (false, false) => format!("%{b:02x}"),
        };
        bytes.iter().map(one).collect()
    };
    let reversed: String = secret.chars().rev().collect();
    let json = serde_json::to_string(secret).unwrap().trim_matches('"').to_owned();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;");
    let quoted = html.replace('\'', "&#39;");
    let mut all = vec![secret.to_owned(), reversed, json, html, quoted, hex(false), hex(true)];
    for upper in [true, false] {
        all.push(coded(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b), upper));
        all.push(coded(|b| b.is_ascii_alphanumeric(), upper));
    }
    // As it stands in base64 of any text that has it: in three ways, by where it begins; without the digits that depend on
    // what is before and after it.
    for (skip, before) in [(0, ""), (2, "a"), (3, "aa")] {
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let text = engine.encode(format!("{before}{secret}"));
            let end = (before.len() + secret.len()) / 3 * 4;
            all.push(text[skip..end].to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The form of the secret that a text has, if any; also where the text is broken into lines, indented or quoted.
pub(crate) fn found(text: &[u8], secret: &str) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let joined: String = text.chars().filter(|c| !c.is_whitespace() && !"\"\\,|".contains(*c)).collect();
    // Escapes of a terminal may stand in the middle of a word.
    let plain = joined.replace("\u{1b}[0m", "");
    let forms = forms(secret);
    let stripped = |form: &str| form.chars().filter(|c| !"\"\\,|".contains(*c)).collect::<String>();
    forms.into_iter().find(|form| text.contains(form) || plain.contains(&stripped(form)))
}

/// Fails where a file below a folder has a secret, but for those files that are meant to.
pub(crate) fn search(folder: &Path, secrets: &[String], meant: &[PathBuf]) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| !path.is_symlink()) {
        if path.is_dir() {
            search(&path, secrets, meant);
        } else if !meant.contains(&path) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            for secret in secrets {
                assert_eq!(found(&bytes, secret), None, "the key is in {}", path.display());
            }
        }
    }
}

#[test]
fn a_key_is_found_in_every_form_and_nowhere_else() {
    let long = STANDARD.encode(format!("user:{KEY}:and more"));
    let broken: Vec<&str> = long.as_bytes().chunks(10).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    let (left, right) = KEY.split_at(9);
    let with = [
        format!("Key {KEY}!"),
        format!("x {left}\n    {right}"),
        format!("[\"{left}\",\n\"{right}\"]"),
        serde_json::json!({ "authorization": KEY }).to_string(),
        url::form_urlencoded::byte_serialize(KEY.as_bytes()).collect(),
        long.clone(),
        broken.join("\n"),
        URL_SAFE_NO_PAD.encode(format!("a{KEY}")),
        URL_SAFE_NO_PAD.encode(format!("ab{KEY}c")),
        KEY.bytes().map(|b| format!("{b:02x}")).collect(),
        KEY.chars().rev().collect(),
        KEY.replace('&', "&amp;").replace('<', "&lt;"),
    ];
    for text in with {
        assert!(found(text.as_bytes(), KEY).is_some(), "{text}");
    }
    for text in ["", "kAnary", left, right, &STANDARD.encode(left)] {
        assert_eq!(found(text.as_bytes(), KEY), None, "{text}");
    }
}

#[test]
fn a_file_with_a_key_is_found_however_deep_unless_it_is_meant_to_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("runs/one");
    std::fs::create_dir_all(&deep).unwrap();
    let (file, keys) = (deep.join("plan.json"), [KEY.to_owned()]);
    std::fs::write(&file, "nothing").unwrap();
    search(folder.path(), &keys, &[]);
    std::fs::write(&file, STANDARD.encode(KEY)).unwrap();
    search(folder.path(), &keys, std::slice::from_ref(&file));
    assert!(std::panic::catch_unwind(|| search(folder.path(), &keys, &[])).is_err(), "it was not found");
}
