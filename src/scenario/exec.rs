//! `exec`: what a VU does.

use super::reader::Fields;
use super::steps::BUILT_IN;

/// What a VU does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Exec {
    /// Fetches the content item again and again.
    #[default]
    Fetch,
    /// Publishes again and again.
    Publish,
    /// In each iteration one of these lists of steps, chosen by its weight.
    Steps(Vec<(String, u32)>),
}

impl Exec {
    /// The lists of steps and their weights; none where it is built in.
    #[must_use]
    pub fn lists(&self) -> &[(String, u32)] {
        match self {
            Exec::Steps(lists) => lists,
            _ => &[],
        }
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Exec::Fetch => "fetch".to_owned(),
            Exec::Publish => "publish".to_owned(),
            Exec::Steps(lists) => match lists.as_slice() {
                [(list, _)] => list.clone(),
                lists => lists.iter().map(|(list, weight)| format!("{list} ×{weight}")).collect::<Vec<_>>().join(", "),
            },
        }
    }
}

/// The greatest weight of a list of steps.
pub(super) const MOST_WEIGHT: u64 = 1_000_000;

/// Reads `exec`: a name, or lists of steps with their weights.
pub(super) fn read(fields: &Fields<'_>) -> Option<Exec> {
    let value = fields.get("exec")?;
    if let Some(name) = value.get_ref().as_str() {
        return Some(match name {
            "fetch" => Exec::Fetch,
            "publish" => Exec::Publish,
            list => Exec::Steps(vec![(list.to_owned(), 1)]),
        });
    }
    let Some(table) = value.get_ref().as_table() else {
        let expected = "is \"fetch\", \"publish\", the name of a list of steps, or weights of such lists";
        fields.fault_at(value, format!("`exec` {expected} ({{ browse = 3, one = 1 }})"));
        return None;
    };
    let weights = Fields { table, start: value.span().start, ..*fields };
    let mut lists = Vec::new();
    for (name, value) in table {
        let name = name.get_ref().as_ref();
        if BUILT_IN.contains(&name) {
            let what = format!("`{name}` has no weight: only lists of steps do; give it a scenario of its own");
            fields.fault_at(value, what);
        }
        if let Some(weight) = weights.number_within(name, 1, MOST_WEIGHT) {
            lists.push((name.to_owned(), u32::try_from(weight).unwrap_or(u32::MAX)));
        }
    }
    if table.is_empty() {
        fields.fault_at(value, "no list of steps has a weight");
    }
    Some(Exec::Steps(lists))
}
