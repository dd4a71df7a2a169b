//! Runs all measurements in rounds, so that other load of the machine affects all clients alike.

use lambda_benches::canned::http_event;

use crate::clients::{Client, Kind};
use crate::error::{Error, Result};
use crate::instructions;
use crate::machine::Machine;
use crate::measure::{measure, system_calls};
use crate::options::{Options, Placement};
use crate::programs::{self, Programs, benches};
use crate::results::{Group, Row, Topic};
use crate::running::{Cores, allow_many_files};
use crate::{bounds, report, sizes, starts, telemetry};

/// The length of the event for clients with several slots.
const SLOTS_BODY: usize = 128;

pub(crate) fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        return Err(Error::new(
            "the service is too slow in a debug build; run this with --release",
        ));
    }
    allow_many_files();
    let mut programs = Programs::default();
    let groups = groups(options, &mut programs)?;
    let machine = Machine::look(options, &mut programs)?;
    let can_trace = programs::has("strace");
    if !can_trace {
        eprintln!("not counting system calls: strace is missing; apt-get install strace");
    }
    let mut done = Vec::new();
    for (mut group, cores) in groups {
        fill(&mut group, cores, options, can_trace)?;
        println!("{}", report::table(&group));
        done.push(group);
    }
    let out = match &options.out {
        Some(folder) => Some(folder.clone()),
        None => options.is_whole().then(benches),
    };
    let Some(out) = out else { return Ok(()) };
    let starts = starts::measure(&mut programs, options.start_cores()?, options.is_quick)?;
    let cores = options.cores(Placement::Same)?;
    let instructions = match cores {
        Some(cores) if programs::has("valgrind") => {
            Some(instructions::count(&mut programs, cores, None, options.is_whole())?)
        }
        _ => None,
    };
    let sizes = sizes::measure(&mut programs)?;
    let telemetry = telemetry::measure(&mut programs, options.is_quick)?;
    let counts = report::Counts { instructions, sizes, telemetry };
    report::write(&out, &machine, &done, &starts, &counts, options)
}

/// Builds everything, and returns the groups to measure.
fn groups(options: &Options, programs: &mut Programs) -> Result<Vec<(Group, Cores)>> {
    let is_quick = options.is_quick;
    let (all_bodies, all_slots): (&[usize], &[usize]) = if is_quick {
        (&[128, 6 << 10, 1 << 20], &[1, 64, 1024])
    } else {
        (&[128, 6 << 10, 64 << 10, 1 << 20], &[1, 8, 64, 256, 1024])
    };
    let bodies = options.bodies.as_deref().unwrap_or(all_bodies);
    let slots = options.slots.as_deref().unwrap_or(all_slots);
    let placements = options.placements.as_deref().unwrap_or(&[Placement::Same, Placement::Apart]);
    let kinds = options.clients.as_deref().unwrap_or(&Kind::ALL);
    let with_one_slot =
        find(kinds.iter().filter(|kind| kind.has_bodies()), &[1], options, programs)?;
    let with_slots = find(kinds.iter().filter(|kind| kind.has_slots()), slots, options, programs)?;
    let references = kinds.iter().filter(|kind| matches!(kind, Kind::Floor | Kind::Echo));
    let references = find(references, &[1], options, programs)?;
    let is_beside_http =
        |kind: &&Kind| matches!(kind, Kind::Floor | Kind::AsyncEcho | Kind::LambdaRuntime);
    let beside_http = find(kinds.iter().filter(is_beside_http), &[1], options, programs)?;
    let with_http = find(kinds.iter().filter(|kind| kind.is_http()), &[1], options, programs)?;
    let mut groups = Vec::new();
    for placement in placements.iter().copied() {
        let Some(cores) = options.cores(placement)? else {
            eprintln!("skipping the placement \"apart\": there is only one core");
            continue;
        };
        let mut add = |body, topic, clients: &[&[Client]]| {
            let new = |client| Row { client, samples: Vec::new(), calls: None };
            let rows: Vec<_> = clients.concat().into_iter().map(new).collect();
            if !rows.is_empty() {
                groups.push((Group { placement, body, topic, rows }, cores));
            }
        };
        bodies.iter().for_each(|body| add(*body, Topic::Bodies, &[&with_one_slot]));
        if !with_slots.is_empty() {
            add(SLOTS_BODY, Topic::Slots, &[&references, &with_slots]);
        }
        if !with_http.is_empty() {
            add(http_event().len(), Topic::Http, &[&beside_http, &with_http]);
        }
    }
    if groups.is_empty() {
        return Err(Error::new("nothing to measure with these options; see --help"));
    }
    Ok(groups)
}

fn find<'k>(
    kinds: impl Iterator<Item = &'k Kind>,
    slots: &[usize],
    options: &Options,
    programs: &mut Programs,
) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for kind in kinds {
        for slots in slots {
            clients.extend(Client::find(*kind, *slots, options.python.as_deref(), programs)?);
        }
    }
    Ok(clients)
}

fn fill(group: &mut Group, cores: Cores, options: &Options, can_trace: bool) -> Result<()> {
    let rounds = options.rounds.unwrap_or(if options.is_quick { 3 } else { 9 });
    let length = if options.is_quick { 5_000.0 } else { 40_000.0 };
    // An invocation with a large body takes as long as many with small ones.
    let length = (length / (1.0 + group.body as f64 / 16_384.0)) as usize;
    let clients = group.rows.len();
    for round in 0..rounds {
        eprintln!(
            "{} B, {}{}: round {} of {rounds}",
            group.body,
            group.placement.name(),
            match group.topic {
                Topic::Bodies => "",
                Topic::Slots => ", slots",
                Topic::Http => ", HTTP",
            },
            round + 1
        );
        for turn in 0..clients {
            // Each round begins with another client.
            let row = &mut group.rows[(turn + round) % clients];
            let invocations = (length / row.client.kind.slowness()).max(50);
            let may_block = group.topic != Topic::Slots;
            let sample = measure(&row.client, group.body, cores, invocations, may_block)?;
            row.samples.push(sample);
        }
    }
    if !can_trace {
        return Ok(());
    }
    for row in &mut group.rows {
        let invocations = if group.body > 100_000 { 20 } else { 200.max(4 * row.client.slots) };
        let calls = system_calls(&row.client, group.body, cores, invocations)?;
        bounds::assert_floor(row.client.kind, group.body, &calls)?;
        row.calls = Some(calls);
    }
    Ok(())
}
