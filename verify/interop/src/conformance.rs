//! Plays the vectors for services of `conformance/` against the lab and AWS's emulator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lambda_conformance::service::{
    self, Bootstrap, Difference, Failure, Outcome, Player, Process, Row, Service, Settings, Vector,
    VectorFile,
};

use crate::{Emulator, Error, Function, Result};

/// A service to play the vectors against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The lab of this workspace.
    Lab,
    /// AWS's emulator. Vectors with several invocations at a time need root, see
    /// [`Function::start_concurrent`].
    Emulator,
}

/// Outcomes by the name of the file and of the vector.
pub type Outcomes = BTreeMap<(String, String), Outcome>;

/// How many vectors are played at the same time.
const AT_ONCE: usize = 8;

/// Plays every vector against the lab and the emulator.
///
/// # Errors
///
/// An [`Error`] if a file cannot be read, or a service cannot be started.
pub fn rows() -> Result<Vec<Row>> {
    let lab = Peer::Lab.play_all()?;
    let mut emulator = Peer::Emulator.play_all()?;
    let rows = lab.into_iter().map(|((file, vector), lab)| {
        let key = (file, vector);
        let emulator = emulator.remove(&key);
        let emulator =
            emulator.unwrap_or(Outcome::NotApplicable("the vector was not played".into()));
        Row { file: key.0, vector: key.1, lab, emulator }
    });
    Ok(rows.collect())
}

impl Peer {
    /// Plays every vector.
    ///
    /// # Errors
    ///
    /// As [`rows`].
    pub fn play_all(self) -> Result<Outcomes> {
        let files = service::all().map_err(Error::new)?;
        self.play_files(&files)
    }

    /// Plays the vectors of these files.
    ///
    /// # Errors
    ///
    /// As [`rows`].
    pub fn play_files(self, files: &BTreeMap<String, VectorFile>) -> Result<Outcomes> {
        let known = service::differences(self.name()).map_err(Error::new)?;
        let vectors = files
            .iter()
            .flat_map(|(file, all)| all.vectors.iter().map(move |it| (file.as_str(), it)));
        let vectors = Mutex::new(vectors);
        let next = || vectors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
        let outcomes = Mutex::new(Ok(Outcomes::new()));
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some((file, vector)) = next() {
                        let known = known.iter().find(|known| known.is_of(file, &vector.name));
                        let outcome = self.outcome(vector, known);
                        let mut all = outcomes.lock().unwrap_or_else(|it| it.into_inner());
                        match (all.as_mut(), outcome) {
                            (Ok(all), Ok(outcome)) => {
                                all.insert((file.to_owned(), vector.name.clone()), outcome);
                            }
                            (Ok(_), Err(error)) => *all = Err(error),
                            (Err(_), _) => return,
                        }
                    }
                });
            }
        });
        outcomes.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn outcome(self, vector: &Vector, known: Option<&Difference>) -> Result<Outcome> {
        if let Some(known) = known.filter(|known| known.step.is_none()) {
            return Ok(Outcome::NotApplicable(known.why.clone()));
        }
        let played = self.play(vector, &Player::default())?;
        Ok(service::outcome(played.map(drop), known))
    }

    /// Plays one vector; returns how many bytes the player sent as a runtime.
    ///
    /// # Errors
    ///
    /// An [`Error`] if the service cannot be started.
    pub fn play(
        self,
        vector: &Vector,
        player: &Player,
    ) -> Result<std::result::Result<usize, Failure>> {
        Ok(match self {
            Self::Lab => player.play(vector, &Lab::start(&vector.service)?),
            Self::Emulator => {
                let mut emulator = EmulatorUnderTest::start(&vector.service)?;
                let mut played = player.play(vector, &emulator);
                for _ in 0..3 {
                    let said = emulator.emulator.output();
                    if played.is_ok() || !said.contains(MISHAP) {
                        break;
                    }
                    emulator = EmulatorUnderTest::start(&vector.service)?;
                    played = player.play(vector, &emulator);
                }
                played
            }
        })
    }

    /// The name of the service in `conformance/service/known/`.
    fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Emulator => "emulator",
        }
    }
}

struct Lab {
    lab: Arc<lambda_lab::Lab>,
    runtime_api: SocketAddr,
    /// `None` if the lab starts no runtime.
    bootstrap: Option<Bootstrap>,
}

