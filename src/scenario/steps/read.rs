//! Reads `[[steps.NAME]]` and `[data.NAME]`; finds every fault before the first request.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use toml::de::{DeTable, DeValue};

use super::super::data::{DataSet, Order};
use super::super::reader::{Faults, Fields, Value, hint, json};
use super::super::template::{Part, Template, is_name};
use super::{
    BUILT_IN, Body, Data, Extract, Field, FieldContent, MOST_REDIRECTS, SocketScript, Step, StepFile, Think, connect,
    response, socket,
};
use crate::units::nearest;

pub(super) const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "websocket"];
/// What publishes.
pub(super) const PUBLISHES: [&str; 2] = ["publish", "provision"];
/// Keys of such a step.
pub(super) const PUBLISHING: [&str; 7] = ["publish", "provision", "into", "item", "access", "variables", "path"];
/// What else a session has.
pub(super) const SESSION: [&str; 3] = ["protocols", "maxMessage", "actions"];
pub(super) const BODIES: [&str; 5] = ["json", "form", "body", "file", "multipart"];
pub(super) const OTHERS: [&str; 12] = [
    "name",
    "headers",
    "query",
    "timeout",
    "redirects",
    "expect",
    "checks",
    "extract",
    "think",
    "auth",
    "group",
    "tags",
];
/// Keys of a field of a multipart body.
pub(super) const PART: [&str; 5] = ["name", "value", "file", "filename", "contentType"];
/// Keys of a pause; it has both.
pub(super) const PAUSE: [&str; 2] = ["min", "max"];
/// Keys of data.
pub(super) const DATA: [&str; 2] = ["file", "order"];
/// Variables that there always are: no name of data or of what is extracted.
pub(super) const TAKEN: [&str; 3] = ["vu", "iteration", "env"];
/// What else a step may have variables in, beside its URL: everything below these keys,
const FREE: [&str; 6] = ["query", "headers", "json", "form", "body", "variables"];
/// and these keys below the others.
const TESTED: [&str; 5] = ["bodyContains", "bodyEquals", "equals", "contains", "value"];
/// Headers that the client writes itself.
const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "user-agent"];

/// A step list that a scenario runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListUse {
    /// The scenario.
    pub scenario: String,
    /// The list.
    pub list: String,
    /// Names of its `env`, and of that of the whole file.
    pub env: BTreeSet<String>,
}

/// Reads what a document says about steps; the files that it names are looked for below `directory`.
pub(in crate::scenario) fn read(
    document: &DeTable<'_>,
    directory: &Path,
    uses: &[ListUse],
    faults: &Faults<'_>,
) -> StepFile {
    let mut reader = Reader { directory, uses, faults, files: BTreeMap::new() };
    let data = reader.data(document);
    let lists = reader.lists(document, &data);
    reader.uses(document, &lists);
    StepFile { lists, data, files: reader.files }
}

/// Every key of a step.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    OTHERS.iter().chain(&METHODS).chain(&BODIES).chain(&SESSION).chain(&PUBLISHING).copied()
}

/// Whether it is a key of a step; of one that is not a fault is told already.
pub(super) fn is_key(key: &str) -> bool {
    keys().any(|known| known == key)
}

struct Reader<'a> {
    directory: &'a Path,
    uses: &'a [ListUse],
    faults: &'a Faults<'a>,
    files: BTreeMap<String, Bytes>,
}

/// The variables that a step may use.
struct Scope<'a> {
    data: &'a BTreeMap<String, Data>,
    /// Of every scenario that runs the list; `None` where none does.
    env: Option<BTreeSet<String>>,
    extracted: BTreeSet<String>,
}

