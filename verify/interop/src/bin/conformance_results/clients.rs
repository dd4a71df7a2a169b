//! Plays the vectors for clients against each client.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lambda_conformance::client::{
    CAN, Delivery, EXTENSION_CAN, End, File, Patience, Report, Vector, not_for_core, play,
    play_extension_in_memory, play_in_memory,
};
use lambda_interop::aws_clients::Source;
use lambda_interop::c_programs::{self, Layer};
use lambda_interop::{Error, Result, aws_clients, fetch, programs};

use crate::Outcome;
use crate::costs::{self, Subject};
use crate::page::{Row, Table};

/// How many processes run at the same time. They spend most of their time waiting.
const AT_ONCE: usize = 6;

/// A client, and the abilities of its function.
struct Client {
    name: &'static str,
    about: String,
    can: &'static [&'static str],
    how: How,
}

enum How {
    InMemory,
    ExtensionInMemory,
    Process { program: PathBuf, arguments: Vec<String>, variables: Vec<(String, String)> },
}

/// Plays all vectors against the clients of this project.
pub(crate) fn ours(files: &[File]) -> Result<Table> {
    let clients = [
        Client {
            name: "core",
            about: "`lambda-proto`'s `Client`, in memory".into(),
            can: &CAN,
            how: How::InMemory,
        },
        process("std", "`lambda-proto-std`, a process", &CAN, programs::vectors("std")?),
        process("mio", "`lambda-proto-mio`, a process", &CAN, programs::vectors("mio")?),
        process("tokio", "`lambda-proto-tokio`, a process", &CAN, programs::vectors("tokio")?),
        process(
            "C, one",
            "layer one of the C interface around `poll(2)`, a process",
            &CAN,
            c_programs::vectors(Layer::One, "results-client", &[])?,
        ),
        process(
            "C, two",
            "layer two of the C interface, a process",
            &CAN,
            c_programs::vectors(Layer::Two, "results-runtime", &[])?,
        ),
        luajit()?,
    ];
    Ok(Table {
        title: "Clients of this project",
        preface: "",
        folder: "client",
        columns: columns(&clients),
        rows: play_all(files, &clients)?,
        epilogue: String::new(),
    })
}

/// A function in Lua. Its variables are arguments, because the vectors set some of them.
fn luajit() -> Result<Client> {
    let runtimes = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes");
    let arguments = vec![
        "LAMBDA_LUAJIT_MODE=raw".to_owned(),
        format!("LAMBDA_TASK_ROOT={runtimes}/luajit/examples"),
        "_HANDLER=conformance.handle".to_owned(),
        programs::luajit()?.display().to_string(),
    ];
    Ok(Client {
        name: "luajit",
        about: "`lambda-luajit`, a function in Lua, a process".into(),
        can: &CAN,
        how: How::Process { program: "env".into(), arguments, variables: vec![] },
    })
}

/// Plays all vectors for extensions against the machines of this project.
pub(crate) fn extensions(files: &[File]) -> Result<Table> {
    let about = "an extension on `lambda-proto-extension`";
    let clients = [
        Client {
            name: "machines",
            about: format!("{about}, in memory"),
            can: &EXTENSION_CAN,
            how: How::ExtensionInMemory,
        },
        process(
            "socket",
            &format!("{about} and raw sockets, a process"),
            &EXTENSION_CAN,
            programs::extension_vectors()?,
        ),
    ];
    Ok(Table {
        title: "Extensions of this project",
        preface: "",
        folder: "extension",
        columns: columns(&clients),
        rows: play_all(files, &clients)?,
        epilogue: String::new(),
    })
}

