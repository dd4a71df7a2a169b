//! Plays the vectors for services against the lab and AWS's emulator.

use lambda_conformance::service;
use lambda_interop::{Result, conformance};

use crate::Outcome;
use crate::page::{Row, Table};

/// Plays all vectors against both.
pub(crate) fn both() -> Result<Table> {
    let rows = conformance::rows()?.into_iter().map(|row| Row {
        file: row.file,
        vector: row.vector,
        is_marked: false,
        outcomes: vec![outcome(row.lab), outcome(row.emulator)],
    });
    Ok(Table {
        title: "Services",
        preface: "*Differs*: a known difference; the notes give the reason. *Fails*: an unexpected difference.",
        folder: "service",
        columns: vec![
            ("lab".to_owned(), "`lambda-lab`".to_owned()),
            ("emulator".to_owned(), "AWS's emulator, of aws-sam-cli 1.170.0 (PyPI)".to_owned()),
        ],
        rows: rows.collect(),
        epilogue: String::new(),
    })
}

fn outcome(outcome: service::Outcome) -> Outcome {
    match outcome {
        service::Outcome::Conforms => Outcome::Conforms,
        service::Outcome::Differs(failure, why) => {
            Outcome::Deviates("differs", format!("{failure}: {why}"))
        }
        service::Outcome::Fails(failure) => Outcome::Deviates("fails", failure.to_string()),
        service::Outcome::NoLonger(came) => {
            Outcome::Deviates("fails", format!("the known difference no longer occurs: {came}"))
        }
        service::Outcome::NotApplicable(why) => Outcome::NotApplicable(why),
    }
}