impl Reader<'_> {
    fn data(&self, document: &DeTable<'_>) -> BTreeMap<String, Data> {
        let mut all = BTreeMap::new();
        let Some(data) = self.table(document, "data") else { return all };
        for (name, value) in data {
            let (name, span) = (name.get_ref().as_ref(), name.span());
            let place = format!("data.{name}");
            if !is_name(name) || TAKEN.contains(&name) {
                self.faults.add(span, &place, "this cannot be the name of data");
            }
            let Some(fields) = Fields::of(value, &place, &DATA, self.faults) else { continue };
            let order = fields.parsed("order", |text| {
                let names = Order::NAMES.map(|(name, _)| name);
                let found = Order::NAMES.iter().find(|(name, _)| *name == text).map(|(_, order)| *order);
                found.ok_or_else(|| format!("there is no `{text}`{}", hint(text, &names)))
            });
            if !fields.has("file") {
                fields.fault("`file` is missing");
            }
            let set = fields.parsed("file", |file| {
                let bytes = load(self.directory, file)?;
                DataSet::read(file, &bytes).map_err(|what| format!("{file}: {what}"))
            });
            if let (Some(set), Some(file)) = (set, fields.text("file")) {
                let (file, order, set) = (file.to_owned(), order.unwrap_or_default(), Arc::new(set));
                all.insert(name.to_owned(), Data { file, order, set });
            }
        }
        all
    }

    fn table<'d>(&self, document: &'d DeTable<'d>, key: &str) -> Option<&'d DeTable<'d>> {
        let value = document.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.faults.add(value.span(), key, "a table of names is expected");
        }
        table
    }

    fn lists(&mut self, document: &DeTable<'_>, data: &BTreeMap<String, Data>) -> BTreeMap<String, Vec<Step>> {
        let mut lists = BTreeMap::new();
        let Some(steps) = self.table(document, "steps") else { return lists };
        for (name, value) in steps {
            let (list, span) = (name.get_ref().as_ref(), name.span());
            let place = format!("steps.{list}");
            if !is_name(list) || BUILT_IN.contains(&list) {
                self.faults.add(span.clone(), &place, "this cannot be the name of a step list");
            }
            let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
                self.faults.add(span, &place, format!("a list of steps is expected: [[steps.{list}]]"));
                continue;
            };
            let mut scope = Scope { data, env: self.env(list), extracted: BTreeSet::new() };
            let mut read: Vec<Step> = Vec::new();
            for (at, value) in array.iter().enumerate() {
                if let Some(step) = self.step(list, at, value, &mut scope) {
                    if read.iter().any(|other| other.name == step.name) {
                        let what = format!("a second step of the name {:?}", step.name);
                        self.faults.add(value.span(), &place, what);
                    }
                    read.push(step);
                }
            }
            lists.insert(list.to_owned(), read);
        }
        lists
    }

    /// The environment that every scenario has which runs the list.
    fn env(&self, list: &str) -> Option<BTreeSet<String>> {
        let mut used = self.uses.iter().filter(|used| used.list == list).map(|used| used.env.clone());
        let first = used.next()?;
        Some(used.fold(first, |all, env| all.intersection(&env).cloned().collect()))
    }

    fn step(&mut self, list: &str, at: usize, value: &Value<'_>, scope: &mut Scope<'_>) -> Option<Step> {
        let name = value.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        let place = match name {
            Some(name) => format!("steps.{list}, step {name:?}"),
            None => format!("steps.{list}, step number {}", at + 1),
        };
        let known: Vec<&str> = keys().collect();
        let fields = Fields::of(value, &place, &known, self.faults)?;
        self.variables(&fields, scope);
        let name = fields.text("name").unwrap_or_default();
        if name.is_empty() || name.contains(char::is_control) || name.len() > 80 {
            fields.fault("`name` is missing, too long or not printable");
        }
        let (method, url) = method(&fields);
        let extract = response::extract(&fields);
        extract.iter().for_each(|extract| scope.take(&fields, &extract.variable));
        let websocket = self.websocket(&fields, scope);
        let connect = connect::connect(&fields, self.directory);
        if let Some(item) = connect.as_ref().and_then(|connect| connect.item.as_ref()) {
            scope.take(&fields, item);
        }
        let tags = fields.templates("tags").into_iter().map(|(name, tag)| (name, tag.to_string())).collect();
        let redirects = fields.whole("redirects", MOST_REDIRECTS).unwrap_or(10);
        Some(Step {
            name: name.to_owned(),
            method,
            url,
            query: fields.templates("query"),
            headers: headers(&fields),
            body: self.body(&fields),
            timeout: fields.duration("timeout"),
            redirects: u32::try_from(redirects).unwrap_or(10),
            auth: fields.boolean("auth"),
            expect: response::expect(&fields),
            checks: response::checks(&fields),
            extract,
            think: think(&fields),
            group: fields.text("group").map(str::to_owned),
            tags,
            websocket,
            connect,
        })
    }

    fn websocket(&mut self, fields: &Fields<'_>, scope: &mut Scope<'_>) -> Option<SocketScript> {
        // Each of the three wants something of the scope or of the reader, one after the other.
        let scope = RefCell::new(scope);
        let see = |fields: &Fields<'_>, value: &Value<'_>| look(fields, value, None, &scope.borrow());
        let take = |fields: &Fields<'_>, extract: &Extract| scope.borrow_mut().take(fields, &extract.variable);
        socket::script(fields, see, |fields, key| self.file_of(fields, key), take)
    }

    fn body(&mut self, fields: &Fields<'_>) -> Body {
        let given: Vec<&str> = BODIES.into_iter().filter(|key| fields.has(key)).collect();
        if let [first, second, ..] = given.as_slice() {
            fields.fault(format!("a request has one body, not `{first}` and `{second}`"));
        }
        match given.first().copied() {
            Some("json") => match fields.get("json").and_then(|value| json(value.get_ref())) {
                Some(value) => Body::Json(value),
                None => {
                    fields.fault("`json` has a number that JSON does not have");
                    Body::None
                }
            },
            Some("form") => Body::Form(fields.templates("form")),
            Some("body") => Body::Text(fields.template("body").unwrap_or_default()),
            Some("file") => Body::File(self.file(fields).unwrap_or_default()),
            Some("multipart") => Body::Multipart(self.multipart(fields)),
            _ => Body::None,
        }
    }

    fn file(&mut self, fields: &Fields<'_>) -> Option<String> {
        self.file_of(fields, "file")
    }

    fn file_of(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let file = fields.text(key)?;
        if !self.files.contains_key(file) {
            let bytes = fields.parsed(key, |file| load(self.directory, file))?;
            self.files.insert(file.to_owned(), bytes);
        }
        Some(file.to_owned())
    }

    fn multipart(&mut self, fields: &Fields<'_>) -> Vec<Field> {
        let mut read = Vec::new();
        for value in fields.list("multipart") {
            let Some(part) = Fields::of(value, fields.place, &PART, fields.faults) else { continue };
            let name = part.text("name").unwrap_or_default().to_owned();
            let filename = part.text("filename").map(str::to_owned);
            let content_type = part.text("contentType").map(str::to_owned);
            let unprintable = |text: &str| text.contains(|c: char| c.is_control() || c == '"');
            if name.is_empty()
                || [Some(&name), filename.as_ref(), content_type.as_ref()].into_iter().flatten().any(|t| unprintable(t))
            {
                part.fault("a field has a `name`, and no name has quotes or control characters");
            }
            let content = match (part.has("value"), part.has("file")) {
                (true, false) => FieldContent::Value(part.template("value").unwrap_or_default()),
                (false, true) => FieldContent::File(self.file(&part).unwrap_or_default()),
                _ => {
                    part.fault("a field has either a `value` or a `file`");
                    continue;
                }
            };
            let told = match &content {
                FieldContent::File(file) => Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned()),
                FieldContent::Value(_) => None,
            };
            read.push(Field { name, content, filename: filename.or(told), content_type });
        }
        read
    }

    /// Looks at every text of a step that may have variables.
    fn variables(&self, fields: &Fields<'_>, scope: &Scope<'_>) {
        for (key, value) in fields.table {
            let key = key.get_ref().as_ref();
            if FREE.contains(&key) || METHODS.contains(&key) {
                look(fields, value, None, scope);
            } else if ["expect", "checks", "multipart"].contains(&key) {
                look(fields, value, Some(&TESTED), scope);
            }
        }
    }

    /// Every list that is run exists.
    fn uses(&self, document: &DeTable<'_>, lists: &BTreeMap<String, Vec<Step>>) {
        let known: Vec<&str> = BUILT_IN.into_iter().chain(lists.keys().map(String::as_str)).collect();
        for used in self.uses.iter().filter(|used| !lists.contains_key(&used.list)) {
            let scenario = document.get("scenarios").and_then(|all| all.get_ref().get(used.scenario.as_str()));
            let exec = scenario.and_then(|scenario| scenario.get_ref().get("exec"));
            let span = exec.map_or(0..0, toml::Spanned::span);
            let place = format!("scenarios.{}", used.scenario);
            let what = format!("`exec`: there are no steps `{}`{}", used.list, hint(&used.list, &known));
            self.faults.add(span, &place, what);
        }
    }
}

