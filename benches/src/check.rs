//! Compares counts with their bounds.

use crate::clients::{Client, Kind};
use crate::error::{Error, Result};
use crate::instructions::{self, Row};
use crate::measure::system_calls;
use crate::options::{Options, Placement};
use crate::programs::{self, Programs, benches};
use crate::running::allow_many_files;
use crate::{bounds, sizes};

const BODY: usize = 128;

pub(crate) fn check(options: &Options) -> Result<()> {
    allow_many_files();
    if !programs::has("strace") {
        return Err(Error::new(
            "strace is missing, which counts system calls: apt-get install strace",
        ));
    }
    let cores = options.cores(Placement::Same)?.ok_or_else(|| Error::new("no core to run on"))?;
    let mut programs = Programs::default();
    let mut failed = 0;
    let mut tell = |what: &str, count: f64, bound: &str, holds: bool| {
        println!("{} {what}: {count}, {bound}", if holds { "ok  " } else { "FAIL" });
        failed += usize::from(!holds);
    };
    for bound in &bounds::CALLS {
        let Some(client) = Client::find(bound.kind, bound.slots, None, &mut programs)? else {
            continue;
        };
        let calls = system_calls(&client, BODY, cores, 1_600)?;
        let count = calls.values().sum();
        let words =
            format!("{} {}", if bound.is_exact { "exactly" } else { "at most" }, bound.most);
        let holds = bound.holds(count);
        tell(&format!("system calls of {}", client.label()), count, &words, holds);
        if !holds {
            println!("     {calls:?}");
        }
    }
    let rows = instructions::count(&mut programs, cores, None, false)?;
    let instructions = |name: &str| {
        let row = rows.iter().find(|row: &&Row| row.client == name);
        row.map(|row| row.instructions).ok_or_else(|| Error::new(format!("no count for {name}")))
    };
    let bare = instructions(instructions::HTTPARSE)?;
    let mut at_most = |what: &str, count: f64, most: f64| {
        tell(what, count.round(), &format!("at most {most}"), count <= most);
    };
    at_most("instructions of bare httparse", bare, bounds::HTTPARSE);
    for (kind, most) in bounds::BEYOND_HTTPARSE {
        let count = instructions(kind.name())? - bare;
        at_most(&format!("instructions of {} beyond httparse", kind.name()), count, most);
    }
    let beyond_echo = instructions(Kind::CEcho.name())? - instructions(Kind::Echo.name())?;
    at_most("instructions of c_echo beyond echo", beyond_echo, bounds::C_BEYOND_ECHO);
    for (kind, most) in bounds::EVENT_LOOPS {
        let what = format!("instructions of {}", kind.name());
        at_most(&what, instructions(kind.name())?, most);
    }
    for Row { client, allocations, .. } in &rows {
        let (most, words) = match bounds::ALLOCATING.iter().find(|it| it.0.name() == client) {
            Some((_, most)) => (*most, format!("at most {most}")),
            None => (bounds::ALLOCATIONS, "none".to_owned()),
        };
        tell(&format!("allocations of {client}"), *allocations, &words, *allocations <= most);
    }
    let count = sizes::crates(&benches().join(".."), sizes::TOKIO_WITHOUT_FEATURES)?;
    let most = bounds::TOKIO_CRATES;
    let what = "crates of lambda-proto-tokio without features";
    tell(what, count as f64, &format!("at most {most}"), count <= most);
    match failed {
        0 => Ok(()),
        _ => Err(Error::new(format!("{failed} counts exceed their bounds in src/bounds.rs"))),
    }
}
