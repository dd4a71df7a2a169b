//! Plays the vectors for clients against each client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use lambda_conformance::client::{
    CAN, Delivery, EXTENSION_CAN, File, Patience, Report, Vector, not_for_core,
    play_extension_in_memory, play_in_memory,
};
use lambda_interop::aws_clients::{Source, python_folder, python_module};
use lambda_interop::c_programs::{self, Layer};
use lambda_interop::vector_clients::{AWS_CAN, Program};
use lambda_interop::{Error, Result, aws_clients, fetch, programs, vector_clients};

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
    Process(Program),
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
        language("luajit", "Lua", "conformance.handle")?,
        language("quickjs", "JavaScript", "conformance.handler")?,
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

/// A function in this language. Its variables are arguments, because the vectors set some of them.
fn language(name: &'static str, about: &str, handler: &str) -> Result<Client> {
    let runtimes = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes");
    let arguments = vec![
        format!("LAMBDA_{}_MODE=raw", name.to_uppercase()),
        format!("LAMBDA_TASK_ROOT={runtimes}/{name}/examples"),
        format!("_HANDLER={handler}"),
        programs::language(name)?.display().to_string(),
    ];
    Ok(Client {
        name,
        about: format!("`lambda-{name}`, a function in {about}, a process"),
        can: &CAN,
        how: How::Process(Program { file: "env".into(), arguments, variables: Vec::new() }),
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
    let node_published = aws_clients::node_as_published()?;
    let node = aws_clients::node()?;
    let programs = [
        Program::awslambdaric(published),
        Program::awslambdaric(aws_clients::python()?),
        Program::aws_lambda_ric(&node_published),
        Program::aws_lambda_ric(&node),
    ];
    let columns = [
        ("awslambdaric", "awslambdaric 4.2.2 (PyPI), a process"),
        ("on ours", ours),
        ("aws-lambda-ric", "aws-lambda-ric 4.0.2 (npm), a process"),
        ("on ours", ours),
    ];
    let clients: Vec<_> = columns
        .iter()
        .zip(&programs)
        .map(|((name, about), program)| Client {
            name,
            about: (*about).to_owned(),
            can: &AWS_CAN,
            how: How::Process(program.clone()),
        })
        .collect();
    let node_module = |node: &aws_clients::Node| node.client.with_file_name("rapid-client.node");
    let subjects = [
        ("awslambdaric", Source::Python, python_module(&fetch::python_clients()?)?),
        ("awslambdaric on ours", Source::PythonOnOurs, python_module(&python_folder()?)?),
        ("aws-lambda-ric", Source::Node, node_module(&node_published)),
        ("aws-lambda-ric on ours", Source::NodeOnOurs, node_module(&node)),
    ];
    let subjects = subjects.into_iter().zip(programs);
    let subjects =
        subjects.map(|((name, source, module), program)| Subject { name, source, module, program });
    let subjects: Vec<_> = subjects.collect();
    let mut rows = play_all(files, &clients)?;
    mark(files, &mut rows);
    Ok(Table {
        title: "AWS's clients for Python and Node.js",
        preface: "As published, which is on curl, and built from the same sources on \
                  [`capi/aws-lambda-cpp`](../capi/aws-lambda-cpp/README.md). The words are those of the \
                  table above. The class sends `next`, buffered responses and errors. † marks the vectors with \
                  something that the clients send over HTTP of their own, past the class: init errors, \
                  the calls of a snapshot, and streamed responses.",
        folder: "client",
        columns: self::columns(&clients),
        rows,
        epilogue: costs::table(&subjects)?,
    })
}

/// Marks the vectors that are not for the class alone.
fn mark(files: &[File], rows: &mut [Row]) {
    for row in rows {
        let file = files.iter().find(|file| file.name == row.file);
        let vector = file.and_then(|file| file.vectors.iter().find(|it| it.name == row.vector));
        row.is_marked = vector.is_some_and(vector_clients::is_past_the_class);
    }
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
            let (file, vector) = (file.name.clone(), vector.name.clone());
            let row = Row { file, vector, is_marked: false, outcomes };
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
    let how = How::Process(Program::plain(program));
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
            How::Process(program) => Ok(outcome(&program.play(vector, Patience::default())?)),
        }
    }
}

fn outcome(report: &Report) -> Outcome {
    match (&report.deviation, vector_clients::word(report)) {
        (Some(deviation), Some(word)) => {
            Outcome::Deviates(word, without_places(&deviation.to_string()))
        }
        _ => Outcome::Conforms,
    }
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