/// Looks at a text, or at the texts in a list or below the given keys of a table.
fn look(fields: &Fields<'_>, value: &Value<'_>, only: Option<&[&str]>, scope: &Scope<'_>) {
    match value.get_ref() {
        DeValue::String(text) => match text.parse::<Template>() {
            Ok(template) => {
                for what in template.variables().filter_map(|name| scope.knows(name).err()) {
                    fields.fault_at(value, what);
                }
            }
            Err(e) => fields.fault_at(value, e.to_string()),
        },
        DeValue::Array(list) => list.iter().for_each(|value| look(fields, value, only, scope)),
        DeValue::Table(table) => {
            let asked = table.iter().filter(|(key, _)| only.is_none_or(|only| only.contains(&key.get_ref().as_ref())));
            asked.for_each(|(_, value)| look(fields, value, None, scope));
        }
        _ => {}
    }
}

impl Scope<'_> {
    /// From here on there is this variable.
    fn take(&mut self, fields: &Fields<'_>, variable: &str) {
        if self.data.contains_key(variable) || TAKEN.contains(&variable) {
            fields.fault(format!("`extract.{variable}`: this name is taken"));
        }
        self.extracted.insert(variable.to_owned());
    }

    fn knows(&self, variable: &str) -> Result<(), String> {
        let unknown = |what: String| Err(format!("`${{{variable}}}`: {what}"));
        match variable.split_once('.') {
            None if ["vu", "iteration"].contains(&variable) || self.extracted.contains(variable) => Ok(()),
            None => {
                let near = nearest(variable, self.extracted.iter().map(String::as_str).chain(["vu", "iteration"]));
                let near = near.map(|near| format!("; did you mean `${{{near}}}`?")).unwrap_or_default();
                unknown(format!("no step before this one extracts it{near}"))
            }
            Some(("env", name)) => match &self.env {
                Some(env) if !env.contains(name) => {
                    let known: Vec<&str> = env.iter().map(String::as_str).collect();
                    unknown(format!("no `env` has {name:?} for every scenario that runs this{}", hint(name, &known)))
                }
                _ => Ok(()),
            },
            Some((data, column)) => match self.data.get(data) {
                None => {
                    let known: Vec<&str> = self.data.keys().map(String::as_str).chain(["env"]).collect();
                    unknown(format!("there is no [data.{data}]{}", hint(data, &known)))
                }
                Some(data) if !data.set.columns.iter().any(|known| known == column) => {
                    let known: Vec<&str> = data.set.columns.iter().map(String::as_str).collect();
                    unknown(format!("{} has no column {column:?}{}", data.file, hint(column, &known)))
                }
                Some(_) => Ok(()),
            },
        }
    }
}

