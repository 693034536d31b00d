//! What content needs besides its bundle: virtual environments for Python, built once per set of requirements and
//! shared by all who need it; and for R the packages that are installed here, for there is no other source of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::guard::Limits;
use super::log::JobLog;
use super::process::{Launch, Program};

/// What serves applications; installed into each environment besides what the bundle asks for.
const SERVERS: [&str; 3] = ["waitress>=3", "uvicorn>=0.30", "websockets>=12"];
/// How long an installer may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Lines of an installer's output that a failed task shows.
const SHOWN: usize = 40;
/// Options of a requirements file that name no other file.
const HARMLESS: [&str; 5] = ["--index-url", "--extra-index-url", "--no-binary", "--only-binary", "--hash"];

/// Says a line of a task's log.
pub(super) type Say<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Environments in a folder, and what is known of R.
#[derive(Debug)]
pub(super) struct Environments {
    guard: PathBuf,
    root: PathBuf,
    scripts: PathBuf,
    /// One builder of an environment at a time; the others of this process wait here, those of others at a file's lock.
    building: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    r: tokio::sync::Mutex<Option<Library>>,
}

/// The R that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Library {
    version: String,
    packages: HashMap<String, String>,
}

/// What a bundle of Python asks for.
#[derive(Debug, Clone)]
pub(super) struct PythonNeeds {
    /// The version that it was made with.
    pub(super) version: String,
    pub(super) directory: PathBuf,
    pub(super) package_file: PathBuf,
    pub(super) bundle: i64,
}

impl Environments {
    /// In that folder, which is made.
    pub(super) fn new(guard: &Path, root: PathBuf, scripts: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        let (guard, scripts) = (guard.to_owned(), scripts.to_owned());
        Ok(Self { guard, root, scripts, building: Mutex::default(), r: tokio::sync::Mutex::default() })
    }

    /// The Python of an environment that has what is asked for, built where there is none yet. The error is what a
    /// person needs to mend it.
    pub(super) async fn python(&self, needs: &PythonNeeds, say: Say<'_>) -> Result<PathBuf, String> {
        let (interpreter, version) = self.interpreter(&needs.version).await?;
        say(format!("Bundle was made with Python {}; using Python {version}.", needs.version));
        let unreadable = |error| format!("the package file cannot be read: {error}");
        let requirements = tokio::fs::read(&needs.package_file).await.map_err(unreadable)?;
        let name = fingerprint(&interpreter, &version, &requirements, needs.bundle);
        let (place, python) = (self.root.join(&name), self.root.join(&name).join("bin/python"));
        let turn = Arc::clone(self.lock_building().entry(name.clone()).or_default());
        let _turn = turn.lock().await;
        if python.exists() {
            say("Restoring packages from the cache...".to_owned());
            return Ok(python);
        }
        let _lock = self.lock_file(&name).await?;
        // Another process may have built it while we waited.
        if !python.exists() {
            self.build(&interpreter, &place, needs, say).await?;
        }
        Ok(python)
    }

