//! Steps that publish, with a part that does what it is told.

use super::*;
use crate::steps::tests::Bench;

/// Makes parts whose actions can be told apart: a wait of so many seconds says what it is for.
#[derive(Debug)]
pub(in crate::steps) struct Scripted;

struct ScriptedPart {
    name: String,
    variables: Vec<(String, String)>,
    item: Option<String>,
    removing: bool,
    asked: bool,
}

impl Parts for Scripted {
    fn part(&self, step: &ConnectStep, first: SeriesId, vu: u32) -> Result<Box<dyn Part>, String> {
        let name = format!("{} {} of {vu}", step.bundle, first.0);
        Ok(Box::new(ScriptedPart { name, variables: Vec::new(), item: None, removing: false, asked: false }))
    }
}

/// Of a publish, and of a deletion.
const PUBLISHES: Duration = Duration::from_secs(10);
const DELETES: Duration = Duration::from_secs(20);

impl Program for ScriptedPart {
    fn next(&mut self, _now: Duration, _last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        if !std::mem::replace(&mut self.asked, true) {
            let what =
                format!("{} {} {:?}", if self.removing { "deletes" } else { "begins" }, self.name, self.variables);
            notes.events.push(what.into());
            return Action::Wait(if self.removing { DELETES } else { PUBLISHES });
        }
        self.asked = false;
        if std::mem::take(&mut self.removing) {
            self.item = None;
            return Action::End(true);
        }
        let fails = self.variables.iter().any(|(name, _)| name == "FAILS");
        self.item = (!fails).then(|| "guid-1".to_owned());
        Action::End(!fails)
    }

    fn interrupted(&mut self, _now: Duration, notes: &mut Notes) {
        notes.events.push(format!("interrupted {}", self.name).into());
        self.asked = false;
    }
}

impl Part for ScriptedPart {
    fn set_variables(&mut self, variables: Vec<(String, String)>) {
        self.variables = variables;
    }

    fn item(&self) -> Option<&str> {
        self.item.as_deref()
    }

    fn remove(&mut self) -> bool {
        self.removing = self.item.is_some();
        self.removing
    }
}

const LIFE: &str = r#"
[[steps.s]]
name = "app"
provision = "flask-stocks"
item = "app"
variables = { WHO = "${env.WHO} ${vu}/${iteration}" }

[[steps.s]]
name = "use"
get = "server:/content/${app}/x"
extract = { n = { json = "$.n" } }

[[steps.s]]
name = "more"
publish = "plumber-stocks"
into = "new"
"#;

fn waits(action: &Action) -> Option<Duration> {
    if let Action::Wait(pause) = action { Some(*pause) } else { None }
}

#[test]
fn what_is_provisioned_is_used_and_deleted_at_the_end_of_the_iteration() {
    let mut bench = Bench::new(LIFE);
    assert_eq!(waits(&bench.start()), Some(PUBLISHES));
    // A publish has seven series, of which the first is that of the step.
    assert_eq!(bench.notes.events.pop().unwrap(), r#"begins flask-stocks 4 of 0 [("WHO", "me&you 1/0")]"#);
    let Action::Exchange(fetch) = bench.start() else { panic!() };
    assert_eq!((fetch.series, fetch.request.target.path()), (SeriesId(11), "/connect/content/guid-1/x"));
    assert_eq!(waits(&bench.answer(200, &[], r#"{"n":1}"#)), Some(PUBLISHES));
    assert_eq!(bench.notes.events.pop().unwrap(), "begins plumber-stocks 12 of 0 []");
    assert_eq!(waits(&bench.start()), Some(DELETES));
    assert!(bench.notes.events.pop().unwrap().as_str().unwrap().starts_with("deletes flask"));
    assert!(matches!(bench.start(), Action::End(true)));
    assert_eq!(bench.notes.published, [true, true]);
}

#[test]
fn it_is_deleted_too_where_the_iteration_fails_in_between() {
    let mut bench = Bench::new(LIFE);
    bench.start();
    bench.start();
    assert_eq!(waits(&bench.answer(500, &[], "no JSON")), Some(DELETES));
    assert!(matches!(bench.start(), Action::End(false)));
    // And where it was cut off, the clean-up after the run has it: the next iteration begins anew.
    bench.start();
    bench.steps.interrupted(Duration::ZERO, &mut bench.notes);
    assert_eq!(bench.notes.events.pop().unwrap(), "interrupted flask-stocks 4 of 0");
    assert_eq!(waits(&bench.start()), Some(PUBLISHES));
}

#[test]
fn what_cannot_be_provisioned_ends_the_iteration_and_what_cannot_be_published_does_not() {
    let mut bench = Bench::new(&LIFE.replace("WHO =", "FAILS ="));
    bench.start();
    assert!(matches!(bench.start(), Action::End(false)));
    assert_eq!((bench.why(), bench.notes.published.as_slice()), ("there is no content item", &[false][..]));
    let mut bench = Bench::new(&LIFE.replace("into = \"new\"", "into = \"new\"\nvariables = { FAILS = \"yes\" }"));
    bench.start();
    bench.start();
    bench.answer(200, &[], r#"{"n":1}"#);
    assert_eq!(waits(&bench.start()), Some(DELETES));
    assert!(matches!(bench.start(), Action::End(false)));
    assert_eq!(bench.notes.published, [true, false]);
}