fn load(directory: &Path, file: &str) -> Result<Bytes, String> {
    let path = directory.join(file);
    let meta = std::fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if !meta.is_file() {
        return Err(format!("{}: this is no file", path.display()));
    }
    std::fs::read(&path).map(Bytes::from).map_err(|e| format!("{}: {e}", path.display()))
}

fn method(fields: &Fields<'_>) -> (String, Template) {
    let given: Vec<&str> = METHODS.into_iter().chain(PUBLISHES).filter(|method| fields.has(method)).collect();
    let [method] = given.as_slice() else {
        let (methods, publishes) = (METHODS.join(", "), PUBLISHES.join(" and "));
        fields.fault(format!("a step has one of {methods}: the URL of its request; or {publishes}: an application"));
        return Default::default();
    };
    if PUBLISHES.contains(method) {
        return Default::default();
    }
    let url = fields.template(method).unwrap_or_default();
    if let (Err(what), Some(value)) = (check_url(&url), fields.get(method)) {
        fields.fault_at(value, format!("`{method}`: {what}"));
    }
    // What opens a session is a GET.
    (if *method == "websocket" { "GET".to_owned() } else { method.to_ascii_uppercase() }, url)
}

fn check_url(url: &Template) -> Result<(), String> {
    let written = url.to_string();
    if written.contains('#') {
        return Err("a fragment (#) is never sent to a server".to_owned());
    }
    match url.parts().first() {
        None => Err("the URL is empty; \"/\" is the content item itself".to_owned()),
        Some(Part::Variable(_)) => Ok(()),
        Some(Part::Text(text)) => match text.split_once(':') {
            Some(("http" | "https", rest)) => {
                let whole = rest.trim_start_matches('/').contains('/') || url.parts().len() == 1;
                let parsed = url::Url::parse(text).map_err(|e| e.to_string());
                parsed.and_then(|_| if whole { Ok(()) } else { Err("the host may not be a variable".to_owned()) })
            }
            Some(("server", rest)) if rest.starts_with('/') || (rest.is_empty() && url.parts().len() > 1) => Ok(()),
            _ if text.starts_with('/') => Ok(()),
            _ => Err("a URL begins with \"/\" (below the content item), \"server:/\" or http".to_owned()),
        },
    }
}