/// The timeout in seconds if a vector names none.
const TIMEOUT: u32 = 20;

impl Lab {
    fn start(settings: &Settings) -> Result<Self> {
        let timeout = Duration::from_secs(settings.timeout.unwrap_or(TIMEOUT).into());
        // Without a runtime process, several workers can call at the same time as the lab starts.
        let bootstrap = match (settings.concurrency, settings.extensions.as_slice()) {
            (Some(_), []) => None,
            _ => Some(Bootstrap::new().map_err(Error::new)?),
        };
        let mut function = match &bootstrap {
            None => lambda_lab::Function::external(),
            Some(bootstrap) => lambda_lab::Function::new(Bootstrap::program())
                .variable(Bootstrap::VARIABLE, bootstrap.file()),
        };
        if let Some(concurrency) = settings.concurrency {
            function = function.concurrency(concurrency as usize);
        }
        if settings.snapstart {
            function = function.snapstart();
        }
        if settings.telemetry == Some(false) {
            function = function.without_telemetry();
        }
        if settings.json_logs {
            function = function.log_format(lambda_lab::LogFormat::Json);
        }
        if let Some(bootstrap) = &bootstrap {
            let folder = bootstrap.extensions(&settings.extensions).map_err(Error::new)?;
            for name in &settings.extensions {
                function = function.extension(folder.join(name));
            }
        }
        let function = function.timeout(timeout).output(lambda_lab::Output::Discarded);
        let lab = function.start().map_err(|error| Error::new(error.to_string()))?;
        let runtime_api = lab.runtime_api().parse();
        let runtime_api = runtime_api.map_err(|error| Error::new(format!("{error}")))?;
        Ok(Self { lab: Arc::new(lab), runtime_api, bootstrap })
    }
}

/// The player is done with the vector: its extensions need no shutdown.
impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(bootstrap) = &self.bootstrap {
            bootstrap.dismiss();
        }
    }
}

impl Service for Lab {
    fn runtime_api(&self) -> SocketAddr {
        self.runtime_api
    }

    fn invoke_api(&self) -> SocketAddr {
        self.lab.address()
    }

    fn await_start(&self, process: &Process) -> std::result::Result<(), String> {
        let bootstrap = self.bootstrap.as_ref();
        bootstrap.map_or(Ok(()), |bootstrap| bootstrap.await_start(process).map(drop))
    }

    fn bootstrap(&self) -> Option<&Bootstrap> {
        self.bootstrap.as_ref()
    }

    fn stop(&self) {
        let lab = Arc::clone(&self.lab);
        thread::spawn(move || lab.stop());
    }
}

/// The emulator's output if it crashed in a race of its own threads, which has nothing to do with
/// the vector.
const MISHAP: &str = "panic: runtime error: invalid memory address";

struct EmulatorUnderTest {
    emulator: Emulator,
    bootstrap: Bootstrap,
}

impl EmulatorUnderTest {
    fn start(settings: &Settings) -> Result<Self> {
        let bootstrap = Bootstrap::new().map_err(Error::new)?;
        let mut function = Function::new(Bootstrap::program())
            .variable(Bootstrap::VARIABLE, bootstrap.file())
            .timeout_seconds(settings.timeout.unwrap_or(TIMEOUT));
        if !settings.extensions.is_empty() {
            let extensions = bootstrap.extensions(&settings.extensions).map_err(Error::new)?;
            function = function.opt(extensions.parent().unwrap_or(&extensions));
        }
        let emulator = match settings.concurrency {
            None => function.start()?,
            Some(slots) => function.start_concurrent(slots)?,
        };
        Ok(Self { emulator, bootstrap })
    }
}

impl Service for EmulatorUnderTest {
    fn runtime_api(&self) -> SocketAddr {
        self.emulator.runtime_api()
    }

    fn invoke_api(&self) -> SocketAddr {
        self.emulator.address()
    }

    fn await_start(&self, process: &Process) -> std::result::Result<(), String> {
        let started = self.bootstrap.await_start(process);
        started
            .map(drop)
            .map_err(|error| format!("{error}; the emulator's output:\n{}", self.emulator.output()))
    }

    fn bootstrap(&self) -> Option<&Bootstrap> {
        Some(&self.bootstrap)
    }

    fn stop(&self) {
        self.emulator.terminate();
    }
}