/// Plays all vectors against third-party clients.
pub(crate) fn others(files: &[File]) -> Result<Table> {
    let lambda_runtime = process(
        "lambda_runtime",
        "lambda_runtime 1.5.0 (crates.io), `run_concurrent`, a process",
        &["fail", "panic", "http", "concurrency"],
        programs::peer_vectors()?,
    );
    let clients = [lambda_runtime];
    Ok(Table {
        title: "Other clients",
        preface: "The same vectors, over the same sockets. The function returns its event, and does \
                  whatever else the client's interface allows. *Exited*: the process ended when it should \
                  have continued; *panicked*: it panicked, whether or not it continued; *killed*: a signal \
                  that no test sent ended it; *hung*: it did nothing for 20 s when it should have done \
                  something; *spun*: the same with a busy processor; *otherwise*: it did something else. \
                  A vector may be stricter than a client's authors intended: the notes say what the \
                  client did instead.",
        folder: "client",
        columns: columns(&clients),
        rows: play_all(files, &clients)?,
        epilogue: String::new(),
    })
}

/// Plays all vectors against AWS's clients for Python and Node.js, as published and on the C
/// interface.
pub(crate) fn aws(files: &[File]) -> Result<Table> {
    let ours = "the same sources on `capi/aws-lambda-cpp`";
    let published = fetch::python_clients()?.into_os_string();
    let clients = [
        python("awslambdaric", "awslambdaric 4.2.2 (PyPI), a process", published),
        python("on ours", ours, aws_clients::python()?),
        node(
            "aws-lambda-ric",
            "aws-lambda-ric 4.0.2 (npm), a process",
            &aws_clients::node_as_published()?,
        ),
        node("on ours", ours, &aws_clients::node()?),
    ];
    let node_module = |node: &aws_clients::Node| node.client.with_file_name("rapid-client.node");
    let modules = [
        (Source::Python, aws_clients::python_module(&fetch::python_clients()?)?),
        (Source::PythonOnOurs, aws_clients::python_module(&aws_clients::python_folder()?)?),
        (Source::Node, node_module(&aws_clients::node_as_published()?)),
        (Source::NodeOnOurs, node_module(&aws_clients::node()?)),
    ];
    let names =
        ["awslambdaric", "awslambdaric on ours", "aws-lambda-ric", "aws-lambda-ric on ours"];
    let rows = play_all(files, &clients)?;
    let subjects = clients.iter().zip(modules).zip(names);
    let subjects = subjects.filter_map(|((client, (source, module)), name)| match &client.how {
        How::Process { program, arguments, variables } => Some(Subject {
            name,
            source,
            module,
            program: program.clone(),
            arguments: arguments.clone(),
            variables: variables.clone(),
        }),
        How::InMemory | How::ExtensionInMemory => None,
    });
    let subjects: Vec<_> = subjects.collect();
    Ok(Table {
        title: "AWS's clients for Python and Node.js",
        preface: "As published, which is on curl, and built from the same sources on \
                  [`capi/aws-lambda-cpp`](../capi/aws-lambda-cpp/README.md). The words are those of the \
                  table above. A failed start is reported by HTTP of the clients' own.",
        folder: "client",
        columns: columns(&clients),
        rows,
        epilogue: costs::table(&subjects)?,
    })
}

/// The folder of the functions for other clients.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// `peers/vectors.py` on awslambdaric, which is in these folders.
fn python(name: &'static str, about: &str, mut folders: OsString) -> Client {
    folders.push(":");
    folders.push(PEERS);
    let arguments = ["-m", "awslambdaric", "vectors.handler"].map(str::to_owned).into();
    let variables = vec![
        ("PYTHONPATH".into(), folders.to_string_lossy().into_owned()),
        ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
        ("LAMBDA_TASK_ROOT".into(), PEERS.into()),
    ];
    let how = How::Process { program: "python3".into(), arguments, variables };
    Client { name, about: about.into(), can: &["fail", "panic", "start"], how }
}