    /// Checks the manifest's packages against those that are installed, and gives R's version.
    pub(super) async fn r(&self, platform: &str, packages: &Value, say: Say<'_>) -> Result<(), String> {
        let wanted: Vec<(&str, &str)> = packages
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, package)| {
                (name.as_str(), package.pointer("/description/Version").and_then(Value::as_str).unwrap_or_default())
            })
            .collect();
        let mut known = self.r.lock().await;
        let lacks = |library: &Library| {
            wanted
                .iter()
                .chain(&[("plumber", ""), ("httpuv", "")])
                .any(|(name, _)| !library.packages.contains_key(*name))
        };
        // Whoever installs what was missing does not have to start the sandbox again.
        if known.as_ref().is_none_or(lacks) {
            *known = Some(self.installed().await?);
        }
        let Some(library) = known.as_ref() else { return Err("R does not answer".to_owned()) };
        say(format!("Bundle was made with R {platform}; using R {}.", library.version));
        check_packages(library, &wanted, say)
    }

    async fn build(&self, interpreter: &Path, place: &Path, needs: &PythonNeeds, say: Say<'_>) -> Result<(), String> {
        let fault = |error: std::io::Error| format!("the environment cannot be written: {error}");
        // Only one builds it at a time: what is there already is from one that was killed.
        let name = format!(".building-{}", place.file_name().unwrap_or_default().display());
        let _ = std::fs::remove_dir_all(self.root.join(&name));
        let work = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in(&self.root).map_err(fault)?;
        let venv = work.path().join("venv");
        let python = venv.join("bin/python");
        let arg = |path: &Path| path.as_os_str().to_owned();
        let text = |text: &str| OsString::from(text);
        let servers = SERVERS.iter().map(|server| text(server));
        let requirements = [text("-r"), arg(&needs.package_file)];
        let (tool, make, install) = match which("uv") {
            Some(uv) => (
                "uv",
                (uv.clone(), vec![text("venv"), text("--quiet"), text("--python"), arg(interpreter), arg(&venv)]),
                (uv, vec![text("pip"), text("install"), text("--python"), arg(&python)]),
            ),
            None => (
                "pip",
                (interpreter.to_owned(), vec![text("-m"), text("venv"), arg(&venv)]),
                (python, vec![text("-m"), text("pip"), text("install"), text("--no-input")]),
            ),
        };
        say(format!("Restoring packages with {tool}..."));
        self.installer(make, needs, say).await?;
        let (program, options) = install;
        self.installer((program, options.into_iter().chain(requirements).chain(servers).collect()), needs, say).await?;
        std::fs::rename(&venv, place).map_err(fault)
    }

    /// Runs an installer to its end, every line of it in the task's log.
    async fn installer(
        &self,
        (program, arguments): (PathBuf, Vec<OsString>),
        needs: &PythonNeeds,
        say: Say<'_>,
    ) -> Result<(), String> {
        let launch = Launch {
            program,
            arguments,
            environment: vec![
                ("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".into()),
                ("UV_PYTHON_DOWNLOADS".to_owned(), "never".into()),
                ("UV_NO_PROGRESS".to_owned(), "1".into()),
            ],
            directory: needs.directory.clone(),
            // Compilers are many processes.
            limits: Limits { processes: 512, memory: 8 << 30, file_size: 4 << 30, ..Limits::default() },
            installs: true,
        };
        let (code, log) = self.run(&launch).await?;
        for line in log.tail(SHOWN) {
            say(line);
        }
        if code == 0 { Ok(()) } else { Err(format!("the packages could not be restored (exit status {code})")) }
    }

    async fn run(&self, launch: &Launch) -> Result<(i32, Arc<JobLog>), String> {
        let log = Arc::new(JobLog::default());
        let unstarted = |error| format!("{} cannot be started: {error}", launch.program.display());
        let program = Program::start(&self.guard, launch, &log).map_err(unstarted)?;
        let ended = tokio::time::timeout(PATIENCE, program.ended()).await;
        let late = |_| format!("{} took longer than {} s", launch.program.display(), PATIENCE.as_secs());
        Ok((ended.map_err(late)?, log))
    }

    /// The interpreter of that version, else the one that is there: its path and version.
    async fn interpreter(&self, version: &str) -> Result<(PathBuf, String), String> {
        let short: Vec<&str> = version.split('.').take(2).collect();
        let named = format!("python{}", short.join("."));
        let found = which(&named).or_else(|| which("python3"));
        let found = found.ok_or("no Python is installed here (python3 is not in PATH)")?;
        // Not a shim nor a virtual environment, but what is behind it.
        let ask = "import platform, sys; print(getattr(sys, '_base_executable', sys.executable)); \
                   print(platform.python_version())";
        match self.ask(found, &["-c", ask], true).await {
            Ok(lines) if lines.len() >= 2 => Ok((PathBuf::from(&lines[0]), lines[1].clone())),
            Ok(lines) => Err(format!("Python does not answer: {}", lines.join(" "))),
            // A shim of a version that is not installed.
            Err(_) if named != "python3" => Box::pin(self.interpreter("3")).await,
            Err(error) => Err(error),
        }
    }

    async fn installed(&self) -> Result<Library, String> {
        let rscript = which("Rscript").ok_or(
            "R is not installed here: Rscript is not in PATH (Debian: apt-get install r-base-core r-cran-plumber)",
        )?;
        let script = self.scripts.join("packages.R");
        let lines = self.ask(rscript, &["--vanilla", &script.to_string_lossy()], false).await?;
        let (version, packages) = lines.split_first().ok_or("R does not answer")?;
        let packages = packages.iter().filter_map(|line| line.split_once(' '));
        let packages = packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        Ok(Library { version: version.clone(), packages })
    }

    async fn ask(&self, program: PathBuf, arguments: &[&str], installs: bool) -> Result<Vec<String>, String> {
        let launch = Launch {
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: Vec::new(),
            directory: self.root.clone(),
            limits: Limits::default(),
            installs,
            program,
        };
        let (code, log) = self.run(&launch).await?;
        let lines = log.tail(usize::MAX);
        if code == 0 {
            return Ok(lines);
        }
        Err(format!("{} failed (exit status {code}): {}", launch.program.display(), lines.join("\n")))
    }

    /// Keeps other sandboxes on the same folder from building the same environment.
    async fn lock_file(&self, name: &str) -> Result<File, String> {
        let path = self.root.join(format!("{name}.lock"));
        let work = move || File::create(path).and_then(|file| file.lock().map(|()| file));
        let locked = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        locked.map_err(|error| format!("the environment cannot be locked: {error}"))
    }

    fn lock_building(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program in `PATH`.
pub(super) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|place| place.is_file())
}

