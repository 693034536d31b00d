//! Data files: rows of named columns, read once and shared by all VUs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The column of a JSON array whose elements are no objects.
pub const VALUE: &str = "value";

/// Which row an iteration takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One after the other; VU number n begins at row n, and after the last comes the first.
    #[default]
    Sequential,
    /// Any, from the run's seed.
    Random,
    /// Each row once in the whole run, over all VUs; an iteration that finds none left fails.
    Unique,
}

impl Order {
    /// All of them, as they are written.
    pub const NAMES: [(&'static str, Order); 3] =
        [("sequential", Order::Sequential), ("random", Order::Random), ("unique", Order::Unique)];
}

/// The rows of a data file: at least one, all of the same columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values, by row and column.
    pub rows: Vec<Vec<Arc<str>>>,
}

impl DataSet {
    /// Reads rows: JSON where the name ends in `.json`, otherwise CSV with a header.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn read(name: &str, bytes: &[u8]) -> Result<DataSet, String> {
        let json = std::path::Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let set = if json { from_json(bytes)? } else { from_csv(bytes)? };
        if set.rows.is_empty() { Err("it has no rows".to_owned()) } else { Ok(set) }
    }
}

fn from_csv(bytes: &[u8]) -> Result<DataSet, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|e| e.to_string())?;
    // Spreadsheets begin their files with a byte order mark.
    let columns: Vec<String> = header.iter().map(|c| c.trim_start_matches('\u{feff}').to_owned()).collect();
    if let Some(twice) = columns.iter().enumerate().find(|(at, c)| columns[..*at].contains(c)) {
        return Err(format!("two columns are named {:?}", twice.1));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        rows.push(record.iter().map(Arc::from).collect());
    }
    Ok(DataSet { columns, rows })
}

fn from_json(bytes: &[u8]) -> Result<DataSet, String> {
    let array: Vec<serde_json::Value> =
        serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON array: {e}"))?;
    let Some(serde_json::Value::Object(first)) = array.first() else {
        let rows = array.iter().map(|value| vec![scalar(value)]).collect();
        return Ok(DataSet { columns: vec![VALUE.to_owned()], rows });
    };
    let columns: Vec<String> = first.keys().cloned().collect();
    let mut rows = Vec::new();
    for (at, value) in array.iter().enumerate() {
        let row = columns.iter().map(|column| value.get(column).map(scalar).ok_or((at, column)));
        let row: Result<Vec<Arc<str>>, _> = row.collect();
        rows.push(row.map_err(|(at, column)| format!("element {at} has no {column:?}, which the first one has"))?);
    }
    Ok(DataSet { columns, rows })
}

/// A JSON value as text: a string as it is, anything else as JSON.
#[must_use]
pub fn scalar(value: &serde_json::Value) -> Arc<str> {
    match value {
        serde_json::Value::String(text) => Arc::from(text.as_str()),
        other => Arc::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(set: &DataSet, at: usize) -> Vec<&str> {
        set.rows[at].iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn csv_has_a_header() {
        let set = DataSet::read("a.csv", "\u{feff}symbol, name\nAAPL,\"Apple, Inc.\"\nMSFT, Microsoft\n".as_bytes());
        let set = set.unwrap();
        assert_eq!(set.columns, ["symbol", "name"]);
        assert_eq!((row(&set, 0), row(&set, 1)), (vec!["AAPL", "Apple, Inc."], vec!["MSFT", "Microsoft"]));
    }

    #[test]
    fn json_is_an_array_of_objects_or_of_values() {
        let set = DataSet::read("a.JSON", br#"[{"a": "x", "b": 1}, {"b": true, "a": null, "c": 0}]"#).unwrap();
        assert_eq!((set.columns.clone(), row(&set, 1)), (vec!["a".to_owned(), "b".to_owned()], vec!["null", "true"]));
        let set = DataSet::read("a.json", br#"["x", 2]"#).unwrap();
        assert_eq!((set.columns.clone(), row(&set, 1)), (vec![VALUE.to_owned()], vec!["2"]));
    }

    #[test]
    fn what_is_not_whole_is_a_fault() {
        let fault = |name: &str, text: &str| DataSet::read(name, text.as_bytes()).unwrap_err();
        assert!(fault("a.csv", "a,b\n").contains("no rows"));
        assert!(fault("a.csv", "a,b\n1\n").contains("line: 2"));
        assert!(fault("a.csv", "a,a\n1,2\n").contains("two columns"));
        assert!(fault("a.json", "{}").contains("no JSON array"));
        assert!(fault("a.json", "[]").contains("no rows"));
        assert!(fault("a.json", r#"[{"a":1},{"b":1}]"#).contains("element 1 has no \"a\""));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (DataSet::read("a.csv", &bytes), DataSet::read("a.json", &bytes));
        }
    }
}
