use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The bootstrap that a service starts as its runtime. It only reports that it has been started;
/// the player acts as the runtime.
#[derive(Debug)]
pub struct Bootstrap {
    told: PathBuf,
    patience: Duration,
}

/// How long a service may take to start the bootstrap, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

impl Bootstrap {
    /// The program, which needs the [`VARIABLE`](Self::VARIABLE).
    pub fn program() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/service/bootstrap"))
    }

    /// The environment variable with the path of the file to which it writes
    /// `AWS_LAMBDA_RUNTIME_API`.
    pub const VARIABLE: &'static str = "CONFORMANCE_STARTED";

    /// A bootstrap with its own file.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lambda-conformance-{}-{number}", std::process::id());
        let told = std::env::temp_dir().join(name);
        let _there_is_mostly_none = fs::remove_file(&told);
        Self { told, patience: PATIENCE }
    }

    /// Sets how long a service may take to start the bootstrap; 30 s by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The value of the [`VARIABLE`](Self::VARIABLE).
    pub fn file(&self) -> &Path {
        &self.told
    }

    /// Waits, within its [`patience`](Self::patience), until the bootstrap has been started since
    /// the last call. Returns the address of the Runtime API that it was given.
    ///
    /// # Errors
    ///
    /// The reason as text.
    pub fn await_start(&self) -> Result<SocketAddr, String> {
        let began = Instant::now();
        loop {
            let told = fs::read_to_string(&self.told).unwrap_or_default();
            if let Some(address) = told.strip_suffix('\n') {
                fs::remove_file(&self.told).map_err(|error| error.to_string())?;
                return address.parse().map_err(|_| format!("{address:?} is not an address"));
            }
            if began.elapsed() > self.patience {
                let (file, seconds) = (self.told.display(), self.patience.as_secs());
                return Err(format!("nothing was written to {file} within {seconds} s"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        let _may_not_be_there = fs::remove_file(&self.told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn each_start_is_reported_once_with_the_address() {
        let bootstrap = Bootstrap::new();
        for port in [1, 2] {
            let mut child = Command::new(Bootstrap::program())
                .env(Bootstrap::VARIABLE, bootstrap.file())
                .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
                .spawn()
                .unwrap();
            let address = bootstrap.await_start();
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(address, Ok(([127, 0, 0, 1], port).into()));
            assert!(!bootstrap.file().exists());
        }
    }
}