/// The same fingerprint, the same environment. A requirements file that names other files stands for its bundle only.
fn fingerprint(interpreter: &Path, version: &str, requirements: &[u8], bundle: i64) -> String {
    let text = String::from_utf8_lossy(requirements);
    let names_files = |line: &str| {
        let line = line.trim();
        let option = line.starts_with('-') && !HARMLESS.iter().any(|harmless| line.starts_with(harmless));
        option || line.starts_with(['.', '/']) || line.contains("file:") || line.contains("@ .")
    };
    let bundle = if text.lines().any(names_files) { bundle } else { 0 };
    let mut hash = Sha256::new();
    let interpreter = interpreter.to_string_lossy();
    for part in [interpreter.as_bytes(), version.as_bytes(), requirements, &bundle.to_le_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    SERVERS.iter().for_each(|server| hash.update(server));
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn check_packages(library: &Library, wanted: &[(&str, &str)], say: Say<'_>) -> Result<(), String> {
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for (name, version) in wanted {
        match library.packages.get(*name) {
            None => missing.push(if version.is_empty() { (*name).to_owned() } else { format!("{name} {version}") }),
            Some(there) if !version.is_empty() && there != version => {
                others.push(format!("{name} {there} (not {version})"));
            }
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let packages: Vec<String> = missing
            .iter()
            .map(|package| format!("r-cran-{}", package.split(' ').next().unwrap_or_default().to_lowercase()))
            .collect();
        say(format!("These R packages are not installed here: {}", missing.join(", ")));
        say(format!("The sandbox installs none. On Debian: apt-get install {}", packages.join(" ")));
        return Err(format!("{} of {} R packages are missing", missing.len(), wanted.len()));
    }
    if !others.is_empty() {
        say(format!("Installed in other versions than the bundle's: {}", others.join(", ")));
    }
    say(format!("All {} packages of the manifest are installed.", wanted.len()));
    for needed in ["plumber", "httpuv"] {
        if !library.packages.contains_key(needed) {
            return Err(format!("R has no {needed}, which serves the API (Debian: apt-get install r-cran-{needed})"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_requirements_have_one_environment_unless_they_name_files() {
        let of = |text: &str, bundle| fingerprint(Path::new("/usr/bin/python3"), "3.11.2", text.as_bytes(), bundle);
        assert_eq!(of("flask\n", 1), of("flask\n", 2));
        assert_ne!(of("flask\n", 1), of("flask==3\n", 1));
        assert_eq!(of("--index-url https://x/\nflask\n", 1), of("--index-url https://x/\nflask\n", 2));
        for files in ["-r more.txt", "-e .", "./wheel.whl", "x @ file:///x", "x @ ./x"] {
            assert_ne!(of(files, 1), of(files, 2), "{files}");
        }
        assert_ne!(fingerprint(Path::new("/a"), "3", b"", 0), fingerprint(Path::new("/a"), "4", b"", 0));
    }

    #[test]
    fn missing_packages_of_r_are_named_and_other_versions_are_told() {
        let package = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
        let packages = [("plumber", "1.2.1"), ("httpuv", "1.6.9")].map(package).into();
        let library = Library { version: "4.2.2".to_owned(), packages };
        let said = Mutex::new(Vec::new());
        let say = |line| said.lock().unwrap().push(line);
        assert_eq!(check_packages(&library, &[("plumber", "1.3.0")], &say), Ok(()));
        assert!(said.lock().unwrap()[0].contains("plumber 1.2.1 (not 1.3.0)"));
        said.lock().unwrap().clear();
        let wanted = [("plumber", ""), ("dplyr", "1.1.4"), ("R6", "")];
        assert_eq!(check_packages(&library, &wanted, &say), Err("2 of 3 R packages are missing".to_owned()));
        assert!(said.lock().unwrap()[0].contains("dplyr 1.1.4, R6") && said.lock().unwrap()[1].contains("r-cran-r6"));
    }
}
