//! Source files as the rules see them: code, text and comments kept apart, tests known as tests.
//!
//! No parser. A scanner that knows comments, strings, characters and braces is enough for rules that name a line.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// One file of Rust.
pub(crate) struct Source {
    /// Path from the root of the project, with `/`.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Without comments and without the contents of strings: spaces in their place.
    pub(crate) code: String,
    /// Nothing but the contents of strings.
    pub(crate) strings: String,
    /// Nothing but comments.
    pub(crate) comments: String,
    /// Bytes of `code` that are compiled for tests only.
    tests: Vec<Range<usize>>,
}

/// What the scanner is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    Line,
    /// A block comment, this deep.
    Block(usize),
    Text,
    /// A raw string that ends with so many `#`.
    Raw(usize),
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let [code, strings, comments] = apart(text);
        let all = path.starts_with("tests/") || path.starts_with("benches/");
        let tests = if all { std::iter::once(0..code.len()).collect() } else { test_regions(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, strings, comments, tests }
    }

    /// The same file as one that is compiled for tests only.
    pub(crate) fn into_test(mut self) -> Source {
        self.tests = std::iter::once(0..self.code.len()).collect();
        self
    }

    /// The module of the crate that it belongs to: `report` for `src/report/text/load.rs`.
    pub(crate) fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or("");
        path.split('/').next().unwrap_or("").trim_end_matches(".rs")
    }

    /// How many modules it lies below the crate's root.
    pub(crate) fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|region| region.contains(&at))
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where a word or path stands in the code outside tests.
    pub(crate) fn find(&self, word: &str) -> Vec<usize> {
        words(&self.code, word).filter(|&at| !self.is_test(at)).collect()
    }

    /// Files that are modules for tests only, as `#[cfg(test)] mod name;` names them.
    pub(crate) fn test_files(&self) -> Vec<String> {
        let outside = |region: &&Range<usize>| self.code[(*region).clone()].ends_with(';');
        self.tests.iter().filter(outside).filter_map(|region| self.file_of(region)).collect()
    }

    fn file_of(&self, region: &Range<usize>) -> Option<String> {
        let item = &self.text[region.clone()];
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if let Some((_, rest)) = item.split_once("#[path = \"") {
            return rest.split_once('"').map(|(name, _)| format!("{folder}/{name}"));
        }
        let name = item.rsplit_once("mod ")?.1.trim_end_matches(';').trim();
        let folder = match self.path.as_str() {
            "src/lib.rs" | "src/main.rs" => folder,
            path => path.trim_end_matches(".rs"),
        };
        Some(format!("{folder}/{name}.rs"))
    }

    /// Functions outside tests: name, byte at which they begin, lines from there to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        for at in self.find("fn") {
            let rest = &self.code[at + 2..];
            let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
            if name.is_empty() || !rest.starts_with(char::is_whitespace) {
                continue;
            }
            let end = item_end(&self.code, at);
            found.push((name, at, self.line(end) - self.line(at) + 1));
        }
        found
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands, not as a part of a longer word.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let ends_in_word = word.ends_with(is_word);
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = ends_in_word && text[at + word.len()..].chars().next().is_some_and(is_word);
        !before && !after
    })
}

/// Code, strings and comments, each in the shape of the whole: what belongs to another is spaces.
fn apart(text: &str) -> [String; 3] {
    let chars: Vec<char> = text.chars().collect();
    let mut out = [String::new(), String::new(), String::new()];
    let mut state = In::Code;
    let mut at = 0;
    while at < chars.len() {
        let (kind, length, next) = step(&chars, at, state);
        for &c in &chars[at..at + length] {
            for (index, part) in out.iter_mut().enumerate() {
                // As many bytes in each, so that a byte means the same place in all.
                match c {
                    '\n' => part.push('\n'),
                    c if index == kind => part.push(c),
                    c => part.push_str(&" ".repeat(c.len_utf8())),
                }
            }
        }
        (at, state) = (at + length, next);
    }
    out
}

const CODE: usize = 0;
const STRING: usize = 1;
const COMMENT: usize = 2;