/// `peers/vectors.mjs` on aws-lambda-ric.
fn node(name: &'static str, about: &str, node: &aws_clients::Node) -> Client {
    let handler = "vectors.handler";
    let arguments = vec![node.client.to_string_lossy().into_owned(), handler.into()];
    // It does not start without these.
    let variables = [
        ("LAMBDA_TASK_ROOT", PEERS),
        ("_HANDLER", handler),
        ("AWS_LAMBDA_FUNCTION_NAME", "vectors"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/vectors"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "vectors"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let how = How::Process { program: node.program.clone(), arguments, variables };
    Client { name, about: about.into(), can: &["fail", "panic", "start"], how }
}

fn columns(clients: &[Client]) -> Vec<(String, String)> {
    clients.iter().map(|client| (client.name.to_owned(), client.about.clone())).collect()
}

/// Plays all vectors against all of these clients.
fn play_all(files: &[File], clients: &[Client]) -> Result<Vec<Row>> {
    let vectors =
        files.iter().flat_map(|file| file.vectors.iter().map(move |vector| (file, vector)));
    let (vectors, rows) = (Mutex::new(vectors.enumerate()), Mutex::new(BTreeMap::new()));
    let next = || vectors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let work = || -> Result<()> {
        while let Some((place, (file, vector))) = next() {
            eprintln!("{}: {}", file.name, vector.name);
            let outcomes = clients.iter().map(|client| client.play(vector));
            let outcomes = outcomes.collect::<Result<Vec<_>>>()?;
            let row = Row { file: file.name.clone(), vector: vector.name.clone(), outcomes };
            rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(place, row);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Error::new("a worker thread panicked")))
        })
    })?;
    let rows = rows.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(rows.into_values().collect())
}

fn process(
    name: &'static str,
    about: &str,
    can: &'static [&'static str],
    program: PathBuf,
) -> Client {
    let how = How::Process { program, arguments: Vec::new(), variables: Vec::new() };
    Client { name, about: about.into(), can, how }
}

impl Client {
    fn play(&self, vector: &Vector) -> Result<Outcome> {
        if let Some(need) = vector.needs.iter().find(|need| !self.can.contains(&need.as_str())) {
            return Ok(Outcome::NotApplicable(format!("needs `{need}`")));
        }
        match &self.how {
            How::InMemory => Ok(match not_for_core(vector) {
                Some(why) => Outcome::NotApplicable(why.to_owned()),
                None => match play_in_memory(vector, &Delivery::default()) {
                    Ok(_) => Outcome::Conforms,
                    Err(deviation) => Outcome::Deviates("otherwise", deviation.to_string()),
                },
            }),
            How::ExtensionInMemory => {
                Ok(match play_extension_in_memory(vector, &Delivery::default()) {
                    Ok(_) => Outcome::Conforms,
                    Err(deviation) => Outcome::Deviates("otherwise", deviation.to_string()),
                })
            }
            How::Process { program, arguments, variables } => {
                let mut command = Command::new(program);
                command.args(arguments);
                command.envs(variables.iter().map(|(name, value)| (name, value)));
                let report = play(vector, command, Patience::default()).map_err(|error| {
                    Error::new(format!("cannot start {}: {error}", program.display()))
                })?;
                Ok(outcome(&report))
            }
        }
    }
}

/// Sums up what a client did in one word.
fn outcome(report: &Report) -> Outcome {
    let Some(deviation) = &report.deviation else { return Outcome::Conforms };
    // A client that uses a processor for half of the time is not waiting.
    let has_spun = report.usage.is_some_and(|usage| {
        report.elapsed > Duration::from_secs(1) && usage.cpu * 2 > report.elapsed
    });
    let word = match report.end {
        _ if report.has_panicked() => "panicked",
        End::Exited(None) => "killed",
        End::Exited(Some(_)) => "exited",
        End::Running if has_spun => "spun",
        End::Running if deviation.what.contains("nothing came") => "hung",
        End::Running => "otherwise",
    };
    Outcome::Deviates(word, without_places(&deviation.to_string()))
}

/// Replaces ports and the path of this repository, so that every run gives the same text.
fn without_places(text: &str) -> String {
    const HOST: &str = "127.0.0.1:";
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).and_then(Path::to_str);
    let text = here.map_or_else(|| text.to_owned(), |here| text.replace(here, "/workspace"));
    let mut parts = text.split(HOST);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + HOST + "9001" + part.trim_start_matches(|it: char| it.is_ascii_digit())
    })
}