fn headers(fields: &Fields<'_>) -> Vec<(String, Template)> {
    let headers = fields.templates("headers");
    for (name, value) in &headers {
        let lower = name.to_ascii_lowercase();
        let fixed = value.parts().iter().all(|part| matches!(part, Part::Text(_)));
        let text = value.to_string();
        if HeaderName::from_bytes(name.as_bytes()).is_err() || (fixed && HeaderValue::from_str(&text).is_err()) {
            fields.fault(format!("`headers.{name}` cannot be sent"));
        } else if OURS.contains(&lower.as_str()) {
            fields.fault(format!("`headers.{name}` is written by connect-bench itself"));
        } else if lower == "authorization" && text.trim_start().to_ascii_lowercase().starts_with("key ") {
            fields.fault("`headers.authorization`: a key does not belong into a file; `auth = true` sends yours");
        }
    }
    headers
}

pub(super) fn think(fields: &Fields<'_>) -> Option<Think> {
    let value = fields.get("think")?;
    if value.get_ref().is_str() {
        return fields.duration("think").map(|think| Think { min: think, max: think });
    }
    let pause = Fields::of(value, fields.place, &PAUSE, fields.faults)?;
    match (pause.duration("min"), pause.duration("max")) {
        (Some(min), Some(max)) if min <= max => Some(Think { min, max }),
        _ => {
            pause.fault("`think` is a duration, or { min = …, max = … } with min not above max");
            None
        }
    }
}