/// What the next characters are, how many of them, and what comes after them.
fn step(chars: &[char], at: usize, state: In) -> (usize, usize, In) {
    let next = chars.get(at + 1).copied();
    match (state, chars[at]) {
        (In::Code, '/') if next == Some('/') => (COMMENT, 2, In::Line),
        (In::Code, '/') if next == Some('*') => (COMMENT, 2, In::Block(1)),
        (In::Code, '"') => (CODE, 1, In::Text),
        (In::Code, 'r') if !at.checked_sub(1).is_some_and(|before| is_word(chars[before]) && chars[before] != 'b') => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            let quoted = chars.get(at + 1 + hashes) == Some(&'"');
            if quoted { (CODE, 2 + hashes, In::Raw(hashes)) } else { (CODE, 1, In::Code) }
        }
        // A character, not a lifetime: `'x'`, `'\n'`, `'\u{1f}'`.
        (In::Code, '\'') if next == Some('\\') => {
            let end = chars[at + 3..].iter().position(|c| *c == '\'').unwrap_or(0);
            (STRING, end + 4, In::Code)
        }
        (In::Code, '\'') if chars.get(at + 2) == Some(&'\'') => (STRING, 3, In::Code),
        (In::Code, _) => (CODE, 1, In::Code),
        (In::Line, '\n') => (COMMENT, 1, In::Code),
        (In::Line, _) => (COMMENT, 1, In::Line),
        (In::Block(deep), '*') if next == Some('/') => {
            (COMMENT, 2, if deep == 1 { In::Code } else { In::Block(deep - 1) })
        }
        (In::Block(deep), '/') if next == Some('*') => (COMMENT, 2, In::Block(deep + 1)),
        (In::Block(deep), _) => (COMMENT, 1, In::Block(deep)),
        (In::Text, '\\') if next.is_some() => (STRING, 2, In::Text),
        (In::Text, '"') => (CODE, 1, In::Code),
        (In::Text, _) => (STRING, 1, In::Text),
        (In::Raw(hashes), '"') if chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => {
            (CODE, 1 + hashes, In::Code)
        }
        (In::Raw(hashes), _) => (STRING, 1, In::Raw(hashes)),
    }
}

/// Items behind `#[cfg(test)]` or `#[cfg(all(test, …))]`, to their closing brace or semicolon.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test,"];
    let starts = marks.into_iter().flat_map(|mark| code.match_indices(mark));
    starts.map(|(at, _)| at..item_end(code, at) + 1).collect()
}

/// The closing brace of the item that begins at a byte, or its semicolon.
fn item_end(code: &str, from: usize) -> usize {
    let (mut braces, mut others) = (0usize, 0usize);
    for (offset, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + offset,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return from + offset,
            _ => {}
        }
    }
    code.len() - 1
}

/// Every file below `places` (files or folders) whose name ends as `ends` says, by its path from `root`.
pub(crate) fn files(root: &Path, places: &[&str], ends: &[&str]) -> Vec<(String, String)> {
    let mut paths = BTreeSet::new();
    for place in places {
        gather(root, place, &mut paths);
    }
    paths.retain(|path| ends.iter().any(|end| path.ends_with(end)));
    // What is no text has no lines to show.
    paths.into_iter().filter_map(|path| Some((path.clone(), fs::read_to_string(root.join(path)).ok()?))).collect()
}

fn gather(root: &Path, place: &str, paths: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(root.join(place)) else {
        paths.insert(place.to_owned());
        return;
    };
    for name in entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let made = ["__pycache__", ".venv", "node_modules"].contains(&name.as_str());
        if !made {
            gather(root, &format!("{place}/{name}"), paths);
        }
    }
}

#[test]
fn code_strings_and_comments_are_told_apart() {
    let text =
        "let a = \"fn // {\"; // \"x\" {\nlet b = '{'; /* a /* b */ { */ let c: &'a str = r#\"}\"\"#;\nlet d = '\\'';";
    let source = Source::new("src/a.rs", text);
    assert_eq!(source.code.matches('{').count() + source.code.matches('}').count(), 0, "{}", source.code);
    assert!(source.code.contains("let c: &'a str") && source.code.contains("let d"));
    assert!(source.strings.contains("fn // {") && source.strings.contains("}\"") && !source.strings.contains("let"));
    assert!(source.comments.contains("\"x\" {") && !source.comments.contains("let"));
    assert_eq!(source.code.lines().count(), 3);
}

#[test]
fn tests_are_told_from_what_is_shipped() {
    let text = "fn a() {}\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n#[cfg(test)]\nmod stub;\nfn b() {}\n\
                #[cfg(all(test, unix))]\nmod more {\n fn c() { { } }\n}\nfn d() {}\n";
    let source = Source::new("src/x/b.rs", text);
    let names: Vec<String> = source.functions().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert_eq!(source.test_files(), ["src/x/b_tests.rs", "src/x/b/stub.rs"]);
    assert_eq!((source.module(), source.depth()), ("x", 2));
}

#[test]
fn words_are_whole_words() {
    assert_eq!(words("Instant Instants my_Instant Instant", "Instant").collect::<Vec<_>>(), [0, 28]);
    assert_eq!(words("eprintln!(println!", "println!").count(), 1);
}

#[test]
fn a_function_is_measured_to_its_closing_brace() {
    let source =
        Source::new("src/a.rs", "type F = fn(u8);\nfn long(\n a: [u8; 2],\n) -> u8 {\n { }\n \"}\"\n}\nfn b();\n");
    assert_eq!(source.functions(), [("long".to_owned(), 17, 6), ("b".to_owned(), 61, 1)]);
}
