use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The processes that a service starts as its runtime and as its external extensions. They report
/// that they have been started, and carry out [orders](Order); the player acts in their place.
#[derive(Debug)]
pub struct Bootstrap {
    folder: PathBuf,
    told: PathBuf,
    patience: Duration,
    /// The open pipes for orders. One that is opened again for each order can lose it.
    pipes: Mutex<BTreeMap<PathBuf, File>>,
}

/// A process of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// The runtime.
    Runtime,
    /// The external extension of this name.
    Extension(String),
}

/// What the player has a process do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Write this line a number of times.
    Print {
        /// The line, without its end.
        text: String,
        /// How many times.
        times: u32,
        /// To standard error instead of standard output.
        to_stderr: bool,
    },
    /// Exit with this code.
    Exit(u8),
}

/// The name of the pipe for orders to the runtime.
const RUNTIME_ORDERS: &str = "started.orders";

/// How long a service may take to start a process, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

impl Process {
    /// The name in the vectors.
    pub fn name(&self) -> &str {
        match self {
            Self::Runtime => "runtime",
            Self::Extension(name) => name,
        }
    }
}

impl From<String> for Process {
    fn from(name: String) -> Self {
        if name == "runtime" { Self::Runtime } else { Self::Extension(name) }
    }
}

impl Bootstrap {
    /// The program, which needs the [`VARIABLE`](Self::VARIABLE). An external extension is the same
    /// program under another name.
    pub fn program() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/service/bootstrap"))
    }

    /// The environment variable with the path of the file to which the runtime writes
    /// `AWS_LAMBDA_RUNTIME_API`. External extensions append `.` and their name to the path.
    pub const VARIABLE: &'static str = "CONFORMANCE_STARTED";

    /// A bootstrap with a folder of its own.
    ///
    /// # Errors
    ///
    /// The reason as text, if the folder cannot be created.
    pub fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lambda-conformance-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _there_is_mostly_none = fs::remove_dir_all(&folder);
        // A service may run its processes as another user.
        fs::create_dir(&folder)
            .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let (told, pipes) = (folder.join("started"), Mutex::default());
        Ok(Self { folder, told, patience: PATIENCE, pipes })
    }

    /// Sets how long a service may take to start a process; 30 s by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The value of the [`VARIABLE`](Self::VARIABLE).
    pub fn file(&self) -> &Path {
        &self.told
    }

    /// A folder with a program for each of these external extensions, as `/opt/extensions` has them.
    /// It is removed with this.
    ///
    /// # Errors
    ///
    /// The reason as text, if it cannot be created.
    pub fn extensions(&self, names: &[String]) -> Result<PathBuf, String> {
        let folder = self.folder.join("opt").join("extensions");
        let at = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(at)?;
        for name in names {
            // A copy could not be executed while another thread that forks still holds it open. A
            // user who may not read this folder can execute a hard link.
            let (program, link) = (Self::program(), folder.join(name));
            fs::hard_link(&program, &link)
                .or_else(|_| std::os::unix::fs::symlink(&program, &link))
                .map_err(at)?;
        }
        Ok(folder)
    }

    /// Waits, within its [`patience`](Self::patience), until this process has been started since the
    /// last call. Returns the address of the Runtime API that it was given.
    ///
    /// # Errors
    ///
    /// The reason as text.
    pub fn await_start(&self, process: &Process) -> Result<SocketAddr, String> {
        let file = self.file_of(process, "");
        let told = self.await_file(&file)?;
        told.parse().map_err(|_| format!("{told:?} is not an address"))
    }

    /// Whether this process is started within this time.
    pub fn starts_within(&self, process: &Process, time: Duration) -> bool {
        let (file, began) = (self.file_of(process, ""), Instant::now());
        while !file.exists() {
            if began.elapsed() > time {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Has a process that has been started carry out an order, and waits until it has, unless it is
    /// to exit.
    ///
    /// # Errors
    ///
    /// The reason as text. A service that starts no processes cannot carry out orders.
    pub fn order(&self, process: &Process, order: &Order) -> Result<(), String> {
        let pipe = self.file_of(process, ".orders");
        let at = |error: io::Error| format!("{}: {error}", pipe.display());
        let line = match order {
            Order::Exit(code) => format!("exit {code}\n"),
            Order::Print { text, times, to_stderr } => {
                format!("print {times} {} {text}\n", if *to_stderr { 2 } else { 1 })
            }
        };
        self.write(&pipe, line.as_bytes()).map_err(at)?;
        let done = self.file_of(process, ".done");
        self.await_file(&done).map(drop)
    }

    /// Has each external extension exit that has been started, and does not wait for that: a service
    /// that is ended then need not wait for them.
    pub fn dismiss(&self) {
        let pipes = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        for pipe in pipes.map(|it| it.path()) {
            let name = pipe.file_name().unwrap_or_default().to_string_lossy();
            // That of the runtime has no name of an extension between.
            if name.starts_with("started.") && name.ends_with(".orders") && name != RUNTIME_ORDERS {
                let _best_effort = self.write(&pipe, b"exit 0\n");
            }
        }
    }

    /// Writes into a pipe, which is opened also for reading, so that this does not wait for a reader.
    fn write(&self, pipe: &Path, line: &[u8]) -> io::Result<()> {
        let mut pipes = self.pipes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let open = match pipes.entry(pipe.to_owned()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                place.insert(OpenOptions::new().read(true).write(true).open(pipe)?)
            }
        };
        open.write_all(line)
    }

    fn file_of(&self, process: &Process, suffix: &str) -> PathBuf {
        let mut path = self.told.clone().into_os_string();
        if let Process::Extension(name) = process {
            path.push(".");
            path.push(name);
        }
        path.push(suffix);
        path.into()
    }

    /// Waits for a file that ends with a line end, removes it, and returns its text before that.
    fn await_file(&self, file: &Path) -> Result<String, String> {
        let began = Instant::now();
        loop {
            let told = fs::read_to_string(file).unwrap_or_default();
            if let Some(told) = told.strip_suffix('\n') {
                fs::remove_file(file).map_err(|error| error.to_string())?;
                return Ok(told.to_owned());
            }
            if began.elapsed() > self.patience {
                let (file, seconds) = (file.display(), self.patience.as_secs());
                return Err(format!("nothing was written to {file} within {seconds} s"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    fn start(bootstrap: &Bootstrap, program: &Path, port: u16) -> Child {
        Command::new(program)
            .env(Bootstrap::VARIABLE, bootstrap.file())
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn each_start_is_reported_once_with_the_address() {
        let bootstrap = Bootstrap::new().unwrap();
        for port in [1, 2] {
            let mut child = start(&bootstrap, &Bootstrap::program(), port);
            let address = bootstrap.await_start(&Process::Runtime);
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(address, Ok(([127, 0, 0, 1], port).into()));
            assert!(!bootstrap.starts_within(&Process::Runtime, Duration::ZERO));
        }
    }

    #[test]
    fn the_processes_report_under_their_names_and_carry_out_orders() {
        let bootstrap = Bootstrap::new().unwrap();
        let names = ["one".to_owned(), "other".to_owned()];
        let folder = bootstrap.extensions(&names).unwrap();
        for name in names {
            let mut child = start(&bootstrap, &folder.join(&name), 3);
            let process = Process::from(name);
            assert_eq!(bootstrap.await_start(&process), Ok(([127, 0, 0, 1], 3).into()));
            for (text, times, to_stderr) in [("{\"a\": \"%s\\n\"}", 2, false), ("é", 1, true)] {
                let order = Order::Print { text: text.into(), times, to_stderr };
                bootstrap.order(&process, &order).unwrap();
            }
            bootstrap.order(&process, &Order::Exit(3)).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(3));
            let (mut stdout, mut stderr) = (String::new(), String::new());
            child.stdout.unwrap().read_to_string(&mut stdout).unwrap();
            child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!(stdout, "{\"a\": \"%s\\n\"}\n{\"a\": \"%s\\n\"}\n");
            assert_eq!(stderr, "é\n");
        }
        assert!(!bootstrap.starts_within(&Process::Runtime, Duration::ZERO));
    }

    #[test]
    fn extensions_are_dismissed_whatever_they_do_and_the_runtime_is_not() {
        let bootstrap = Bootstrap::new().unwrap();
        let folder = bootstrap.extensions(&["one".to_owned()]).unwrap();
        let mut one = start(&bootstrap, &folder.join("one"), 3);
        let mut runtime = start(&bootstrap, &Bootstrap::program(), 3);
        bootstrap.await_start(&Process::Extension("one".into())).unwrap();
        bootstrap.await_start(&Process::Runtime).unwrap();
        bootstrap.dismiss();
        assert_eq!(one.wait().unwrap().code(), Some(0));
        assert!(runtime.try_wait().unwrap().is_none());
        bootstrap.order(&Process::Runtime, &Order::Exit(4)).unwrap();
        assert_eq!(runtime.wait().unwrap().code(), Some(4));
    }

    #[test]
    fn a_process_that_is_not_there_gets_no_orders() {
        let bootstrap = Bootstrap::new().unwrap();
        let error = bootstrap.order(&Process::Runtime, &Order::Exit(0)).unwrap_err();
        assert!(error.contains("started.orders"), "{error}");
    }
}
